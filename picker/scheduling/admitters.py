"""Admitters: whether a request is scheduled at all, judged on the candidates it has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.prediction import Objectives, predict
from picker.scheduling.stages import Admitter

_COLD_BELOW = 0.02
"""Share of the KV cache in use below which an endpoint has served too little to be judged by."""


@dataclass(frozen=True, slots=True)
class ProbabilisticAdmitter:
    """Sheds sheddable requests (priority below 0) ever more often as the candidates fill up.

    The probability is ``min(1, saturation^power · k)``: nothing at an idle pool, everything from
    ``(1 / k)^(1 / power)`` on (0.32 with the defaults), long before the pool is full. Saturation is the candidates'
    mean; an unknown one counts as full, since what may wait in doubt waits, but in a blind decision, where none is
    known, as none. Where thresholds are given it is
    ``max(waiting / queue_depth_threshold, kv / kv_utilization_threshold)``, else what the pool's own settings say.
    """

    queue_depth_threshold: float | None = None
    kv_utilization_threshold: float | None = None
    power: float = 5.0
    k: float = 300.0

    def admits(self, context: SchedulingContext, rows: IntArray) -> bool:
        """True for whatever is not sheddable; else by chance."""
        if context.request.priority >= 0:
            return True
        saturation = self._saturation(context, rows)
        # In logarithms, since the power of a large ratio may exceed every float.
        exponent = self.power * math.log(saturation) + math.log(self.k) if saturation > 0 else -math.inf
        return context.rng.random() >= math.exp(min(0.0, exponent))

    def _saturation(self, context: SchedulingContext, rows: IntArray) -> float:
        snapshot = context.snapshot
        if self.queue_depth_threshold is None and self.kv_utilization_threshold is None:
            ratios = snapshot.saturation(context.now)[rows]
        else:
            own = snapshot.state.settings.saturation
            queue = snapshot.columns.gauges.waiting[rows] / (self.queue_depth_threshold or own.queue_depth_threshold)
            kv = snapshot.columns.gauges.kv_utilization[rows] / (
                self.kv_utilization_threshold or own.kv_utilization_threshold
            )
            ratios = np.fmax(queue, kv)
        return float(np.mean(np.where(np.isnan(ratios), 0.0 if context.blind else 1.0, ratios)))


@dataclass(frozen=True, slots=True)
class LatencyObjectiveAdmitter:
    """Sheds sheddable requests (priority below 0) whose objectives no candidate is predicted to meet.

    A request that states no objective is admitted, and so is every request while a candidate is idle (it runs nothing)
    or cold (it has hardly used its KV cache), or nothing is predicted of any.
    """

    def admits(self, context: SchedulingContext, rows: IntArray) -> bool:
        """True for whatever is not sheddable."""
        objectives = Objectives.of(context.request.headers)
        if context.request.priority >= 0 or not (objectives.ttft or objectives.tpot):
            return True
        prediction = predict(context, rows)
        if prediction is None or not prediction.known.any():
            return True
        columns = context.snapshot.columns
        idle_or_cold = (columns.gauges.running[rows] == 0) | (columns.gauges.kv_utilization[rows] < _COLD_BELOW)
        return bool((prediction.meets | idle_or_cold).any())


def admitted(admitters: Sequence[Admitter], context: SchedulingContext, rows: IntArray) -> bool:
    """Whether all of `admitters` let the request go on to scheduling.

    Those of other packages may answer with a numpy truth, which a compiled caller does not take for a bool.
    """
    return all(bool(each.admits(context, rows)) for each in admitters)
