"""Filters: stages that drop candidates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import BoolArray, IntArray, PoolSnapshot
from picker.scheduling.by_endpoints import ByEndpoints
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.subset import named_rows

ROLE_LABEL = "llm-d.ai/role"
TEST_SELECTION_HEADER = "test-epp-endpoint-selection"

Role = Literal["decode", "prefill", "encode"]
_ROLE_VALUES: Mapping[Role, frozenset[str]] = {
    "decode": frozenset({"decode", "prefill-decode", "encode-prefill-decode", "both"}),
    "prefill": frozenset({"prefill", "prefill-decode", "encode-prefill", "encode-prefill-decode"}),
    "encode": frozenset({"encode", "encode-prefill", "encode-prefill-decode"}),
}

UtilizationMetric = Literal["active-requests", "running-requests", "waiting-queue", "kv-cache-utilization"]
UTILIZATION_METRICS: Mapping[UtilizationMetric, Callable[[PoolSnapshot], FloatArray]] = {
    "active-requests": lambda snapshot: snapshot.in_flight_requests,
    "running-requests": lambda snapshot: snapshot.columns.gauges.running,
    "waiting-queue": lambda snapshot: snapshot.columns.gauges.waiting,
    "kv-cache-utilization": lambda snapshot: snapshot.columns.gauges.kv_utilization,
}


@dataclass(frozen=True, slots=True)
class ReadyFilter:
    """Keeps endpoints that are ready: neither starting nor draining."""

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The ready rows."""
        return rows[context.snapshot.columns.ready[rows]]


@dataclass(frozen=True, slots=True)
class FreshMetricsFilter:
    """Keeps endpoints observed within `max_age_seconds`; None: within the pool's staleness limit."""

    max_age_seconds: float | None = None

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows whose last observation is young enough."""
        if self.max_age_seconds is None:
            return rows[context.snapshot.fresh(context.now)[rows]]
        return rows[context.now - context.snapshot.columns.observed_at[rows] <= self.max_age_seconds]


class LabelFilter:
    """Keeps endpoints whose labels are accepted, such as by a label selector."""

    def __init__(self, accepts: Callable[[Mapping[str, str]], bool]) -> None:
        self._accepted: ByEndpoints[BoolArray] = ByEndpoints(
            lambda endpoints: np.array([accepts(each.labels) for each in endpoints], dtype=np.bool_)
        )

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows whose labels are accepted."""
        return rows[self._accepted.of(context.snapshot)[rows]]


class LabelValueFilter(LabelFilter):
    """Keeps endpoints whose label has one of some values; those without it where `allows_no_label`.

    The reference's deprecated ``by-label``, in which an absent label also equals the empty value. A
    label selector says the same and more.
    """

    def __init__(self, label: str, values: frozenset[str], allows_no_label: bool) -> None:
        super().__init__(lambda labels: labels.get(label, "") in values or (allows_no_label and label not in labels))


class RoleFilter(LabelFilter):
    """Keeps endpoints that play a role in disaggregated serving, by the label ``llm-d.ai/role``.

    An endpoint without the label decodes, and does nothing else.
    """

    def __init__(self, role: Role) -> None:
        values = _ROLE_VALUES[role]
        unlabelled = role == "decode"

        def plays(labels: Mapping[str, str]) -> bool:
            value = labels.get(ROLE_LABEL, "")
            return value in values if value else unlabelled

        super().__init__(plays)


@dataclass(frozen=True, slots=True)
class UtilizationLimit:
    """The highest value of `metric` a candidate may have."""

    metric: UtilizationMetric
    max_value: float


@dataclass(frozen=True, slots=True)
class UtilizationFilter:
    """Drops endpoints known to be over a limit; an unknown value is over none.

    With `fallback_on_empty`, all candidates stay when every one is over a limit.
    """

    limits: tuple[UtilizationLimit, ...]
    fallback_on_empty: bool = False

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows within every limit."""
        over = np.zeros(len(rows), dtype=np.bool_)
        for limit in self.limits:
            over |= UTILIZATION_METRICS[limit.metric](context.snapshot)[rows] > limit.max_value
        kept = rows[~over]
        return rows if self.fallback_on_empty and not len(kept) else kept


@dataclass(frozen=True, slots=True)
class SaturationFilter:
    """Drops saturated endpoints; with `or_all`, all stay when every one is saturated: that is admission's to judge.

    Saturated is what the pool's settings say (`PoolSnapshot.saturation`), the same for picker and adapter. `headroom`
    widens the limit for scheduling: 0.2 keeps endpoints below 120 %.
    """

    headroom: float = 0.0
    or_all: bool = True

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows whose saturation is known and below the limit, or all."""
        kept = self.unsaturated(context, rows)
        return kept if len(kept) or not self.or_all else rows

    def unsaturated(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows whose saturation is known and below the limit."""
        return rows[context.snapshot.saturation(context.now)[rows] < 1.0 + self.headroom]


@dataclass(frozen=True, slots=True)
class HeaderTestingFilter:
    """Keeps the endpoints a test names in a request header (``ip`` or ``ip:port``, comma-separated).

    For conformance tests: a client that may set the header chooses the endpoint. Without the header everything stays.
    """

    header: str = TEST_SELECTION_HEADER

    @property
    def reads_headers(self) -> tuple[str, ...]:
        """The one that names endpoints."""
        return (self.header,)

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The named rows."""
        value = context.request.headers.get(self.header)
        if not value:
            return rows
        named = named_rows(context.snapshot, (value,))
        return rows[np.isin(rows, named)]
