"""An engine that began anew, or sleeps, as `serve` learns of it from pages of simulated servers."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from infscale.serving.composition import Serving, serving
from infscale.sim.http.simulated_servers import SimFleet, SimServer
from infscale.sim.settings import Fault, FaultKind
from picker.request import Decision, InferenceRequest, Outcome, ParsedBody
from tests.e2e.gateway import POOL, serve_config
from tests.fakes.pools import NO_HEADERS
from tests.sim.simulated import MODEL, quick_settings

pytestmark = pytest.mark.timeout(60)
PROMPTS = [random.Random(number).randbytes(8192) for number in range(4)]


def unix_time() -> float:
    return datetime.now(UTC).timestamp()


class Pool:
    """Two simulated servers behind a `serve` of their own, asked in the process."""

    def __init__(self, running: Serving, fleet: SimFleet) -> None:
        self.running = running
        self.fleet = fleet

    def ask(self, prompt: bytes) -> Decision:
        """Where a prompt goes, answered at once."""
        now = time.monotonic()
        body = ParsedBody("completions", MODEL, prompt, len(prompt) // 4, 10)
        request = InferenceRequest("id", "/v1/completions", NO_HEADERS, body)
        decision = self.running.directors.direct(request, now)
        assert isinstance(decision, Decision), decision
        self.running.directors.finished(request, decision, Outcome("completed", 200), now)
        return decision

    def server_of(self, decision: Decision) -> SimServer:
        port = int(decision.destinations[0].rpartition(":")[2])
        return next(each for each in self.fleet.servers if each.port == port)

    def candidates(self) -> int:
        snapshot = self.running.store.snapshot(POOL)
        assert snapshot is not None
        return len(snapshot.candidates(time.monotonic()))

    def lives(self) -> list[object]:
        snapshot = self.running.store.snapshot(POOL)
        assert snapshot is not None
        return list(snapshot.columns.lives)

    def scrapes(self) -> list[int]:
        """How often each endpoint was scraped."""
        return [each.scrapes for _, each in sorted(self.running.scrapes.health().items())]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def pool(folder: Path, *, wall: Callable[[], float] = unix_time, processes: int = 0) -> AsyncGenerator[Pool]:
    servers = [quick_settings(f"sim-{number}") for number in range(2)]
    async with SimFleet(servers, random.Random(7), wall) as fleet:
        config = await asyncio.to_thread(
            serve_config, folder, fleet.discovery_document(), preset="sticky-until-saturated"
        )
        config = replace(config, scrape=replace(config.scrape, processes=processes))
        async with serving(config) as running:
            made = Pool(running, fleet)
            await made.until(lambda: made.candidates() == 2)
            yield made


@pytest.mark.parametrize(
    "unready_seconds", [pytest.param(0.001, id="at once"), pytest.param(1.0, id="behind a phase of not being ready")]
)
@pytest.mark.parametrize(
    "wall", [pytest.param(unix_time, id="start times"), pytest.param(lambda: 1.8e9, id="counts alone")]
)
@pytest.mark.parametrize("processes", [0, 1], ids=["scraped here", "scraped by a process"])
async def test_nothing_is_believed_cached_where_an_engine_began_anew(
    tmp_path: Path, unready_seconds: float, wall: Callable[[], float], processes: int
) -> None:
    async with pool(tmp_path, wall=wall, processes=processes) as made:
        first = [made.ask(prompt) for prompt in PROMPTS]
        assert all(each.prefix_hit_ratio == 0.0 for each in first)
        again = [made.ask(prompt) for prompt in PROMPTS]
        assert all(each.prefix_hit_ratio == 1.0 for each in again)
        before = made.lives()
        for server in made.fleet.servers:
            # So that there are counts to fall.
            for rank in server.replica.ranks:
                rank.recorder.prompt_tokens += 1000
        scrapes = made.scrapes()
        # A scrape that had begun may have read the page before; the next one has not.
        await made.until(lambda: all(now >= then + 2 for then, now in zip(scrapes, made.scrapes(), strict=True)))
        assert made.lives() == before
        for server in made.fleet.servers:
            await server.inject(Fault(FaultKind.SLOW_START, seconds=unready_seconds))
        await made.until(lambda: made.candidates() == 2 and not any(map(lambda a, b: a is b, before, made.lives())))
        anew = [made.ask(prompt) for prompt in PROMPTS]
        assert [each.prefix_hit_ratio for each in anew] == [0.0] * 4


async def test_a_sleeper_gets_nothing_and_has_nothing_cached_when_it_wakes(tmp_path: Path) -> None:
    async with pool(tmp_path) as made:
        sleeper = made.server_of(made.ask(PROMPTS[0]))
        await sleeper.inject(Fault(FaultKind.SLEEP))
        await made.until(lambda: made.candidates() == 1)
        decisions = [made.ask(PROMPTS[0] if number % 2 else bytes([number]) * 2000) for number in range(10)]
        assert all(made.server_of(each) is not sleeper for each in decisions)
        await sleeper.clear()
        await made.until(lambda: made.candidates() == 2)
        snapshot = made.running.store.snapshot(POOL)
        assert snapshot is not None
        assert not np.any(snapshot.columns.asleep)
