"""Requests that are taken back in flight for others, through a real Envoy to a server that batch has filled."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infscale.sim.http.simulated_servers import SimServer
from picker.pick_record import PickEnd
from tests.e2e.gateway import POOL, Gateway, gateway
from tests.sim.simulated import MODEL, QUICK, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

OBJECTIVE = "x-llm-d-inference-objective"
"""A name that no objective has is worth least."""
BATCH = 5
SLOW = replace(QUICK, steps=replace(QUICK.steps, base=0.05))
"""An answer of batch takes more than ten seconds, and five fill the KV cache of 1,024 tokens."""


@dataclass
class Client:
    """Asks once, and keeps what came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    text: bytes = b""
    broken: bool = False

    async def ask(self, running: Gateway, name: str, words: int, tokens: int, *, stream: bool, batch: bool) -> None:
        body = {"model": MODEL, "prompt": f"{name} " + "word " * words, "max_tokens": tokens, "stream": stream}
        headers = {"x-request-id": name} | ({OBJECTIVE: "batch"} if batch else {})
        async with running.session.post(f"{running.url}/v1/completions", json=body, headers=headers) as response:
            self.status, self.headers = response.status, {k.lower(): v for k, v in response.headers.items()}
            try:
                async for piece in response.content.iter_any():
                    self.text += piece
            except aiohttp.ClientError:
                self.broken = True


async def until_has(server: SimServer, count: int) -> None:
    """Wait until the server has so many requests; the test's timeout is the limit."""
    while server.running + server.waiting != count:
        await asyncio.sleep(0.01)


def ends(running: Gateway) -> dict[str, PickEnd | None]:
    (records, _) = running.serving.directors.picks()[POOL]
    return {record.request_id: record.end for record in records}


@pytest.mark.parametrize(
    ("stream", "bodies", "transport"),
    [(False, False, "http2"), (True, False, "http2"), (True, True, "http2"), (True, False, "grpc_aio")],
)
async def test_a_request_is_served_at_once_in_the_room_of_one_that_is_taken_back(
    tmp_path: Path, stream: bool, bodies: bool, transport: str
) -> None:
    servers = [quick_settings("slow-0", {"num_blocks": 64}, coefficients=SLOW)]
    picker: dict[str, Any] = {
        "flow_control": {"enabled": True},
        "transport": transport,
        "trusted_headers": [OBJECTIVE],
    }
    async with gateway(tmp_path, servers, response_bodies=bodies, **picker) as running, asyncio.TaskGroup() as group:
        (server,) = running.fleet.servers
        clients = [Client() for _ in range(BATCH)]
        tasks = [
            group.create_task(each.ask(running, f"batch-{place}", 20, 250, stream=stream, batch=True))
            for place, each in enumerate(clients)
        ]
        await until_has(server, BATCH)
        while stream and not all(each.text for each in clients):
            await asyncio.sleep(0.01)
        urgent = Client()
        await urgent.ask(running, "urgent", 300, 4, stream=False, batch=False)
        assert urgent.status == 200
        await until_has(server, BATCH - 1)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        (evicted,) = [each for each, task in zip(clients, tasks, strict=True) if task.done()]
        if stream:
            assert (evicted.status, evicted.broken) == (200, True), "the end of its answer is no regular one"
        else:
            assert evicted.status == 429
            assert evicted.headers["x-llm-d-request-dropped-reason"] == "evicted"
            assert int(evicted.headers["retry-after"]) >= 1
            assert b"a higher priority need its room" in evicted.text
        end = ends(running)[f"batch-{clients.index(evicted)}"]
        assert end is not None
        assert (end.kind, end.evicted_for) == ("evicted", "request urgent of priority 0")
        async with running.session.get(f"{running.serving.telemetry.url}/metrics") as response:
            assert 'infscale_flow_evictions_total{pool="default/default",priority="-1",reason="cache"} 1.0' in (
                await response.text()
            )
        for each in tasks:
            each.cancel()
        while running.snapshot.in_flight_requests.sum():
            await asyncio.sleep(0.01)
