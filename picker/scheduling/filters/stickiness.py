"""Sticky until saturated: a prompt stays where its prefix is cached until waiting costs more than computing it."""

from dataclasses import dataclass

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.prediction import USUAL_PREFILL_THROUGHPUT, predict


@dataclass(frozen=True, slots=True)
class PrefixCacheAffinityFilter:
    """Keeps the endpoints that hold at least `affinity_threshold` of the prompt, if waiting there is worth it.

    The time to first token is estimated as in-flight tokens ÷ `peak_prefill_throughput` (tokens per second). These are
    the picker's own count, so that nothing of it is ever unknown; they include the expected output, which lengthens the
    estimate on both sides. Where the throughput is None, the time is predicted from what endpoints report instead, and
    one of which nothing is known is not compared. Where the best of the sticky endpoints is behind the best of the
    others by more than `max_ttft_penalty_seconds`, all stay; 0 always sticks. All stay too where no endpoint is sticky,
    and with `exploration_probability` at random.
    """

    affinity_threshold: float = 0.8
    exploration_probability: float = 0.0
    max_ttft_penalty_seconds: float = 18.0
    peak_prefill_throughput: float | None = USUAL_PREFILL_THROUGHPUT

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The sticky rows, or all."""
        if len(rows) < 2 or self.affinity_threshold <= 0:
            return rows
        if self.exploration_probability and context.rng.random() < self.exploration_probability:
            return rows
        sticky = context.prefix.ratios(rows) >= self.affinity_threshold
        kept = rows[sticky]
        if not len(kept) or len(kept) == len(rows):
            return rows
        if self.max_ttft_penalty_seconds:
            seconds = self._first_token(context, rows)
            ahead = np.fmin.reduce(seconds[sticky]) - np.fmin.reduce(seconds[~sticky])
            if ahead > self.max_ttft_penalty_seconds:
                return rows
        return kept

    def _first_token(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        if self.peak_prefill_throughput is not None:
            return context.snapshot.in_flight_tokens[rows] / self.peak_prefill_throughput
        prediction = predict(context, rows)
        return np.zeros(len(rows)) if prediction is None else prediction.ttft


@dataclass(frozen=True, slots=True)
class HeadroomTierFilter:
    """Keeps the endpoints that are predicted to meet the request's objectives, if there are any.

    With probability `explore_missing` it keeps the others instead, so that an endpoint whose past looks bad can show
    that it is better. One of which nothing is predicted cannot be said to meet them. All stay where nothing is
    predicted of any, and where all or none meet them.
    """

    explore_missing: float = 0.01

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows of one tier."""
        if len(rows) < 2:
            return rows
        prediction = predict(context, rows)
        if prediction is None:
            return rows
        met = prediction.meets
        if not met.any() or met.all():
            return rows
        explores = context.rng.random() < self.explore_missing
        return rows[~met] if explores else rows[met]
