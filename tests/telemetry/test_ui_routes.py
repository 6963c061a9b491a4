"""The pages under `/ui`: what a browser shows of them, and that nothing in them can do anything."""

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession

from infscale.metrics.store.metrics_store import MetricStore
from infscale.stepwise import Steps
from infscale.telemetry.debug_documents import DebugFinder, DebugSources
from infscale.telemetry.own_metrics import OwnMetrics
from infscale.telemetry.telemetry_server import TelemetryListen, TelemetryServer
from tests.fakes.samples import engine_sample
from tests.viewing.documents_of_stores import AUTOSCALERS, HOSTILE, NOW, PICKS, TRIGGERS, store


def picks() -> Steps[object]:
    yield
    return PICKS


def autoscalers() -> Steps[object]:
    yield
    return AUTOSCALERS


def triggers() -> Steps[object]:
    yield
    return TRIGGERS


def explained(name: str) -> object | None:
    pick = next((each for each in PICKS["picks"] if each["revision"] == name), None)
    stage = {"kind": "filter", "stage": "by-zone-filter", "before": 3, "after": 2, "dropped": []}
    known = {"pick": name, "request_id": "" if pick is None else pick["request_id"]}
    return None if pick is None else {"picks": [{**known, "stages": [stage]}]}


@asynccontextmanager
async def serving(
    made: MetricStore, host: str = "127.0.0.1", finders: Mapping[str, DebugFinder] | None = None
) -> AsyncGenerator[TelemetryServer]:
    pages = {"picks": picks, "autoscalers": autoscalers, "triggers": triggers}
    sources = DebugSources(pages, finders or {})
    # Documents are kept for a while by this clock, which a test that waits for another value lets run.
    loop, begin = asyncio.get_running_loop(), asyncio.get_running_loop().time()

    def clock() -> float:
        return NOW + loop.time() - begin

    async with TelemetryServer(TelemetryListen(host, 0), made, OwnMetrics(), clock, sources) as server:
        yield server


async def test_the_page_of_a_pick_has_its_stages() -> None:
    pick = PICKS["picks"][0]
    query = {"view": "pick", "pool": pick["pool"], "name": f"{pick['revision']} {pick['request_id']}"}
    async with serving(store(), finders={"picks": explained}) as server, ClientSession() as session:
        async with session.get(f"{server.url}/ui", params=query) as answer:
            text = await answer.text()
        assert "by-zone-filter" in text
        async with session.get(f"{server.url}/ui?view=pool&pool=llm/chat&why=1") as answer:
            assert "by-zone-filter" not in await answer.text()


async def test_pages_allow_nothing_but_what_is_theirs() -> None:
    async with serving(store()) as server, ClientSession() as session:
        for path in ("/ui", "/ui/", "/ui?view=pool&pool=llm/chat", "/ui/style.css", "/ui/refresh.js", "/ui?view=none"):
            async with session.get(f"{server.url}{path}") as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert not re.search(r"unsafe|https?:|\*", policy)
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.status == (404 if "none" in path else 200)
        async with session.get(f"{server.url}/", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/ui")


async def test_pages_are_read_only() -> None:
    async with serving(store()) as server, ClientSession() as session:
        for method in ("POST", "PUT", "DELETE"):
            async with session.request(method, f"{server.url}/ui") as answer:
                assert answer.status == 405


async def test_where_other_machines_can_connect_there_are_no_pages() -> None:
    async with serving(store(), "0.0.0.0") as server, ClientSession() as session:
        for path in ("/", "/ui", "/ui/style.css", "/debug/autoscalers"):
            async with session.get(f"http://127.0.0.1:{server.port}{path}") as answer:
                assert answer.status == 404


@pytest.mark.browser
@pytest.mark.timeout(90)
async def test_a_browser_shows_values_follows_links_and_runs_nothing_of_others() -> None:
    from playwright.async_api import async_playwright, expect

    made = store()
    said: list[str] = []
    async with serving(made) as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = await browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
        page.on("requestfailed", lambda request: said.append(f"failed {request.url}"))
        await page.goto(f"{server.url}/")
        await page.get_by_role("link", name="llm/chat").click()
        row = page.get_by_role("row").filter(has_text="10.0.0.1:8000")
        # The store's clock runs: the value becomes stale while the browser looks.
        await expect(row.get_by_role("cell").nth(3)).to_have_text("6*", timeout=15_000)
        # The script renews the values without another page.
        made.record_scrape(made.snapshots()[0].endpoints[0].key, engine_sample(77.0, 2.0, 0.9), at=NOW + 3600)
        await expect(row.get_by_role("cell").nth(3)).to_have_text("77", timeout=15_000)
        await page.get_by_role("link", name="llm/vllm-2").click()
        await expect(page.get_by_role("row").filter(has_text="waiting_requests")).to_contain_text("connection refused")
        await page.get_by_role("link", name="explain").click()
        await expect(page.get_by_role("heading", name="last picks")).to_be_visible()
        await page.goto(f"{server.url}/ui?view=pool&pool=llm/chat&why=1")
        await page.get_by_role("link", name=re.compile("12:00:08")).first.click()
        await expect(page.get_by_role("list").nth(1)).to_contain_text("it had the best score of 2 candidates")
        await expect(page.locator("main")).to_contain_text(HOSTILE[:25])
        await page.get_by_placeholder("filter rows").fill("vllm-0")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="scores")).to_contain_text("1")
        await page.goto(f"{server.url}/ui")
        await page.get_by_role("row").filter(has_text="infscale_replicas_of_load").get_by_role("link").click()
        told = page.get_by_role("row").filter(has_text="2 pods are ready")
        await expect(told.get_by_role("cell").nth(1)).to_have_text("2.25")
        await expect(page.locator("main")).to_contain_text("1 stream open")
        scripts = await page.evaluate("[...document.scripts].map((each) => each.src + each.text)")
        await browser.close()
    assert scripts == [f"{server.url}/ui/refresh.js"]
    assert said == []
