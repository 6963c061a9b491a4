"""What it costs to have thousands of requests wait: the longest time the loop is held, and memory."""

import gc
import math
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Final, TypeVar

import orjson

from bench.memory import POOL, prompts
from bench.pools import filled_store
from bench.rows import Row
from infscale.endpoint import DiscoveryState
from infscale.process.garbage import spare_collections
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.directing.holding.flow_director import FlowDirector
from picker.directing.holding.pool_flow import FlowSettings
from picker.directing.pool_directors import PoolDirectors
from picker.epp_config.loader import preset
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import BodyMode, Fail, Incoming, Modes, RequestBody, RequestHeaders
from picker.ext_proc.wire_codec import encode
from picker.request import Headers, Verdict

Arg = TypeVar("Arg")
WAITING: Final = 5_000
ENDPOINTS: Final = 100
_BUDGET_MICROSECONDS: Final = 2_000.0
_BUDGET_BYTES: Final = 3_072.0
_MODES: Final = Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE)


class Crowd:
    """A pool of which every endpoint is full, and exchanges that wait for one, of so many tenants."""

    def __init__(self, tenants: int) -> None:
        self.now = 100.0
        self.alarm = math.inf
        self.slices: list[float] = []
        """Microseconds of CPU that the loop was held for, each time."""
        self._tenants = tenants
        self._rng = random.Random(4)
        self.store, self.keys = filled_store(POOL, ENDPOINTS)
        config, settings = preset("infscale"), DirectorSettings(holds=True)
        self.directors = PoolDirectors(
            lambda pool: PoolDirector(pool, config, self.store, random.Random(1), settings), None, self.store
        )
        self.directors.sync(self.store.discovery)
        self.flow = FlowDirector(self.directors, self.directors, FlowSettings(), self._set, time.perf_counter)
        self.flow.sync(self.now)
        self.exchanges: list[Exchange] = []

    def _set(self, at: float) -> None:
        self.alarm = at

    def timed(self, work: Callable[[], object]) -> None:
        """Have the loop do this at a stretch."""
        began = time.thread_time()
        work()
        self.longest = max(self.longest, time.thread_time() - began)

    def come(self, bodies: Iterable[bytes], count: int) -> None:
        """So many requests with these bodies, one after the other; what need not wait is on its way."""
        for number, body in enumerate(islice(bodies, count)):
            headers = Headers(
                (
                    (":method", b"POST"),
                    (":path", b"/v1/completions"),
                    ("content-type", b"application/json"),
                    ("x-request-id", b"%032d" % number),
                    ("x-llm-d-inference-fairness-id", b"tenant-%d" % (number % self._tenants)),
                )
            )
            exchange = Exchange(ExchangeSettings(), self.flow, self._rng)
            exchange.receive(Incoming(RequestHeaders(headers, False), modes=_MODES), self.now)
            exchange.receive(Incoming(RequestBody(body, False)), self.now)
            self._timed(lambda each: each.receive(Incoming(RequestBody(b"", True)), self.now), exchange)
            if exchange.held is not None:
                exchange.held.listen(partial(self._told, exchange))
            self.exchanges.append(exchange)

    def passes(self, seconds: float) -> None:
        """Time passes, and then everything is done that is to be done at once."""
        self.now += seconds
        self.flow.stir(self.now)
        while self.alarm <= self.now:
            self.alarm = math.inf
            self._timed(self.flow.ring, self.now)

    def leave(self) -> None:
        """The pool goes."""
        state = DiscoveryState((), ())
        self.store.sync(state)
        self.directors.sync(state)
        self._timed(self.flow.sync, self.now)
        self.passes(0.0)

    def end(self) -> None:
        """All that runs has ended."""
        for exchange in self.exchanges:
            if exchange.held is None:
                exchange.closed(self.now)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(exchange.held is not None for exchange in self.exchanges)

    def _told(self, exchange: Exchange, verdict: Verdict) -> None:
        for send in exchange.resume(verdict, self.now):
            if not isinstance(send, Fail):
                encode(send)

    def _timed(self, work: Callable[[Arg], object], argument: Arg) -> None:
        """Have the loop do this at a stretch."""
        began = time.thread_time()
        work(argument)
        self.slices.append((time.thread_time() - began) * 1e6)


def waiting() -> Iterator[Row]:
    """Slices of work on what waits, and what one that waits takes of memory.

    Python searches for garbage meanwhile as it does in `infscale serve`.
    """
    spare_collections()
    for tenants in (1, 1_000):
        for name, happens in (("come", _come), ("go", _go), ("are late", _late), ("lose their pool", _left)):
            crowd = _crowd(tenants)
            if name != "come":
                crowd.slices.clear()
            happens(crowd)
            label = f"{WAITING:,} requests of {tenants:,} tenants {name}"
            yield Row(f"{label}: longest slice", max(crowd.slices), "µs CPU", _BUDGET_MICROSECONDS)
            yield Row(f"{label}: slices, 99th percentile", statistics.quantiles(crowd.slices, n=100)[-1], "µs CPU")
    yield Row("a request that waits, beside body and prompt", _bytes_each(), "bytes", _BUDGET_BYTES)


def _crowd(tenants: int) -> Crowd:
    gc.collect()
    crowd = Crowd(tenants)
    crowd.come(_bodies(64_000, ENDPOINTS), ENDPOINTS)
    if crowd.waiting:
        raise RuntimeError("there is room for a request on each endpoint")
    crowd.slices.clear()
    # Some find room yet.
    crowd.come(_bodies(1_200, WAITING + 2 * ENDPOINTS), WAITING + 2 * ENDPOINTS)
    if crowd.waiting < WAITING:
        raise RuntimeError(f"{crowd.waiting} of {WAITING} requests wait")
    return crowd


def _come(crowd: Crowd) -> None:
    """They have come."""


def _go(crowd: Crowd) -> None:
    crowd.end()
    while crowd.waiting:
        crowd.passes(0.02)


def _late(crowd: Crowd) -> None:
    crowd.now += 60.0
    crowd.passes(0.0)
    if crowd.waiting:
        raise RuntimeError("all have waited for as long as they may")


def _left(crowd: Crowd) -> None:
    crowd.leave()
    if crowd.waiting:
        raise RuntimeError("no request waits for a pool that is gone")


def _bytes_each() -> float:
    crowd = Crowd(100)
    crowd.come(_bodies(64_000, ENDPOINTS), ENDPOINTS)
    bodies = list(_bodies(1_200, WAITING))
    gc.collect()
    tracemalloc.start()
    crowd.come(bodies, len(bodies))
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The body as it came, and once more as a prompt; what came is this module's own.
    prompts_bytes = sum(len(orjson.loads(body)["prompt"]) for body in bodies)
    return (taken - prompts_bytes) / WAITING


def _bodies(size: int, count: int) -> Iterator[bytes]:
    for prompt in prompts(size, -(-count // 8) * 8, random.Random(3))[:count]:
        yield orjson.dumps({"model": "m", "prompt": prompt.decode(), "max_tokens": 64})
