"""How published metrics are read from a snapshot: the contract about unknown values.

For single pods an unknown value is left out. For a group (a pool, a model, the pods of a Service) a ready member
without a fresh value counts as the highest fresh one, so that a lost scrape never scales down; below half coverage,
before every ready member was scraped or failed once, and with no ready member at all, the value is `Unknown`.
"""

import math
from dataclasses import dataclass

import numpy as np

from infscale.endpoint import ObjectKey
from infscale.metrics.columns import Load
from infscale.metrics.published import Aggregation, PublishedMetric, Source
from infscale.metrics.sample import FloatArray, Reading
from infscale.metrics.snapshot import BoolArray, PoolSnapshot
from infscale.metrics.windowed import HistogramReader, QueueLatency, Unknown

GPU_STALENESS_SECONDS = 90.0
"""GPU exporters collect every 30 s by default: a GPU value is fresh for three of their intervals."""


@dataclass(frozen=True, slots=True)
class PodReading:
    """One pod's value, its data-parallel ranks aggregated."""

    pod: ObjectKey
    reading: Reading


def observed_at(metric: PublishedMetric, snapshot: PoolSnapshot, now: float) -> tuple[FloatArray, BoolArray]:
    """When each endpoint's value was observed, and whether that is recent enough to use."""
    if metric.source is Source.PICKER:
        return np.full(len(snapshot), now), np.ones(len(snapshot), dtype=np.bool_)
    if metric.source is Source.GPU:
        return snapshot.columns.gpu_observed_at, snapshot.gpu_fresh(now, GPU_STALENESS_SECONDS)
    return snapshot.columns.observed_at, snapshot.fresh(now)


def pod_readings(
    metric: PublishedMetric,
    snapshot: PoolSnapshot,
    now: float,
    model: str | None = None,
    members: BoolArray | None = None,
) -> tuple[PodReading, ...]:
    """The value of every ready pod that has a fresh one; pods without are left out, which the HPA fills in safely.

    `model` asks for one model's share, `members` for the pods of some rows only (all ranks of a pod or none). What the
    picker has in flight is not known per pod and model; there a model is ignored.
    """
    at, fresh = observed_at(metric, snapshot, now)
    ready = snapshot.columns.ready if members is None else snapshot.columns.ready & members
    rows_of: dict[ObjectKey, list[int]] = {}
    for row in np.flatnonzero(ready).tolist():
        rows_of.setdefault(snapshot.endpoints[row].key.pod, []).append(row)
    column = _column(metric, snapshot, now, model)
    by_row = None if column is None or isinstance(metric.reader, QueueLatency) else column.tolist()
    at_row, fresh_row = at.tolist(), fresh.tolist()
    readings: list[PodReading] = []
    for pod, rows in rows_of.items():
        if metric.source is Source.GPU:
            rows = rows[:1]  # a pod's ranks share its GPUs
        if not all(fresh_row[row] for row in rows):
            continue
        if by_row is not None and len(rows) == 1:
            value = by_row[rows[0]]
        else:
            mask = np.zeros(len(snapshot), dtype=np.bool_)
            mask[rows] = True
            value = _combine(_Question(metric, snapshot, now, model), column, mask, mask)
        if not isinstance(value, Unknown) and not math.isnan(value):
            readings.append(PodReading(pod, Reading(value, min(at_row[row] for row in rows))))
    return tuple(readings)


def group_reading(
    metric: PublishedMetric,
    snapshot: PoolSnapshot,
    now: float,
    model: str | None = None,
    members: BoolArray | None = None,
) -> Reading | Unknown:
    """The value of a pool, of one model in it, or of the endpoints in `members`."""
    ready = snapshot.columns.ready if members is None else snapshot.columns.ready & members
    if metric.source is Source.PICKER:
        return Reading(_in_flight(metric, snapshot, model, members), now)
    if metric.per_model and model is not None:
        ready = ready & _serves(snapshot, model)
    if metric.source is Source.GPU:
        ready = _one_per_pod(snapshot, ready)
    count = int(ready.sum())
    if not count:
        return Unknown(f"{snapshot.pool} has no ready endpoint for it")
    at, fresh = observed_at(metric, snapshot, now)
    usable = ready & fresh
    unknown = _coverage_problem(metric, snapshot, ready, usable, now - at)
    if unknown is not None:
        return unknown
    column = _column(metric, snapshot, now, model)
    value = _combine(_Question(metric, snapshot, now, model), column, ready, usable)
    return value if isinstance(value, Unknown) else Reading(value, float(at[usable].min()))


def models(metric: PublishedMetric, snapshot: PoolSnapshot) -> tuple[str | None, ...]:
    """The models that have a series of their own; one None where the metric is not split by model."""
    if not metric.per_model:
        return (None,)
    found: dict[str, None] = {}
    for loads in snapshot.columns.models:
        found.update(dict.fromkeys(loads))
    if metric.source is Source.PICKER:
        for lora in snapshot.columns.lora:
            if lora is not None:
                found.update(dict.fromkeys(sorted(lora.running | lora.waiting)))
    return tuple(found) or (None,)


def _serves(snapshot: PoolSnapshot, model: str) -> BoolArray:
    # An endpoint that was never read may serve the model: it counts, as a member without a value.
    unread = np.isneginf(snapshot.columns.observed_at)
    return unread | np.array([model in loads for loads in snapshot.columns.models], dtype=np.bool_)


def _one_per_pod(snapshot: PoolSnapshot, rows: BoolArray) -> BoolArray:
    """`rows` with one rank of each pod: a pod's ranks share its GPUs, which count once."""
    first = {snapshot.endpoints[row].key.pod: row for row in reversed(np.flatnonzero(rows))}
    mask = np.zeros(len(snapshot), dtype=np.bool_)
    mask[list(first.values())] = True
    return mask


def _in_flight(metric: PublishedMetric, snapshot: PoolSnapshot, model: str | None, members: BoolArray | None) -> float:
    tokens = metric.unit == "tokens"
    if model is not None:
        return snapshot.in_flight_models.get(model, (0.0, 0.0))[tokens]
    column = snapshot.in_flight_tokens if tokens else snapshot.in_flight_requests
    return float(column.sum() if members is None else column[members].sum())


def _coverage_problem(
    metric: PublishedMetric, snapshot: PoolSnapshot, ready: BoolArray, usable: BoolArray, ages: FloatArray
) -> Unknown | None:
    count, good = int(ready.sum()), int(usable.sum())
    unsettled = int((ready & ~snapshot.columns.settled).sum())
    if metric.source is Source.ENGINE and unsettled:
        return Unknown(f"{unsettled} of {count} ready endpoints of {snapshot.pool} were not scraped yet")
    if good and 2 * good >= count:
        return None
    limit = snapshot.state.settings.staleness_limit_seconds
    if metric.source is Source.GPU:
        limit = GPU_STALENESS_SECONDS
    oldest = float(ages[ready & ~usable].max())
    row = int(np.argmax(np.where(ready & ~usable, ages, -math.inf)))
    failure = snapshot.columns.failures[row]
    cause = f": {failure.cause}" if failure is not None and metric.source is Source.ENGINE else ""
    age = f"the oldest is {oldest:.1f} s old" if math.isfinite(oldest) else "there was never one"
    return Unknown(
        f"only {good} of {count} ready endpoints of {snapshot.pool} have a value fresher than {limit:g} s; "
        f"{age}{cause}",
        oldest if math.isfinite(oldest) else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is asked of which snapshot."""

    metric: PublishedMetric
    snapshot: PoolSnapshot
    now: float
    model: str | None


def _column(metric: PublishedMetric, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray | None:
    """What the metric's reader needs of every endpoint, read once for all pods; None for merged histograms."""
    reader = metric.reader
    if isinstance(reader, QueueLatency):
        return Load("waiting").read(snapshot, now, model)
    return None if isinstance(reader, HistogramReader) else reader.read(snapshot, now, model)


def _combine(asked: _Question, column: FloatArray | None, ready: BoolArray, usable: BoolArray) -> float | Unknown:
    reader, snapshot = asked.metric.reader, asked.snapshot
    if isinstance(reader, HistogramReader):
        return reader.read(snapshot, usable, asked.model)
    values = np.full(len(snapshot), math.nan) if column is None else column
    if isinstance(reader, QueueLatency):
        return reader.read(snapshot, asked.now, usable, asked.model, _total(values, ready, usable))
    known = usable & ~np.isnan(values)
    if not known.any() or 2 * known.sum() < ready.sum():
        return Unknown(f"the endpoints of {snapshot.pool} do not report it")
    total = _total(values, ready, known)
    return total if asked.metric.aggregation is Aggregation.SUM else total / int(ready.sum())


def _total(values: FloatArray, ready: BoolArray, known: BoolArray) -> float:
    """Sum over ready members, one without a known value counted as the highest known; NaN if none is known."""
    known = known & ~np.isnan(values)
    if not known.any():
        return math.nan
    return float(values[known].sum() + values[known].max() * int((ready & ~known).sum()))
