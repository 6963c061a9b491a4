"""A scorer for pools of unequal endpoints: how soon the request would be done, and what that costs."""

import math

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.by_endpoints import ByEndpoints, numbers_of
from picker.scheduling.plugin import SchedulingContext

SPEED_LABEL = "infscale.dev/speed"
COST_LABEL = "infscale.dev/cost"


class SpeedAndCostScorer:
    """``(1 - w) · least time ÷ time + w · least price ÷ price``, with w = `cost_weight`.

    The label `speed_label` says how fast an endpoint is (tokens per second, or any unit that all share), `cost_label`
    what it costs per unit of time. Time is the work ahead of the request and its own (in-flight, uncached prompt and
    expected output tokens) ÷ speed; price is cost ÷ speed, what a token costs there. An endpoint without a label has
    the mean of the candidates that have it, so that it neither attracts nor repels; with no label at all time is work
    and price is no matter.
    """

    def __init__(self, cost_weight: float = 0.3, speed_label: str = SPEED_LABEL, cost_label: str = COST_LABEL) -> None:
        self.cost_weight = cost_weight

        def read(endpoints: tuple[Endpoint, ...]) -> tuple[FloatArray, FloatArray]:
            return _column(endpoints, speed_label), _column(endpoints, cost_label)

        # Speed and cost of each endpoint, NaN where its labels do not say them.
        self._rates = ByEndpoints(read)

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 for a candidate that is both the soonest done and the cheapest."""
        speeds, costs = self._rates.of(context.snapshot)
        speed, cost = _filled(speeds[rows]), _filled(costs[rows])
        work = context.snapshot.in_flight_tokens[rows] + context.uncached_tokens(rows) + context.request.output_tokens
        time = np.maximum(1.0, work) / speed
        price = cost / speed
        weight = self.cost_weight
        soon, cheap = np.minimum.reduce(time) / time, np.minimum.reduce(price) / price
        score: FloatArray = (1.0 - weight) * soon + weight * cheap
        return score


def _column(endpoints: tuple[Endpoint, ...], label: str) -> FloatArray:
    values = numbers_of(endpoints, label)
    return np.where(values > 0, values, math.nan)


def _filled(values: FloatArray) -> FloatArray:
    """Unknown values replaced by the mean of the known, 1 where none is."""
    unknown = np.isnan(values)
    if not unknown.any():
        return values
    known = values[~unknown]
    return np.where(unknown, known.mean() if known.size else 1.0, values)
