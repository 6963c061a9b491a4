"""How many requests endpoints may have at a time while nothing is known of their steps.

Each limit is learnt by what becomes of it. A first token comes later than it has to by the time that its request waits
in the engine's queue, and an endpoint that had one at two scrapes in a row has more requests than it begins at once:
its limit becomes as many as run. An endpoint without a queue that has all the requests it may have gets one more, one
more than that at the next scrape, and so on until it has a queue: TCP finds the rate of a path like this (additive
increase, multiplicative decrease). Before its first queue the limit doubles, so that it is found in a few scrapes.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.sample import FloatArray, Life
from infscale.metrics.snapshot import PoolSnapshot

FIRST_LIMIT: Final = 8.0
"""Where it begins matters for seconds: it doubles with each scrape."""
_NEARLY: Final = 1.0
"""An endpoint with so many requests less than it may have has all of them: one has just ended."""


class _Limit:
    __slots__ = ("growth", "learns", "life", "queued", "requests", "seen")

    def __init__(self) -> None:
        self.begin_anew(None)

    def begin_anew(self, life: Life | None) -> None:
        self.life = life
        self.requests = FIRST_LIMIT
        self.growth = math.inf
        self.queued = False
        self.learns = True
        self.seen = -math.inf

    @property
    def most(self) -> float:
        return self.requests if self.learns else math.inf

    def observed(self, waiting: float, running: float, in_flight: float) -> None:
        """A scrape found so many, NaN where that is not known; those in flight are the picker's own."""
        self.learns = not math.isnan(waiting)
        if not self.learns:
            return
        queued, self.queued = self.queued, waiting > 0.0
        if self.queued:
            self.growth = 0.0
            if queued:
                self.requests = max(1.0, min(self.requests, in_flight, running))
        elif in_flight >= self.requests - _NEARLY:
            self.growth += 1.0
            self.requests += min(self.growth, self.requests)


class LearntLimits:
    """The limits of one pool's endpoints; rows are those of the endpoints last given to `sync`.

    The memory of the pool owns and writes it. An endpoint that leaves takes its limit along, and
    one whose engine began anew is learnt anew.
    """

    def __init__(self) -> None:
        self._endpoints: tuple[Endpoint, ...] = ()
        self._lives: Sequence[Life | None] = ()
        self._limits: dict[tuple[EndpointKey, str], _Limit] = {}
        self._rows: list[_Limit] = []
        self._observed_at: FloatArray = np.zeros(0)
        self.requests: FloatArray = np.zeros(0)
        """Of every row: how many requests it may have at a time, 1 at least; infinite where queues are not known."""

    def sync(self, endpoints: tuple[Endpoint, ...], lives: Sequence[Life | None]) -> None:
        """Follow the pool."""
        if endpoints is not self._endpoints:
            self._endpoints = endpoints
            before = self._limits
            self._limits = {(each.key, each.authority): _Limit() for each in endpoints}
            self._limits.update({identity: each for identity, each in before.items() if identity in self._limits})
            self._rows = list(self._limits.values())
            self._observed_at = np.zeros(0)
            self.requests = np.array([each.most for each in self._rows], dtype=np.float64)
        if lives is self._lives or not lives:
            return
        self._lives = lives
        for row, (limit, life) in enumerate(zip(self._rows, lives, strict=True)):
            if limit.life is not life:
                limit.begin_anew(life)
                self.requests[row] = limit.most

    def observe(self, snapshot: PoolSnapshot) -> bool:
        """Learn from what was scraped since it was last looked at; whether there was anything."""
        columns, in_flight = snapshot.columns, snapshot.in_flight_requests
        if columns.observed_at is self._observed_at:
            return False
        self._observed_at = columns.observed_at
        gauges = columns.gauges
        for row, limit in enumerate(self._rows):
            at, waiting = float(columns.observed_at[row]), float(gauges.waiting[row])
            if not at > limit.seen:
                continue
            limit.seen = at
            running = float(gauges.running[row])
            limit.observed(waiting, math.inf if math.isnan(running) else running, float(in_flight[row]))
            self.requests[row] = limit.most
        return True
