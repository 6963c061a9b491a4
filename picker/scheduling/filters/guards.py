"""Filters that keep a bad moment from growing: endpoints that fail, endpoints that have more than their share."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext

Measure = Literal["requests", "tokens"]
MEASURES: tuple[Measure, ...] = ("requests", "tokens")


@dataclass(frozen=True, slots=True)
class ErrorMemoryFilter:
    """Leaves out endpoints that failed `failures` times in a row, for `out_seconds` after the last time.

    A failure is an answer of 5xx, or that the gateway had to go on to the next destination. The metrics of an endpoint
    that answers every request with an error at once show an idle one, which every load scorer prefers. After the time
    it gets requests again; one success forgets, one more failure leaves it out again. All stay when all would go:
    failures everywhere are no reason to stop, and may be the requests' own fault.
    """

    failures: int = 3
    out_seconds: float = 10.0

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows that have not failed lately, or all."""
        out = context.memory.out(rows, self.failures, context.now - self.out_seconds)
        if out is None:
            return rows
        kept = rows[~out]
        return kept if len(kept) else rows


@dataclass(frozen=True, slots=True)
class BoundedLoadFilter:
    """Drops endpoints that have more in flight than `factor` times the mean of the candidates.

    Counted as consistent hashing with bounded loads does, this request included: an endpoint may have up to
    ``ceil(factor · (n + 1) / candidates)`` of the n + 1 requests. By tokens the bound is ``factor · mean``. Beside an
    affinity scorer it lets a hot prefix spill over instead of piling up. At least one candidate stays, and what is in
    flight is always known.
    """

    factor: float = 1.25
    measure: Measure = "requests"

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows within the bound."""
        if self.measure == "requests":
            load = context.snapshot.in_flight_requests[rows]
            bound = np.ceil(self.factor * (np.add.reduce(load) + 1.0) / len(rows)) - 1.0
        else:
            load = context.snapshot.in_flight_tokens[rows]
            bound = self.factor * np.add.reduce(load) / len(rows)
        # The mean of equal loads may round below each of them.
        kept: IntArray = rows[load <= np.maximum(bound, np.minimum.reduce(load))]
        return kept
