"""Ten thousand requests through a real Envoy while servers freeze, refuse and die: only cut streams fail."""

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest

from infscale.latency.step_model import StepModel
from infscale.sim.settings import Fault, FaultKind
from picker.epp_config.loader import preset
from picker.explaining.replaying import replayed
from picker.pick_record import PickRecord
from tests.e2e.gateway import POOL, SCRAPE_INTERVAL_SECONDS, STALENESS_LIMIT_SECONDS, Gateway, gateway
from tests.sim.simulated import MODEL, QUICK, quick_settings

REQUESTS = 10_000
SERVERS = 6
AT_ONCE = 24
FROZEN, REFUSING, DYING = "sim-0", "sim-1", "sim-2"


@dataclass
class Tally:
    """What clients saw and what the picker recorded."""

    done: int = 0
    failures: Counter[str] = field(default_factory=Counter[str])
    cut: int = 0
    overtaken: int = 0
    cutting: bool = False
    picks: dict[float, PickRecord] = field(default_factory=dict[float, PickRecord])


async def one(running: Gateway, number: int, tally: Tally) -> None:
    """One streamed request; a stream that was cut is told from every other failure."""
    group = number % 40
    body = {"model": MODEL, "prompt": f"{group:04d} " * 120 + str(number), "max_tokens": 8, "stream": True}
    started, server, ended = False, "", False
    try:
        async with running.session.post(f"{running.url}/v1/completions", json=body) as response:
            server = response.headers.get("x-inference-pod", "")
            if response.status != 200:
                text = await response.text()
                if tally.cutting and response.status in {502, 503} and "reset" in text:
                    tally.overtaken += 1  # the cut overtook the response headers on their way through Envoy
                else:
                    tally.failures[f"{response.status} {text[:200]}"] += 1
                tally.done += 1
                return
            started = True
            async for line in response.content:
                ended = ended or line.startswith(b"data: [DONE]")
    except aiohttp.ClientError as error:
        if not started:
            tally.failures[f"{type(error).__name__} {error}"] += 1
    tally.done += 1
    if started and not ended:
        tally.cut += 1
        if server != DYING:
            tally.failures[f"stream of {server} was cut"] += 1


def collect(running: Gateway, tally: Tally) -> None:
    """Take over the picker's records before its buffer forgets them."""
    director = running.serving.directors.director(POOL)
    assert director is not None
    tally.picks.update({record.now: record for record in director.records})


async def drive(
    running: Gateway, tally: Tally, faults: dict[int, Fault | None], names: dict[int, str]
) -> dict[str, float]:
    """Send every request, `AT_ONCE` at a time; inject the fault due at a request's number. When each began."""
    numbers = iter(range(REQUESTS))
    began: dict[str, float] = {}

    async def worker() -> None:
        for number in numbers:
            if number in faults:
                fault = faults[number]
                server = running.fleet.find(names[number])
                assert server is not None
                # Who refuses ends the connections it has, also those on which a request has just come.
                tally.cutting = fault is not None and fault.kind in {FaultKind.DIE, FaultKind.REFUSE}
                if fault is None:
                    await server.clear()
                else:
                    await server.inject(fault)
                    began[names[number]] = time.monotonic()
            if number % 200 == 0:
                collect(running, tally)
            await one(running, number, tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
    collect(running, tally)
    return began


async def settled(running: Gateway) -> None:
    """Wait a little for the ends of exchanges, which Envoy reports after the client has its last byte."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3.0):
            while running.snapshot.in_flight_requests.any():
                await asyncio.sleep(0.02)


def made_again(running: Gateway) -> None:
    """The last ten thousand decisions, made again from what is kept of them, are the same."""
    director = running.serving.directors.director(POOL)
    assert director is not None
    assert director.log is not None
    inputs = (sheet.inputs(place) for sheet in director.log.sheets() for place in range(len(sheet)))
    counts = replayed(inputs, preset("infscale"))
    assert counts.decisions >= REQUESTS
    assert counts.same == counts.decisions, counts.document()


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_only_streams_cut_midway_fail_and_no_stale_or_gone_server_is_picked(tmp_path: Path) -> None:
    tally = Tally()
    plan: dict[int, tuple[str, Fault | None]] = {
        1500: (FROZEN, Fault(FaultKind.FREEZE_METRICS)),
        3000: (REFUSING, Fault(FaultKind.REFUSE)),
        5000: (DYING, Fault(FaultKind.DIE, after_tokens=5, ratio=0.3)),
        8000: (DYING, None),
    }
    slow = replace(QUICK, steps=StepModel(0.003, 1e-6, 0.0, 0.0))
    servers = [replace(quick_settings(f"sim-{number}"), coefficients=slow) for number in range(SERVERS)]
    async with gateway(tmp_path, servers, unknown_load="refuse") as running:
        began = await drive(
            running,
            tally,
            {number: fault for number, (_, fault) in plan.items()},
            {number: name for number, (name, _) in plan.items()},
        )
        ended = time.monotonic()
        assert tally.done == REQUESTS
        assert not tally.failures
        assert tally.cut > 10 * tally.overtaken
        assert tally.cut > 0
        authorities = {str(endpoint.key.name): endpoint.authority for endpoint in running.snapshot.endpoints}
        for record in tally.picks.values():
            assert record.observed_age_seconds is not None
            assert record.observed_age_seconds <= STALENESS_LIMIT_SECONDS
        # A request in flight when the fault begins, one scrape and the limit; then nothing more.
        grace = STALENESS_LIMIT_SECONDS + 2 * SCRAPE_INTERVAL_SECONDS + 1.0
        for name in (FROZEN, REFUSING):
            before = [pick for pick in tally.picks.values() if pick.destinations[0] == authorities[name]]
            late = [pick.now - began[name] for pick in before if pick.now > began[name] + grace]
            assert before
            assert ended > began[name] + grace + 1.0
            assert not late, f"{name} was picked {max(late):.1f} s after its fault began"
        await settled(running)
        made_again(running)
        snapshot = running.snapshot
        assert running.serving.store.written_off == 0
        assert snapshot.in_flight_requests.tolist() == [0.0] * SERVERS
        assert snapshot.in_flight_tokens.tolist() == [0.0] * SERVERS
        assert snapshot.in_flight_models == {}
