"""Scorers of what endpoints report or have in flight: queue, running and in-flight requests, KV-cache utilisation."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext


def lower_is_better(values: FloatArray) -> FloatArray:
    """``(max - v) / (max - min)`` over the candidates, 1 for all where they are equal; unknown stays NaN."""
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    if high > low:
        spread: FloatArray = (high - values) / (high - low)
        return spread
    return np.where(np.isnan(values), values, 1.0)


@dataclass(frozen=True, slots=True)
class QueueScorer:
    """Fewest waiting requests."""

    of_state: ClassVar[bool] = True

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """Waiting requests, spread over the candidates' range."""
        return lower_is_better(context.queued[rows])


@dataclass(frozen=True, slots=True)
class RunningRequestsScorer:
    """Fewest running requests."""

    of_state: ClassVar[bool] = True

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """Running requests, spread over the candidates' range."""
        return lower_is_better(context.running[rows])


@dataclass(frozen=True, slots=True)
class KvCacheUtilizationScorer:
    """Most free KV cache."""

    of_state: ClassVar[bool] = True

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """``1 - kv``; in a blind decision the tokens in flight, spread over the candidates' range."""
        if context.blind:
            return lower_is_better(context.snapshot.in_flight_tokens[rows])
        free: FloatArray = 1.0 - context.snapshot.columns.gauges.kv_utilization[rows]
        return free


@dataclass(frozen=True, slots=True)
class LoadAwareScorer:
    """Short queues, never above 0.5, so that affinity scorers beside it dominate."""

    of_state: ClassVar[bool] = True

    threshold: float = 128.0

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """``0.5 · (1 - min(waiting, threshold) / threshold)``."""
        waiting = np.minimum(context.queued[rows], self.threshold)
        score: FloatArray = 0.5 * (1.0 - waiting / self.threshold)
        return score


@dataclass(frozen=True, slots=True)
class ActiveRequestScorer:
    """Fewest in-flight requests, counted when they are dispatched.

    Up to `idle_threshold` requests an endpoint is idle and scores 1; the others share `max_busy_score`.
    """

    idle_threshold: float = 0.0
    max_busy_score: float = 1.0

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 when idle, else ``(max - n) / max · max_busy_score``."""
        active = context.snapshot.in_flight_requests[rows]
        most = np.maximum.reduce(active)
        if most <= self.idle_threshold:
            return np.ones(len(rows))
        return np.where(active <= self.idle_threshold, 1.0, (most - active) / most * self.max_busy_score)
