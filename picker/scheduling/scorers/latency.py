"""The scorer of predicted latencies and what they leave of a request's objectives."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import BoolArray, IntArray, PoolSnapshot
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.prediction import Prediction, predict
from picker.scheduling.scorers.load import KvCacheUtilizationScorer

Strategy = Literal["least", "most"]
STRATEGIES: tuple[Strategy, ...] = ("least", "most")

_KV_CACHE = KvCacheUtilizationScorer()
_STEPS = 100
_NO_SPREAD = 1e-9


@dataclass(frozen=True, slots=True)
class LatencyScorer:
    """Rates candidates by the headroom that predicted latencies leave.

    Where objectives will be met, `strategy` "least" fills up the endpoints that just meet them and keeps the others
    free, "most" takes the one that is furthest from missing them. Where none will meet them, the least miss is best:
    among candidates that are idle, if there are any, else those that miss only the time per output token, then only the
    one to the first token, then both; the others get 0. Headrooms are spread over their range and added by
    `ttft_weight` and `tpot_weight`; one that is the same everywhere does not count.

    Without any prediction the score is free KV cache, short queue and cached prefix, by their weights.
    """

    ttft_weight: float = 0.8
    tpot_weight: float = 0.2
    strategy: Strategy = "least"
    kv_weight: float = 1.0
    queue_weight: float = 1.0
    prefix_weight: float = 1.0

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """In steps of a hundredth, as the reference has them."""
        prediction = predict(context, rows)
        if prediction is None or not prediction.known.any():
            return self._without(context, rows)
        met = prediction.meets
        if met.any():
            scores = self._spread(prediction, met, self.strategy)
        else:
            among = _least_bad(prediction, _idle(context.snapshot, rows))
            scores = self._spread(prediction, among, "least")
        return np.where(prediction.known, scores, np.nan)

    def _spread(self, prediction: Prediction, among: BoolArray, strategy: Strategy) -> FloatArray:
        """Scores of the candidates in `among`, 0 for the others."""
        ttft, ttft_spreads = _spread(prediction.ttft_headroom, among)
        tpot, tpot_spreads = _spread(prediction.tpot_headroom, among)
        total = self.ttft_weight + self.tpot_weight
        weight = self.ttft_weight / total if total else 1.0
        if ttft_spreads != tpot_spreads:
            weight = float(ttft_spreads)
        combined = weight * ttft + (1.0 - weight) * tpot
        if strategy == "least":
            combined = 1.0 - combined
        steps = np.floor(combined * _STEPS) + 1.0
        return np.where(among, steps / _STEPS, 0.0)

    def _without(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """By what is there without predictions; NaN where an endpoint does not report it."""
        weights = np.array((self.kv_weight, self.queue_weight, self.prefix_weight))
        weights = weights / weights.sum() if weights.sum() else np.array((1.0, 0.0, 0.0))
        waiting = context.queued[rows]
        longest = np.fmax.reduce(waiting)
        short = (longest - waiting) / longest if longest > 0 else np.where(np.isnan(waiting), waiting, 1.0)
        parts = np.array((_KV_CACHE.score(context, rows), short, context.prefix.ratios(rows)))
        used = weights > 0
        composite: FloatArray = weights[used] @ parts[used]
        return np.floor(_STEPS * composite + 0.5) / _STEPS


def _idle(snapshot: PoolSnapshot, rows: IntArray) -> BoolArray:
    """Which rows have nothing to do, of this picker's requests and of all others."""
    columns = snapshot.columns
    reported: BoolArray = (columns.gauges.running[rows] == 0) & (columns.gauges.waiting[rows] == 0)
    idle: BoolArray = reported & (snapshot.in_flight_requests[rows] == 0)
    return idle


def _least_bad(prediction: Prediction, idle: BoolArray) -> BoolArray:
    """Of candidates none of which will meet the objectives, those that are compared."""
    known = prediction.known
    groups = [idle & known]
    if prediction.stated:
        late_first, late_rest = prediction.ttft_headroom < 0, prediction.tpot_headroom < 0
        groups += (late_rest & ~late_first & known, late_first & ~late_rest & known)
    return next((group for group in groups if group.any()), known)


def _spread(headroom: FloatArray, among: BoolArray) -> tuple[FloatArray, bool]:
    """Magnitudes as shares of their range among some, and whether they differ at all; 0.5 where they do not."""
    size = np.abs(headroom)
    low, high = size[among].min(), size[among].max()
    if high - low <= _NO_SPREAD:
        return np.full(len(size), 0.5), False
    return (size - low) / (high - low), True
