"""Pools at zero that hold requests, through a real Envoy: activation, the first answer, and to zero and back."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from infscale.quantity import parse_quantity
from picker.pick_record import PickRecord
from tests.e2e.gateway import POOL, Gateway, gateway
from tests.keda.keda_client import Keda, channel
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

POOL_METRIC = (
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/inferencepools.inference.networking.k8s.io/default"
)
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default"
TRIGGERS: tuple[Mapping[str, str], ...] = (
    {"slo": "ttft_p90=1s", "pool": "default"},
    {"metric": "outstanding_requests", "pool": "default"},
)


class Scaled:
    """A gateway whose pool has the servers that it is told to have."""

    def __init__(self, running: Gateway, discovery: Path) -> None:
        self.running = running
        self._discovery = discovery
        self._every = yaml.safe_load(discovery.read_text())

    async def to(self, servers: int) -> None:
        """Have so many, and wait until discovery says so."""
        endpoints = self._every["endpoints"][:servers]
        await asyncio.to_thread(self._discovery.write_text, yaml.safe_dump({**self._every, "endpoints": endpoints}))
        while len(self.running.snapshot) != servers:
            await asyncio.sleep(0.01)

    async def ask(self, name: str) -> tuple[int, str]:
        """Status and text of the answer to one request."""
        body = {"model": MODEL, "prompt": f"{name} " + "word " * 20, "max_tokens": 4}
        url = f"{self.running.url}/v1/completions"
        async with self.running.session.post(url, json=body, headers={"x-request-id": name}) as response:
            return response.status, await response.text()

    async def until_queued(self, count: int) -> None:
        """Wait until so many requests wait by the store; the test's timeout is the limit."""
        while self.queued != count:
            await asyncio.sleep(0.01)

    @property
    def queued(self) -> int:
        queue = self.running.snapshot.queue
        assert queue is not None
        return sum(part.requests for part in queue.of(None))

    async def metric(self, path: str) -> float:
        """A value that the adapter answers."""
        status, document = await self.running.metric(path)
        assert status == 200, document
        [item] = document["items"]  # type: ignore[misc]
        return float(parse_quantity(str(item["value"])))  # type: ignore[index]

    async def page(self, name: str) -> float:
        """The sum of a metric on infscale's own page."""
        async with self.running.session.get(f"{self.running.serving.telemetry.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{"))

    async def until_at_rest(self) -> None:
        """Wait until nothing is in flight or waits, in the store and on the page."""
        while self.running.snapshot.in_flight_requests.sum() or self.queued:
            await asyncio.sleep(0.01)
        assert await self.page("infscale_flow_waiting_requests") == 0
        assert await self.page("infscale_flow_waiting_bytes") == 0
        assert await self.page("infscale_pool_outstanding_requests") == 0
        assert not self.running.snapshot.in_flight_models

    def picks(self) -> list[PickRecord]:
        records, _ = self.running.serving.directors.picks()[POOL]
        return list(records)


@asynccontextmanager
async def scaled(folder: Path, servers: int = 1, **flow: object) -> AsyncGenerator[Scaled, None]:
    settings = [quick_settings(f"s-{number}") for number in range(servers)]
    async with gateway(folder, settings, flow_control={"enabled": True, **flow}) as running:
        yield Scaled(running, folder / "discovery.yaml")


async def test_a_request_activates_an_empty_pool_at_once_and_its_first_endpoint_answers(tmp_path: Path) -> None:
    async with scaled(tmp_path) as pool, asyncio.TaskGroup() as group:
        scaler = pool.running.serving.scaler
        assert scaler is not None
        async with channel(scaler.server.port) as opened:
            await pool.to(0)
            triggers = [Keda(opened, each, namespace="default") for each in TRIGGERS]
            while any([await each.is_active() for each in triggers]):
                await asyncio.sleep(0.02)
            streams = [each.stream_active() for each in triggers]
            assert [(await stream.read()).result for stream in streams] == [False, False]
            assert await pool.metric(f"{POOL_METRIC}/queued_requests") == 0
            asked = group.create_task(pool.ask("first"))
            assert [(await stream.read()).result for stream in streams] == [True, True], "it is pushed"
            await pool.until_queued(1)
            [(activated_at, requests)] = pool.running.snapshot.turned_away
            assert requests == 1
            # An HPA that asks for objects, one that asks for external metrics, and KEDA see the same at once.
            for path in (POOL_METRIC, EXTERNAL):
                for name in ("queued_requests", "outstanding_requests", "requests_without_endpoint"):
                    assert await pool.metric(f"{path}/{name}") == 1, name
            assert await pool.metric(f"{POOL_METRIC}/queued_tokens") > 0
            assert [await each.value() for each in triggers] == [1.0, 1.0]
            assert not asked.done()
            await pool.to(1)
            assert (await asked)[0] == 200
            [pick] = [each for each in pool.picks() if each.request_id == "first"]
            assert pick.waited_seconds is not None
            arrived_at = pick.now - pick.waited_seconds
            assert 0 <= activated_at - arrived_at < 0.1, "the store had the call long before the endpoint"
            assert pick.now > activated_at
            await pool.until_at_rest()


async def test_past_its_budget_the_answer_is_503_with_the_reason(tmp_path: Path) -> None:
    async with scaled(tmp_path, no_endpoint_seconds=0.2) as pool:
        await pool.to(0)
        status, text = await pool.ask("late")
        assert status == 503
        assert "no endpoint became ready in the time that the request may wait" in text
        assert await pool.page("infscale_flow_refusals_total") == 1
        assert await pool.metric(f"{POOL_METRIC}/queue_refusals_per_second") > 0
        await pool.until_at_rest()


async def test_to_zero_and_back_under_traffic_no_request_hangs_and_none_fails(tmp_path: Path) -> None:
    async with scaled(tmp_path, servers=2) as pool:
        over = asyncio.Event()
        answers: dict[str, int] = {}
        waited: set[str] = set()

        async def client(number: int) -> None:
            asked = 0
            while not over.is_set():
                name = f"{number}-{asked}"
                answers[name], _ = await pool.ask(name)
                asked += 1

        async with asyncio.TaskGroup() as group:
            for number in range(6):
                group.create_task(client(number))
            for servers in (1, 0, 1, 2, 0, 2):
                if servers:
                    before = len(answers)
                    await pool.to(servers)
                    while len(answers) < before + 12:
                        await asyncio.sleep(0.01)
                    waited |= {each.request_id for each in pool.picks() if each.waited_seconds}
                else:
                    await pool.to(0)
                    # All that come wait: none is refused, none is sent to what is gone.
                    await pool.until_queued(6)
            over.set()
        assert set(answers.values()) == {200}
        assert len(waited) >= 12, "the clients waited through both times at zero"
        await pool.until_at_rest()
        assert await pool.page("infscale_flow_refusals_total") == 0
        assert await pool.page("infscale_flow_given_up_total") == 0
