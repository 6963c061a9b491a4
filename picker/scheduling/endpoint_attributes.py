"""Filter and scorer by any number known of endpoints.

That is a published metric by its name, a label that is a number, or what a configuration has engines' pages read for.
"""

import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from infscale.memo import MemoKey
from infscale.metrics.published.answers import observed_at
from infscale.metrics.published.catalogue import PUBLISHED, PublishedMetric
from infscale.metrics.published.column_readers import ColumnReader, EngineGauge, InFlight, Load, PodGauge, Saturation
from infscale.metrics.published.gpu_readers import GpuReader
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.by_endpoints import ByEndpoints, numbers_of
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.scorers.load import lower_is_better

LABEL_PREFIX = "label:"

# What the reference picker's extractors call them, with the same units.
ALIASES: Mapping[str, str] = {
    "GPUUtilization": "gpu_utilization_ratio",
    "WaitingQueueSize": "waiting_requests",
    "RunningRequestsSize": "running_requests",
    "KVCacheUsagePercent": "kv_cache_utilization_ratio",
}


Attribute = Callable[[SchedulingContext, IntArray], FloatArray]
"""A number per endpoint: the value of each row, NaN where it is unknown or stale."""


def _published(metric: PublishedMetric, reader: ColumnReader) -> Attribute:
    """A published metric that is one column, where it is fresh."""

    def values(context: SchedulingContext, rows: IntArray) -> FloatArray:
        _, fresh = observed_at(metric, context.snapshot, context.now)
        return np.where(fresh[rows], reader.read(context.snapshot, context.now, None)[rows], math.nan)

    return values


# Histograms are merged for groups and windows are read object by object: a pick has no time for them.
COLUMNS: Mapping[str, Attribute] = {
    metric.name: _published(metric, metric.reader)
    for metric in PUBLISHED
    if isinstance(metric.reader, EngineGauge | PodGauge | Load | InFlight | Saturation | GpuReader)
}


def _on_pages(name: str) -> Attribute:
    """A number that a configuration has engines' pages read for, where it is fresh."""
    key = MemoKey[FloatArray]("numbers of pages")

    def values(context: SchedulingContext, rows: IntArray) -> FloatArray:
        state = context.snapshot.state
        column = state.derived.get(key)
        if column is None:
            found = [each.get(name, math.nan) for each in state.columns.attributes]
            column = state.derived.keep(key, np.array(found, dtype=np.float64))
        return np.where(context.snapshot.fresh(context.now)[rows], column[rows], math.nan)

    return values


def _labelled(key: str) -> Attribute:
    """A label whose value is a number."""
    numbers = ByEndpoints(partial(numbers_of, label=key))

    def values(context: SchedulingContext, rows: IntArray) -> FloatArray:
        found: FloatArray = numbers.of(context.snapshot)[rows]
        return found

    return values


def attribute(name: str, on_pages: Collection[str] = ()) -> Attribute | None:
    """The attribute of that name; None: no such.

    One of those `on_pages`, a column, a column by its name in the reference picker, or ``label:<key>``.
    """
    if name in on_pages:
        return _on_pages(name)
    if name.startswith(LABEL_PREFIX):
        key = name.removeprefix(LABEL_PREFIX)
        return _labelled(key) if key else None
    return COLUMNS.get(ALIASES.get(name, name))


Operator = Literal["LessThan", "LessThanOrEqual", "GreaterThan", "GreaterThanOrEqual", "Equal", "NotEqual"]
OPERATORS: Mapping[Operator, Callable[[Any, Any], Any]] = {
    "LessThan": operator.lt,
    "LessThanOrEqual": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqual": operator.ge,
    "Equal": operator.eq,
    "NotEqual": operator.ne,
}


@dataclass(frozen=True, slots=True)
class EndpointAttributeFilter:
    """Keeps endpoints whose attribute compares true with `threshold`; unknown ones where `pass_on_missing`.

    With `fallback_on_empty`, all candidates stay when every one would go.
    """

    attribute: Attribute
    operator: Operator
    threshold: float
    pass_on_missing: bool = True
    fallback_on_empty: bool = False

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows that pass."""
        values = self.attribute(context, rows)
        passing = np.where(np.isnan(values), self.pass_on_missing, OPERATORS[self.operator](values, self.threshold))
        kept = rows[passing]
        return rows if self.fallback_on_empty and not len(kept) else kept


@dataclass(frozen=True, slots=True)
class EndpointAttributeScorer:
    """An attribute on a line from worst to best.

    `fixed_range` None spreads it over the candidates' own range, all 1 where they are equal. An endpoint whose value is
    unknown is neutral, where the reference picker makes it the worst.
    """

    attribute: Attribute
    lower_is_better: bool
    fixed_range: tuple[float, float] | None = None

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """Position in the range, 1 the better end."""
        values = self.attribute(context, rows)
        if self.fixed_range is None:
            return lower_is_better(values if self.lower_is_better else -values)
        low, high = self.fixed_range
        share = np.clip((values - low) / (high - low), 0.0, 1.0)
        return 1.0 - share if self.lower_is_better else share
