"""Parts of pools, and how several become one value.

Within a pool the core's contract about unknown values decides (`infscale.metrics.published.answers`); here it is
carried over several pools: an answer that would lack one of its pools is unknown, because a smaller sum scales down.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from infscale.endpoint import Endpoint, Phase
from infscale.metrics.published.answers import group_reading, weight, whole
from infscale.metrics.published.catalogue import Aggregation, Formula, PublishedMetric
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import Reading
from infscale.metrics.snapshot import BoolArray, PoolSnapshot, count_of
from infscale.quantity import MAX_QUANTITY


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of one pool that belong to an answer; None: the whole pool."""

    snapshot: PoolSnapshot
    rows: BoolArray | None = None

    @property
    def ready(self) -> int:
        """Ready endpoints in it."""
        ready = self.snapshot.columns.ready
        return count_of(ready if self.rows is None else ready & self.rows)

    @property
    def endpoints(self) -> Iterable[Endpoint]:
        """Its endpoints, ready or not."""
        every = self.snapshot.endpoints
        return every if self.rows is None else (every[row] for row in np.flatnonzero(self.rows).tolist())


def distinct(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts without rows of endpoints that an earlier part has, and without parts that have no rows."""
    kept: list[Part] = []
    for part in parts:
        if kept and (part.rows is None or part.rows.any()):
            seen = {endpoint.key for earlier in kept for endpoint in earlier.endpoints}
            new = np.array([endpoint.key not in seen for endpoint in part.snapshot.endpoints], dtype=np.bool_)
            part = Part(part.snapshot, _whole_or_rows(new if part.rows is None else new & part.rows))
        if part.rows is None or part.rows.any():
            kept.append(part)
    return tuple(kept)


def part_of(snapshot: PoolSnapshot, rows: BoolArray) -> Part:
    """The part that `rows` make; all rows are the whole pool."""
    return Part(snapshot, _whole_or_rows(rows))


def _whole_or_rows(rows: BoolArray) -> BoolArray | None:
    return None if rows.size and rows.all() else rows


def combined(metric: PublishedMetric, parts: Sequence[Part], now: float, model: str | None) -> Reading | Unknown:
    """One value of several parts: the sum, the mean, the highest quantile, or a formula of such values.

    Quantiles of different pools cannot be merged exactly; the highest is an upper bound of all of them. Parts
    without a ready endpoint add nothing; any other part without a value makes the whole unknown.
    """
    if isinstance(metric.reader, Formula) and metric.aggregation is Aggregation.WHOLE:
        of_operands = [combined(operand, parts, now, model) for operand in metric.reader.operands]
        value = whole(metric, of_operands, now)
        return value if isinstance(value, Unknown) else finite(value)
    parts = [part for part in parts if metric.source.of_requests or metric.of_pool or part.ready]
    if not parts:
        return Unknown("none of its endpoints is ready")
    readings: list[Reading] = []
    for part in parts:
        reading = group_reading(metric, part.snapshot, now, model, part.rows)
        if isinstance(reading, Unknown):
            return reading
        readings.append(reading)
    if len(readings) == 1:
        return finite(readings[0])
    values = [reading.value for reading in readings]
    at, window = min(reading.at for reading in readings), window_seconds(readings)
    match metric.aggregation:
        case Aggregation.SUM:
            return finite(Reading(math.fsum(values), at, window))
        case Aggregation.MEAN:
            weights = [weight(metric, part.snapshot, part.rows) for part in parts]
            total = math.fsum(value * weight for value, weight in zip(values, weights, strict=True))
            return finite(Reading(total / sum(weights), at, window))
        case _:
            return finite(Reading(max(values), at, window))


def why_no_pod(metric: PublishedMetric, parts: Iterable[Part], now: float, model: str | None) -> Unknown:
    """Why none of the pods in `parts` has a value of its own."""
    phases: dict[Phase, int] = {}
    for part in parts:
        if part.ready:
            reading = group_reading(metric, part.snapshot, now, model, part.rows)
            return reading if isinstance(reading, Unknown) else Unknown("no pod has a fresh value of all its ranks")
        for endpoint in part.endpoints:
            phases[endpoint.phase] = phases.get(endpoint.phase, 0) + 1
    counts = ", ".join(f"{count} {phase.value}" for phase, count in phases.items())
    return Unknown(f"none of the matching pods is ready ({counts})")


def finite(reading: Reading) -> Reading | Unknown:
    """The reading, or `Unknown` where no quantity has its value: NaN, infinities, and what is close to them."""
    return reading if abs(reading.value) <= MAX_QUANTITY else Unknown("its value is no finite number")


def revision(snapshots: Iterable[PoolSnapshot]) -> str:
    """The revision of the newest of the snapshots an answer was read from; they were all taken at one moment."""
    newest = max(snapshots, key=lambda snapshot: snapshot.number, default=None)
    return "" if newest is None else newest.revision


def window_seconds(readings: Iterable[Reading]) -> float | None:
    """How far back the observations behind these values reach; None for values of one moment."""
    return max((each.window_seconds for each in readings if each.window_seconds is not None), default=None)
