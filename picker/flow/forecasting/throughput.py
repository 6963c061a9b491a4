"""How fast requests leave a queue while they have to wait: whether one that comes will have its turn in time.

Only time in which requests wait that may go to any endpoint counts, and only what leaves then: what a pool lets pass
while it has room says how much was asked for, not how much it can do. It is measured per ready endpoint, so that it
holds when there are more.
"""

import math
from typing import Final

_HORIZON_SECONDS: Final = 30.0
_LEAST_SECONDS: Final = 5.0
"""Of less time in which requests wait nothing is said."""


class Throughput:
    """GPU seconds of work that leave per second and endpoint, averaged over the last half minute of waiting or so."""

    def __init__(self) -> None:
        self._work = 0.0
        self._endpoint_seconds = 0.0
        self._seconds = 0.0
        self._at = -math.inf
        self._endpoints = 0

    def watch(self, now: float, waiting: bool, endpoints: int) -> None:
        """From `now` on, whether requests wait for any of so many endpoints."""
        if self._endpoints:
            passed = now - self._at
            left = math.exp(-passed / _HORIZON_SECONDS)
            self._work *= left
            self._endpoint_seconds = self._endpoint_seconds * left + passed * self._endpoints
            self._seconds = self._seconds * left + passed
        self._at = now
        self._endpoints = endpoints if waiting else 0

    def left(self, work_seconds: float) -> None:
        """So much work has left that had to wait, by the estimate by which it waited."""
        self._work += work_seconds

    def seconds_for(self, work_seconds: float, endpoints: int) -> float | None:
        """How long so much work takes to leave for so many endpoints; None: that is not known."""
        if self._seconds < _LEAST_SECONDS or self._work <= 0.0 or not endpoints:
            return None
        return work_seconds * self._endpoint_seconds / (self._work * endpoints)
