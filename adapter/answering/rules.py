"""Which parts of which pools make an answer, and how the parts become one value.

Within a pool the core's contract about unknown values decides (`infscale.metrics.published.answers`); here it is
carried over several pools: an answer that would lack one of its pools is unknown, because a smaller sum scales down.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapter.errors import BadRequest
from infscale.endpoint import EndpointKey
from infscale.labels import Selector, model_key
from infscale.metrics.published.answers import group_reading, models, serving, weight, whole
from infscale.metrics.published.catalogue import Aggregation, Formula, PublishedMetric, Source
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import Reading
from infscale.metrics.snapshot import BoolArray, PoolSnapshot, count_of
from infscale.quantity import MAX_QUANTITY

POOL, MODEL, MODEL_KEY = "pool", "model", "model_key"
"""Labels of every metric; the last two only where it is split by model."""


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


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The pools a metric selector leaves, and the one model it picks (None: all of them)."""

    snapshots: tuple[PoolSnapshot, ...]
    model: str | None


def labels_of(snapshot: PoolSnapshot, model: str | None) -> dict[str, str]:
    """The labels a value has; the model's name as it is, and its key for selectors."""
    labels = {POOL: snapshot.pool.name}
    if model is not None:
        labels |= {MODEL: model, MODEL_KEY: model_key(model)}
    return labels


def label_sets(metric: PublishedMetric, snapshot: PoolSnapshot) -> tuple[str | None, ...]:
    """The models `metric` is split by in this pool, those that are only in flight included."""
    found = models(metric, snapshot)
    if not metric.by_requested_model:
        return found
    # What is in flight for no model that an endpoint serves is booked under "".
    named = dict.fromkeys((*found, *filter(None, snapshot.in_flight_models)))
    if len(named) > 1:
        named.pop(None, None)
    return tuple(named)


def choose(metric: PublishedMetric, snapshots: Iterable[PoolSnapshot], selector: Selector) -> Choice:
    """What a metric selector picks for values that cannot show labels; no snapshots when it matches nothing.

    Raises `BadRequest` when it picks several models: their values have no common meaning for every metric.
    """
    if not any(requirement.key in {MODEL, MODEL_KEY} for requirement in selector.requirements):
        kept = (snapshot for snapshot in snapshots if selector.matches(labels_of(snapshot, None)))
        return Choice(tuple(kept), None)
    pairs = [
        (snapshot, model)
        for snapshot in snapshots
        for model in label_sets(metric, snapshot)
        if model is not None and selector.matches(labels_of(snapshot, model))
    ]
    named = {model for _, model in pairs}
    if len(named) > 1:
        raise BadRequest(f"metricLabelSelector picks {len(named)} models, an object's value is of one or of all")
    return Choice(tuple(snapshot for snapshot, _ in pairs), named.pop() if named else None)


def pools_selected(snapshots: Iterable[PoolSnapshot], selector: Selector) -> tuple[PoolSnapshot, ...]:
    """The pools that fulfil what `selector` says about the pool, whatever it says about models."""
    conditions = [requirement for requirement in selector.requirements if requirement.key == POOL]
    return tuple(
        snapshot
        for snapshot in snapshots
        if all(condition.matches({POOL: snapshot.pool.name}) for condition in conditions)
    )


def blind(snapshots: Iterable[PoolSnapshot]) -> Unknown | None:
    """Why the models of these pools are not all known: an endpoint was never read, or none is ready."""
    for snapshot in snapshots:
        ready = snapshot.columns.ready
        unread = count_of(ready & np.isneginf(snapshot.columns.observed_at))
        if unread:
            return Unknown(f"{unread} of {count_of(ready)} ready endpoints of {snapshot.pool} were never read")
        if not ready.any():
            return Unknown(f"{snapshot.pool} has no ready endpoint")
    return None


def unsettled(metric: PublishedMetric, snapshots: Iterable[PoolSnapshot]) -> Unknown | None:
    """Whether an engine metric is asked of a pool before all its ready endpoints were scraped or failed once."""
    if metric.source is not Source.ENGINE:
        return None
    for snapshot in snapshots:
        ready = snapshot.columns.ready
        waiting = count_of(ready & ~snapshot.columns.settled)
        if waiting:
            return Unknown(f"{waiting} of {count_of(ready)} ready endpoints of {snapshot.pool} were not scraped yet")
    return None


def serves(metric: PublishedMetric, snapshot: PoolSnapshot, model: str | None) -> bool:
    """Whether a ready endpoint stands behind this label set, so that its value matters to a sum."""
    if metric.source is Source.PICKER:
        return True
    columns = snapshot.columns
    if not metric.per_model or model is None:
        return bool(columns.ready.any())
    return bool((columns.ready & serving(snapshot, model)).any())


def distinct(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts without rows of endpoints that an earlier part has, and without parts that have no rows."""
    kept: list[Part] = []
    for part in parts:
        if kept and (part.rows is None or part.rows.any()):
            seen: set[EndpointKey] = set()
            for earlier in kept:
                seen.update(_keys(earlier))
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


def _keys(part: Part) -> Iterable[EndpointKey]:
    rows = range(len(part.snapshot)) if part.rows is None else np.flatnonzero(part.rows).tolist()
    return (part.snapshot.endpoints[row].key for row in rows)


def combined(metric: PublishedMetric, parts: Sequence[Part], now: float, model: str | None) -> Reading | Unknown:
    """One value of several parts: the sum, the mean, the highest quantile, or a formula of such values.

    Quantiles of different pools cannot be merged exactly; the highest is an upper bound of all of them. Parts
    without a ready endpoint add nothing; any other part without a value makes the whole unknown.
    """
    if isinstance(metric.reader, Formula) and metric.aggregation is Aggregation.WHOLE:
        of_operands = [combined(operand, parts, now, model) for operand in metric.reader.operands]
        value = whole(metric, of_operands, now)
        return value if isinstance(value, Unknown) else finite(value)
    parts = [part for part in parts if metric.source is Source.PICKER or part.ready]
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


def finite(reading: Reading) -> Reading | Unknown:
    """The reading, or `Unknown` where its value cannot be written as a quantity."""
    return reading if expressible(reading) else Unknown("its value is no finite number")


def expressible(reading: Reading) -> bool:
    """Whether the value can be written as a quantity; NaN and infinities cannot."""
    return abs(reading.value) <= MAX_QUANTITY


def revision(snapshots: Iterable[PoolSnapshot]) -> str:
    """The revision of the newest of the snapshots an answer was read from; they were all taken at one moment."""
    newest = max(snapshots, key=lambda snapshot: snapshot.number, default=None)
    return "" if newest is None else newest.revision


def window_seconds(readings: Iterable[Reading]) -> float | None:
    """How far back the observations behind these values reach; None for values of one moment."""
    return max((each.window_seconds for each in readings if each.window_seconds is not None), default=None)


def shown(labels: Mapping[str, str]) -> str:
    """Labels on one line of a message."""
    return ", ".join(f"{name}={value}" for name, value in labels.items() if name != MODEL_KEY)
