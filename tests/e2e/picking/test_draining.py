"""Servers that leave, through a real Envoy: streams end, nothing new begins there, and sessions go on elsewhere."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from infscale.endpoint import Phase
from infscale.serving.composition import serving
from infscale.sim.settings import Fault, FaultKind
from tests.e2e.gateway import POOL
from tests.e2e.picking.test_sessions import HEADER, Pool, clients, pool
from tests.sim.simulated import MODEL

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(120)]

STREAMS = 50
TOKENS = 3_000
"""Of each stream: some seconds."""


@dataclass
class Stream:
    """One long answer."""

    pod: str = ""
    events: int = 0
    done: bool = False
    problem: str = ""

    async def run(self, session: aiohttp.ClientSession, url: str, number: int, began: asyncio.Semaphore) -> None:
        body = {"model": MODEL, "prompt": f"stream {number}", "max_tokens": TOKENS, "stream": True}
        try:
            async with session.post(f"{url}/v1/completions", json=body) as answer:
                self.pod = answer.headers.get("x-inference-pod", "")
                began.release()
                async for line in answer.content:
                    if line.startswith(b"data: [DONE]"):
                        self.done = True
                    elif line.startswith(b"data: "):
                        self.events += len(json.loads(line[6:])["choices"]) > 0
        except (aiohttp.ClientError, ValueError) as error:
            self.problem = repr(error)


async def stopped(made: Pool, name: str) -> None:
    """What the kubelet does in the end: nothing listens there any more."""
    server = made.fleet.find(name)
    assert server is not None
    await server.inject(Fault(FaultKind.REFUSE))


async def test_scaling_down_from_six_to_two_breaks_none_of_fifty_streams(tmp_path: Path) -> None:
    names = [f"server-{number}" for number in range(6)]
    leaving = names[2:]
    async with pool(tmp_path, names, names) as made, serving(made.config) as running:
        await made.seen(running)
        streams, began, stop = [Stream() for _ in range(STREAMS)], asyncio.Semaphore(0), asyncio.Event()
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            clients(made.url, 12) as sessions,
            asyncio.TaskGroup() as group,
        ):
            for each in sessions:
                await each.ask()
                group.create_task(each.go_on(stop))
            tasks = [
                group.create_task(each.run(session, made.url, number, began)) for number, each in enumerate(streams)
            ]
            for _ in streams:
                await began.acquire()
            at_start = sum(each.pod in leaving for each in streams)
            # A ReplicaSet deletes all four pods at once.
            made.phases |= dict.fromkeys(leaving, Phase.DRAINING)
            await made.discover()
            await made.seen(running)
            had = [len(each.served) for each in sessions]
            running_then = sum(not each.done for each in streams)
            for name in leaving:
                await made.idle(running, name)
                await stopped(made, name)
            made.phases = {name: Phase.READY for name in names[:2]}
            await made.discover()
            await made.seen(running)
            await asyncio.gather(*tasks)
            stop.set()
        late = [pod for each, before in zip(sessions, had, strict=True) for pod in each.served[before + 1 :]]
        snapshot = running.store.snapshot(POOL)
        assert snapshot is not None
        assert snapshot.in_flight_requests.sum() == 0
    broken = [each for each in streams if not each.done or each.problem]
    print(
        f"\n{len(broken)} of {STREAMS} broken; {at_start} were on the four, {running_then} ran as these began to drain"
    )
    assert broken == []
    assert at_start > 20, "the four had their share"
    assert running_then > 40
    assert {each.events for each in streams} == {TOKENS + 1}, "one for each token, and one that says why it ends"
    assert [each.failures for each in sessions] == [[]] * 12
    assert set(late) <= set(names[:2]), "no new request goes where it drains"
    assert max(each.moves for each in sessions) <= 1, "a session moves between two of its turns, once"


async def test_all_servers_drain_and_what_comes_is_told_so_while_streams_end(tmp_path: Path) -> None:
    async with pool(tmp_path, ["a"], ["a"]) as made, serving(made.config) as running:
        await made.seen(running)
        stream, began = Stream(), asyncio.Semaphore(0)
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            task = group.create_task(stream.run(session, made.url, 0, began))
            await began.acquire()
            made.phases["a"] = Phase.DRAINING
            await made.discover()
            await made.seen(running)
            headers = {"x-llm-d-inference-ttl": "100ms"}
            body = {"model": MODEL, "prompt": "x", "max_tokens": 1}
            async with session.post(f"{made.url}/v1/completions", json=body, headers=headers) as answer:
                assert (answer.status, HEADER in answer.headers) == (503, False)
            await task
    assert (stream.done, stream.problem) == (True, "")
