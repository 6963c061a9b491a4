"""What happened on one endpoint over a window."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from infscale.frozen_values import entity
from infscale.metrics.sample import CounterName, Histogram, HistogramName, Statistic

FULL_COVERAGE: Final = 0.9
"""Share of a window that observations must span for silence to mean that nothing happened."""


class ModelWindow(NamedTuple):
    """What answers ask of one model over a window, worked out once, when it is observed.

    `leaving` are the requests per second that leave its queue, `waiting_since` the second at which the queue last
    became non-empty (+inf: it is empty), `statistics` (seconds) those of latencies of which something was observed.
    `prefill_seconds_per_token` is what the engine took for each prompt token that was not cached. NaN: unknown.
    """

    leaving: float = math.nan
    waiting_since: float = math.inf
    statistics: Mapping[tuple[HistogramName, Statistic], float] = MappingProxyType({})
    prefill_seconds_per_token: float = math.nan


@entity
class WindowSummary:
    """What happened on one endpoint over the window that ends at `at`, the monotonic second of an observation.

    `covered_seconds` is how much time the observations span: at most the window, or up to a sample before it where
    scrapes are far apart. Histograms hold increases over that span,
    restarts of the engine taken out; `rates` are per second. Averages and maxima are of what the engine reported
    (requests). Histograms and `models` have under None what is true of all models together.
    """

    at: float
    covered_seconds: float
    histograms: Mapping[tuple[HistogramName, str | None], Histogram]
    rates: Mapping[tuple[CounterName, str], float]
    models: Mapping[str | None, ModelWindow]
    waiting_average: float | None = None
    waiting_maximum: float | None = None
    running_average: float | None = None
