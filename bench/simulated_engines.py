"""How fast simulated engines are in virtual time, without the product around them."""

import time
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from random import Random

from bench.rows import Row
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.engine.recorder import Recorder
from infscale.sim.engine.steps import EngineRequest, EngineSettings
from infscale.sim.engine.virtual_engine import VirtualEngine

_SERVERS = 8
_REQUESTS = 3000
_LOOK_SECONDS = 0.05
_BLOCK = 16
_NEVER = float("inf")
_ARRIVAL, _WAKE, _LOOK = range(3)


def engine_rows() -> Iterator[Row]:
    """Conversations with long prompts, as Mooncake's: at a rate that is borne, and at one that fills the KV cache."""
    for rate, load in ((4.0, "busy"), (7.0, "KV cache full")):
        name = f"{_SERVERS} simulated engines looked at every 50 ms, long prompts, {load}: a second of virtual time"
        # 200 times as fast as real time.
        yield Row(name, 1e3 * _cpu_seconds(rate), "ms CPU", budget=5.0)


def _requests(rng: Random) -> list[EngineRequest]:
    """Prompts of 12,000 tokens on average, whose first part was asked before for every third of them."""
    made: list[EngineRequest] = []
    for number in range(_REQUESTS):
        tokens = min(100_000, 16 + int(rng.lognormvariate(9.0, 0.9)))
        blocks = tuple((number << 16) + place for place in range(tokens // _BLOCK))
        if number and rng.uniform(0.0, 1.0) < 0.3:
            earlier = made[rng.randrange(max(0, number - 500), number)].block_hashes
            blocks = (*earlier, *blocks)[: len(blocks)]
        made.append(EngineRequest(number, tokens, 1 + int(rng.expovariate(1 / 350)), blocks))
    return made


def _cpu_seconds(rate: float) -> float:
    """CPU time of one second of virtual time; each request goes to the engine that has fewest."""
    rng, chosen = Random(1), coefficient_set("qwen3-32b-h100-tp2")
    engines = [
        VirtualEngine(Engine(EngineSettings(chosen.num_blocks), chosen.steps), Recorder(chosen.num_blocks * _BLOCK))
        for _ in range(_SERVERS)
    ]
    requests = _requests(rng)
    events = [(rng.uniform(0.0, _REQUESTS / rate), _ARRIVAL, each.id) for each in requests]
    events += [(number * _LOOK_SECONDS / _SERVERS, _LOOK, number) for number in range(_SERVERS)]
    heapify(events)
    open_requests, now = _REQUESTS, 0.0
    started = time.process_time()
    while open_requests:
        now, kind, number = heappop(events)
        if kind == _WAKE and engines[number].wake_at != now:
            continue
        if kind == _ARRIVAL:
            request = requests[number]
            number = min(range(_SERVERS), key=lambda each: engines[each].engine.waiting + engines[each].engine.running)
            open_requests -= len(engines[number].advance(now).finished)
            engines[number].submit(request, now)
        else:
            open_requests -= len(engines[number].advance(now).finished)
        if kind == _LOOK:
            heappush(events, (now + _LOOK_SECONDS, _LOOK, number))
        elif engines[number].wake_at < _NEVER:
            heappush(events, (engines[number].wake_at, _WAKE, number))
    return (time.process_time() - started) / now
