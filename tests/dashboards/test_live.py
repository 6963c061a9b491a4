"""Boards and rules with a real Prometheus that scrapes a real infscale under load, and in a real Chromium."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio

from dashboards.__main__ import FOLDER
from dashboards.boards import BOARDS
from dashboards.rendering.answers import Prometheus, Series, Span
from dashboards.rendering.board_files import ShownBoard, ShownPanel, read_board
from dashboards.rendering.browser import chromium
from dashboards.rendering.page import page
from infscale.doctor.replay.prometheus_history import queries
from infscale.doctor.replay.replayed_hpa import ReplayedHpa
from infscale.doctor.view.seen_scalers import ObjectRef, SeenMetric
from infscale.endpoint import ObjectKey
from infscale.errors import InfscaleError
from infscale.planner.hpa_rules import Bounds
from tests.dashboards.scene import IDLE, NAMESPACE, POOLS, Scene, scene

LOAD_SECONDS = 10.0
# What has no series under load: other adapters, which the scene does not have, forward nothing, a pool that is not
# asked for too much refuses nothing, and its requests belong to no sessions.
NEVER_ALL = {
    "infscale_adapter_forwarded_requests_total",
    "infscale_flow_refusals_total",
    "infscale_picker_session_",
}
_PART = f'infscale_pool_outstanding_requests{{pool="{NAMESPACE}/{POOLS[0].name}"}}'
BY_NAME = {board.name: board for board in BOARDS}

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(90),
]


@dataclass(frozen=True)
class Looked:
    """A scene after its load, and the time that is looked at."""

    scene: Scene
    span: Span

    async def board(
        self, name: str, chosen: Mapping[str, str]
    ) -> tuple[ShownBoard, dict[ShownPanel, Sequence[Series]]]:
        board = read_board(FOLDER / "json" / f"{name}.json")
        found = await Prometheus(self.scene.session, self.scene.prometheus).board(board, self.span, chosen)
        return board, dict(found)

    async def get(self, path: str) -> Any:
        async with self.scene.session.get(f"{self.scene.prometheus}{path}") as response:
            return (await response.json())["data"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def looked(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Looked]:
    async with scene(tmp_path_factory.mktemp("scene")) as running:
        end = await running.under_load(LOAD_SECONDS)
        yield Looked(running, Span(end - LOAD_SECONDS, end, 1.0, "4s"))


@pytest.mark.parametrize("name", BY_NAME)
async def test_no_query_is_without_an_answer_under_load(looked: Looked, name: str) -> None:
    """Neither for all pools, nor for one that is chosen."""
    pool = POOLS[0]
    everything: Mapping[str, str] = {}
    one = {"namespace": NAMESPACE, "pool": f"{NAMESPACE}/{pool.name}", "endpoint": f"{NAMESPACE}/{pool.pods[0]}"}
    for chosen in (everything, one):
        board, found = await looked.board(name, chosen)
        asked = Prometheus(looked.scene.session, looked.scene.prometheus)
        empty: list[str] = []
        for panel in board.panels:
            assert found[panel] or _of_nothing(panel), f"{panel.title} is empty for {chosen}"
            for query in panel.queries:
                alone = await asked.panel(replace(panel, queries=(query,)), looked.span, chosen)
                empty += [query[0]] if not alone and not any(each in query[0] for each in NEVER_ALL) else []
            assert all(each.name for each in found[panel]), panel.title
            assert len({each.name for each in found[panel]}) == len(found[panel]), f"{panel.title}: two of one name"
        assert empty == []


def _of_nothing(panel: ShownPanel) -> bool:
    """Whether all that a panel shows has no series under load."""
    return all(any(each in query[0] for each in NEVER_ALL) for query in panel.queries)


async def test_what_is_shown_is_what_happened(looked: Looked) -> None:
    _, overview = await looked.board("overview", {})
    last = {panel.title: [each.points[-1][1] for each in series] for panel, series in overview.items()}
    assert last["Pools"] == [len(POOLS) + 1]
    assert last["Ready endpoints"] == [sum(each.servers for each in POOLS)]
    _, endpoints = await looked.board("endpoint", {})
    gone = f"{NAMESPACE}/{POOLS[1].pods[0]}"
    failed = next(series for panel, series in endpoints.items() if panel.title == "Failed scrapes")
    assert max(failed, key=lambda each: max(value for _, value in each.points)).name == gone
    _, pools = await looked.board("pool", {})
    without = next(series for panel, series in pools.items() if panel.title == "Requests without an endpoint")
    assert {each.name for each in without if each.points[-1][1] > 0} == {f"{NAMESPACE}/{IDLE}"}


async def test_an_unknown_value_is_not_shown_as_0(looked: Looked) -> None:
    """A pool without servers has no saturation."""
    _, found = await looked.board("pool", {"pool": f"{NAMESPACE}/{IDLE}"})
    by_title = {panel.title: series for panel, series in found.items()}
    assert by_title["Saturation"] == ()
    assert by_title["KV cache in use"] == ()
    assert by_title["Time to first token"] == ()
    assert by_title["Endpoints"] != ()


@pytest.mark.parametrize(
    "name",
    ["waiting_requests", "outstanding_requests", "queued_requests", "queue_latency_p90_seconds", "saturation_ratio"],
)
async def test_what_a_replay_asks_of_a_pool_has_an_answer(looked: Looked, name: str) -> None:
    """One series of the whole pool, whatever models it has."""
    described = ObjectRef("inference.networking.k8s.io/v1", "InferencePool", POOLS[0].name)
    metric = SeenMetric(0, "Object", name, "AverageValue", 4000, described=described)
    query = queries(ReplayedHpa(ObjectKey(NAMESPACE, "hpa"), (metric,), Bounds(8)), {})[name]
    found = (await looked.get(f"/api/v1/query?query={quote(query)}&time={looked.span.end}"))["result"]
    assert len(found) == 1
    if name == "outstanding_requests":
        parts = await looked.get(f"/api/v1/query?query={quote(f'{_PART}')}&time={looked.span.end}")
        of_models = [float(each["value"][1]) for each in parts["result"]]
        assert float(found[0]["value"][1]) == sum(of_models)


async def test_rules_are_evaluated_without_a_fault(looked: Looked) -> None:
    """Recordings have series, and what an alert says can be made of its template."""
    groups = (await looked.get("/api/v1/rules"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
    assert {rule["health"] for rule in rules} == {"ok"}
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    without = [name for name in recorded if not (await looked.get(f"/api/v1/query?query={name}"))["result"]]
    assert without == []
    alerts = {alert["labels"]["alertname"]: alert for alert in (await looked.get("/api/v1/alerts"))["alerts"]}
    assert alerts["InfscaleRequestsWithoutEndpoint"]["labels"]["pool"] == f"{NAMESPACE}/{IDLE}"
    assert "InfscaleAbsent" not in alerts
    assert "InfscalePoolLoadUnknown" not in alerts
    for alert in alerts.values():
        assert "<error" not in " ".join(alert["annotations"].values())


# What dashboards and alerts that were written for the reference ask for.
REFERENCE = (
    "histogram_quantile(0.99, sum by (le) (rate(inference_objective_request_duration_seconds_bucket[5m])))",
    "sum by (model_name) (rate(inference_objective_request_error_total[5m]))"
    " / sum by (model_name) (rate(inference_objective_request_total[5m]))",
    "inference_pool_average_queue_size",
    "inference_pool_average_kv_cache_utilization",
    "inference_pool_ready_pods",
    "inference_pool_per_pod_queue_size",
    "sum(inference_objective_running_requests)",
    "histogram_quantile(0.9, sum by (le) (rate(inference_objective_request_sizes_bucket[5m])))",
    "histogram_quantile(0.9, sum by (le) (rate(inference_extension_scheduler_e2e_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.9, sum by (le) (rate(llm_d_epp_request_ttft_seconds_bucket[5m])))",
    "sum by (model_name, target_model_name) (rate(llm_d_epp_request_total[5m]))",
)


@pytest.mark.parametrize("query", REFERENCE)
async def test_queries_for_the_reference_have_answers(looked: Looked, query: str) -> None:
    async with looked.scene.session.get(f"{looked.scene.prometheus}/api/v1/query", params={"query": query}) as response:
        assert (await response.json())["data"]["result"]


async def test_a_prometheus_that_refuses_is_named(looked: Looked) -> None:
    board = read_board(FOLDER / "json" / "gpu.json")
    broken = replace(board.panels[0], queries=(("sum(", ""),))
    asked = Prometheus(looked.scene.session, looked.scene.prometheus)
    with pytest.raises(InfscaleError, match=r"refuses sum\("):
        await asked.panel(broken, looked.span, {})
    async with aiohttp.ClientSession() as session:
        with pytest.raises(InfscaleError, match="does not answer"):
            await Prometheus(session, "http://127.0.0.1:1").panel(board.panels[0], looked.span, {})


# What a person would see of each panel: its title, lines or a value within its frame, and names of all lines.
_SEEN = """() => [...document.querySelectorAll("section")].map(panel => {
  const frame = panel.getBoundingClientRect();
  const within = part => {
    const box = part.getBoundingClientRect();
    return box.width > 0 && box.left >= frame.left && box.right <= frame.right && box.bottom <= frame.bottom + 1;
  };
  return {
    title: panel.querySelector("h3").textContent,
    lines: [...panel.querySelectorAll(".series, .value")].filter(within).length,
    outside: [...panel.querySelectorAll("text")].filter(part => !within(part)).map(part => part.textContent),
  };
})"""


@pytest.mark.browser
async def test_a_browser_shows_a_series_in_every_panel(looked: Looked, tmp_path: Path) -> None:
    async with chromium() as opened:
        for name in BY_NAME:
            board, found = await looked.board(name, {})
            file = tmp_path / f"{name}.html"
            await asyncio.to_thread(file.write_text, page(board, found, looked.span))
            await opened.goto(file.as_uri())
            seen: list[dict[str, Any]] = await opened.evaluate(_SEEN)
            assert [each["title"] for each in seen] == [panel.title for panel in board.panels]
            empty = [each["title"] for each in seen if not each["lines"]]
            assert empty == [panel.title for panel in board.panels if _of_nothing(panel)]
            assert {each["title"]: each["outside"] for each in seen if each["outside"]} == {}
