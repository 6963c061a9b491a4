"""What the adapter counts about its own requests, for the process' `/metrics`."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from adapter.connections import Closed

DURATION_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)
"""Upper bounds of the duration buckets in seconds; one more bucket takes what is slower."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long requests of one kind took: counts per bucket (not cumulative) and the sum of seconds."""

    counts: tuple[int, ...] = (0,) * (len(DURATION_BOUNDS) + 1)
    sum_seconds: float = 0.0

    def plus(self, seconds: float) -> "Durations":
        """These durations and one more."""
        bucket = bisect_left(DURATION_BOUNDS, seconds)
        counts = self.counts
        return Durations((*counts[:bucket], counts[bucket] + 1, *counts[bucket + 1 :]), self.sum_seconds + seconds)


class AdapterStats:
    """Counts requests by kind of path and status code. Keys are ours: nothing a client sends becomes one."""

    def __init__(self) -> None:
        self.closed = Closed()
        """Connections that were closed because of a limit."""
        self._requests: dict[tuple[str, int], int] = {}
        self._durations: dict[str, Durations] = {}

    def record(self, kind: str, code: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests[kind, code] = self._requests.get((kind, code), 0) + 1
        self._durations[kind] = self._durations.get(kind, Durations()).plus(seconds)

    @property
    def requests(self) -> Mapping[tuple[str, int], int]:
        """Requests by kind and status code, as they are now."""
        return dict(self._requests)

    @property
    def durations(self) -> Mapping[str, Durations]:
        """Durations by kind, as they are now."""
        return dict(self._durations)
