"""Copies of requests through a real Envoy: a candidate gets them, and clients notice nothing, whatever it does."""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from infscale.demo.child_processes import free_ports
from infscale.endpoint import ObjectKey
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.serving.composition import Serving, serving
from infscale.sim.http.simulated_servers import SimFleet
from tests.e2e.gateway import serve_config
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(90)]

NEXT = ObjectKey("default", "next")
PAGE = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{model_name="{model}"}} 0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{model_name="{model}"}} {waiting}
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{model_name="{model}"}} 0.1
"""
Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answers(request: web.Request) -> web.StreamResponse:
    del request
    return web.json_response({"choices": [], "usage": {"completion_tokens": 4}})


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return await answers(request)


async def fails(request: web.Request) -> web.StreamResponse:
    del request
    return web.Response(status=500)


async def breaks(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def tells_much(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(160):
        await answer.write(b"x" * 65_536)
    return answer


async def redirects(request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect(f"http://{request.host}/elsewhere")


@dataclass
class Candidate:
    """A model server that does what it is told, and keeps what it is asked."""

    behaviour: Behaviour = answers
    waiting: int = 0
    headers: list[Mapping[str, str]] = field(default_factory=list[Mapping[str, str]])
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    paths: Counter[str] = field(default_factory=Counter[str])
    site: web.TCPSite | None = None

    async def _page(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text=PAGE.format(model=MODEL, waiting=self.waiting))

    async def _asked(self, request: web.Request) -> web.StreamResponse:
        self.paths[request.path] += 1
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(await request.json())
        return await self.behaviour(request)

    @contextlib.asynccontextmanager
    async def running(self, port: int) -> AsyncGenerator[None]:
        app = web.Application()
        app.router.add_get("/metrics", self._page)
        app.router.add_post("/{path:.*}", self._asked)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self.site = web.TCPSite(runner, "127.0.0.1", port)
        await self.site.start()
        try:
            yield
        finally:
            await runner.cleanup()


@dataclass
class Shadowed:
    """A pool behind Envoy, and the candidate beside it, which Envoy does not know."""

    candidate: Candidate
    running: Serving
    session: aiohttp.ClientSession
    url: str

    async def ask(
        self, number: int = 0, more: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
    ) -> int:
        body = {"model": MODEL, "prompt": f"{number} word", "max_tokens": 4, **(more or {})}
        headers = {"x-request-id": f"ask-{number}", **(headers or {})}
        async with self.session.post(f"{self.url}/v1/completions", json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            assert len(json.loads(text)["choices"]) == 1, "the answer is the primary's"
        return answer.status

    async def document(self) -> dict[str, Any]:
        async with self.session.get(f"{self.running.telemetry.url}/debug/shadow") as response:
            (found,) = (await response.json())["shadows"]
        return found

    async def page(self) -> str:
        async with self.session.get(f"{self.running.telemetry.url}/metrics") as response:
            return await response.text()

    def in_flight(self) -> float:
        snapshot = self.running.store.snapshot(NEXT)
        assert snapshot is not None
        return float(snapshot.in_flight_requests.sum())

    async def settled(self) -> dict[str, Any]:
        """The document once every copy has ended; the books are at 0 then."""
        while True:
            found = await self.document()
            if found["open_requests"] == 0:
                break
            await asyncio.sleep(0.02)
        assert found["held_bytes"] == 0
        assert self.in_flight() == 0
        return found


@contextlib.asynccontextmanager
async def shadowed(folder: Path, **shadow: object) -> AsyncGenerator[Shadowed]:
    """Two servers of `chat`, one candidate in `next`."""
    candidate = Candidate()
    listen, admin, port = free_ports(3)
    async with (
        SimFleet([quick_settings(f"chat-{row}") for row in range(2)], random.Random(7), lambda: 1.8e9) as fleet,
        candidate.running(port),
    ):
        entry = {"pool": "default/next", "share": 1.0, "timeout_seconds": 1.0, **shadow}
        discovery = found(fleet, port)
        config = await asyncio.to_thread(
            lambda: serve_config(folder, discovery, pool="default/chat", shadow={"default/chat": [entry]})
        )
        async with serving(config) as running:
            assert running.transport is not None
            known = tuple(Address("127.0.0.1", server.port) for server in fleet.servers)
            epp = Address("127.0.0.1", running.transport.port)
            route = PickerRoute(Address("127.0.0.1", listen), epp, known, response_bodies=True)
            async with (
                running_envoy(Address("127.0.0.1", admin), [route]),
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
            ):
                made = Shadowed(candidate, running, session, f"http://127.0.0.1:{listen}")
                for pool, count in (("chat", 2), ("next", 1)):
                    await _picked(running, ObjectKey("default", pool), count)
                yield made


async def _picked(running: Serving, pool: ObjectKey, count: int) -> None:
    now = asyncio.get_running_loop().time
    while (snapshot := running.store.snapshot(pool)) is None or len(snapshot.candidates(now())) != count:
        await asyncio.sleep(0.02)


def found(fleet: SimFleet, port: int) -> dict[str, Any]:
    endpoints = [{**each, "labels": {"pool": "chat"}} for each in fleet.discovery_document()["endpoints"]]
    candidate = {**endpoints[0], "name": "next-0", "port": port, "labels": {"pool": "next"}}
    candidate.pop("metrics_port", None)
    objects = [
        {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "metadata": {"name": pool, "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"pool": pool}},
                "targetPorts": [{"number": 8000}],
                "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
            },
        }
        for pool in ("chat", "next")
    ]
    return {"endpoints": [*endpoints, candidate], "objects": objects}


async def test_a_share_is_copied_and_compared_and_secrets_stay(tmp_path: Path) -> None:
    async with shadowed(tmp_path, share=0.5, max_requests=100, max_share=1.0, model="test/next") as made:
        secrets = {"authorization": "Bearer secret", "cookie": "a=secret", "x-other": "1"}
        for number in range(100):
            await made.ask(number, headers=secrets)
        document = await made.settled()
        copies = len(made.candidate.bodies)
        assert 30 <= copies <= 70
        assert document["drawn"] == {"copied": copies}
        assert document["answers"] == [{"primary": "2xx", "copy": "2xx", "count": copies}]
        assert document["first_byte"]["pairs"] == document["duration"]["pairs"] == copies
        assert document["completion_tokens"] == {"primary": 4 * copies, "copy": 4 * copies}
        assert made.candidate.paths == {"/v1/completions": copies}
        assert {each["model"] for each in made.candidate.bodies} == {"test/next"}
        for each in made.candidate.headers:
            assert "secret" not in " ".join(each.values())
            assert "x-other" not in each
            assert each["x-infscale-shadow"] == "1"
            assert each["x-request-id"].endswith("-shadow")
        page = await made.page()
        labels = 'candidate="0",model="test/next",pool="default/chat",result="copied",to="default/next"'
        assert f"infscale_shadow_requests_total{{{labels}}} {float(copies)}" in page.splitlines()
        # The same requests are drawn again.
        before = sorted(each["prompt"] for each in made.candidate.bodies)
        made.candidate.bodies.clear()
        for number in range(100):
            await made.ask(number)
        await made.settled()
        assert sorted(each["prompt"] for each in made.candidate.bodies) == before


async def test_what_has_side_effects_and_what_is_a_copy_is_not_copied(tmp_path: Path) -> None:
    async with shadowed(tmp_path, skip={"headers": {"x-tier": ["gold"]}, "fields": ["webhook"]}) as made:
        await made.ask(0, {"tools": [{"type": "function", "function": {"name": "pay"}}]})
        await made.ask(1, {"store": True})
        await made.ask(2, {"webhook": "http://example.org"})
        await made.ask(3, headers={"x-tier": "gold"})
        await made.ask(4, headers={"x-infscale-shadow": "1"})
        document = await made.settled()
        assert made.candidate.bodies == []
        assert document["drawn"] == {"side_effects": 4}


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (hangs, "timeout"),
        (fails, "5xx"),
        (breaks, "broken"),
        (tells_much, "2xx"),
        (redirects, "3xx"),
        (None, "unreachable"),
    ],
    ids=["hangs", "fails", "breaks", "tells-much", "redirects", "is-dead"],
)
async def test_clients_notice_nothing_of_a_bad_candidate(
    tmp_path: Path, behaviour: Behaviour | None, result: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with shadowed(tmp_path, max_requests=4) as made:
        # Without a copy, as none is made of what is one.
        alone = await median(made, 100, shadow=False)
        if behaviour is None:
            assert made.candidate.site is not None
            await made.candidate.site.stop()
        else:
            made.candidate.behaviour = behaviour
        beside = await median(made, 100, shadow=True)
        document = await made.settled()
        pairs = {(each["primary"], each["copy"]) for each in document["answers"]}
        with capsys.disabled():
            print(f"\n{result}: {alone * 1e3:.1f} ms without, {beside * 1e3:.1f} ms with; {document['drawn']}")
        assert pairs == {("2xx", result)}
        assert sum(document["drawn"].values()) == 100
        # A copy that hangs does so for a second: waiting for one would show, whatever else this machine does.
        assert beside < alone + 0.25


async def median(made: Shadowed, count: int, *, shadow: bool) -> float:
    took: list[float] = []
    for number in range(count):
        began = time.perf_counter()
        await made.ask(number, headers={} if shadow else {"x-infscale-shadow": "1"})
        took.append(time.perf_counter() - began)
    return sorted(took)[count // 2]


async def test_no_more_copies_are_under_way_than_the_budget_and_none_while_something_waits(tmp_path: Path) -> None:
    async with shadowed(tmp_path, max_requests=3, timeout_seconds=5.0) as made:
        gate = asyncio.Event()
        most = 0

        async def waits(request: web.Request) -> web.StreamResponse:
            await gate.wait()
            return await answers(request)

        made.candidate.behaviour = waits
        for number in range(30):
            await made.ask(number)
            most = max(most, int(made.in_flight()))
        while len(made.candidate.bodies) < 3:
            await asyncio.sleep(0.02)
        assert most == 3, "copies are in the books of the candidate"
        gate.set()
        document = await made.settled()
        assert document["drawn"] == {"copied": 3, "no_room": 27}
        made.candidate.waiting = 1
        snapshot = made.running.store.snapshot(NEXT)
        while snapshot is None or snapshot.columns.gauges.waiting[0] != 1:
            await asyncio.sleep(0.02)
            snapshot = made.running.store.snapshot(NEXT)
        await made.ask(99)
        assert (await made.settled())["drawn"]["busy"] == 1
        assert len(made.candidate.bodies) == 3
        assert most == 3


async def test_copies_under_way_are_stopped_with_the_picker(tmp_path: Path) -> None:
    began = time.monotonic()
    async with shadowed(tmp_path, timeout_seconds=60.0) as made:
        made.candidate.behaviour = hangs
        await made.ask()
        while not made.candidate.bodies:
            await asyncio.sleep(0.02)
    assert time.monotonic() - began < 30
    snapshot = made.running.store.snapshot(NEXT)
    assert snapshot is not None
    assert float(snapshot.in_flight_requests.sum()) == 0
