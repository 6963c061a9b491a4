"""How published metrics are read from a snapshot: the contract about unknown values.

For single pods an unknown value is left out. For a group (a pool, a model, the pods of a Service) a ready member
without a fresh value counts as the highest fresh one, so that a lost scrape never scales down; below half coverage,
before every ready member was scraped or failed once, and with no ready member at all, the value is `Unknown`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infscale.endpoint import ObjectKey
from infscale.metrics.columns import Load
from infscale.metrics.published import Aggregation, Formula, PublishedMetric, Source
from infscale.metrics.sample import FloatArray, Reading
from infscale.metrics.snapshot import BoolArray, PoolSnapshot, WindowSummary
from infscale.metrics.windowed import HistogramReader, QueueLatency, Unknown

GPU_STALENESS_SECONDS = 90.0
"""GPU exporters collect every 30 s by default: a GPU value is fresh for three of their intervals."""


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
) -> list[tuple[ObjectKey, Reading]]:
    """Every ready pod that has a fresh value, its ranks aggregated; the HPA fills in safely for those left out.

    `model` asks for one model's share, `members` for the pods of some rows only (all ranks of a pod or none). What the
    picker has in flight is not known per pod and model; there a model is ignored.
    """
    at, fresh = observed_at(metric, snapshot, now)
    pods = _rows_of_pods(snapshot, _counted(metric, snapshot, members), fresh)
    values = _values(_Question(metric, snapshot, now, model), list(pods.values()))
    at_row = at.tolist()
    return [
        (pod, Reading(value, at_row[rows[0]] if len(rows) == 1 else min(at_row[row] for row in rows)))
        for (pod, rows), value in zip(pods.items(), values, strict=True)
        if not math.isnan(value)
    ]


def group_reading(
    metric: PublishedMetric,
    snapshot: PoolSnapshot,
    now: float,
    model: str | None = None,
    members: BoolArray | None = None,
) -> Reading | Unknown:
    """The value of a pool, of one model in it, or of the endpoints in `members`."""
    if metric.source is Source.PICKER:
        if model is not None and members is not None:
            return Unknown(
                f"it is counted per endpoint and per model of {snapshot.pool}, not for a model on some of it"
            )
        return Reading(_in_flight(metric, snapshot, model, members), now)
    ready = _counted(metric, snapshot, members)
    if metric.per_model and model is not None:
        ready = ready & _serves(snapshot, model)
    count = int(ready.sum())
    if not count:
        return Unknown(f"{snapshot.pool} has no ready endpoint for it")
    at, fresh = observed_at(metric, snapshot, now)
    usable = ready & fresh
    unknown = _coverage_problem(metric, snapshot, ready, usable, now - at)
    if unknown is not None:
        return unknown
    rows: list[int] = np.flatnonzero(usable).tolist()
    value = _values(_Question(metric, snapshot, now, model), [rows], count - len(rows))[0]
    return _unreported(metric, snapshot) if math.isnan(value) else Reading(value, float(at[usable].min()))


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


def _counted(metric: PublishedMetric, snapshot: PoolSnapshot, members: BoolArray | None) -> BoolArray:
    """The ready rows whose values count."""
    ready = snapshot.columns.ready if members is None else snapshot.columns.ready & members
    return _one_per_pod(snapshot, ready) if metric.source is Source.GPU else ready


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


def _unreported(metric: PublishedMetric, snapshot: PoolSnapshot) -> Unknown:
    if not isinstance(metric.reader, HistogramReader | QueueLatency):
        return Unknown(f"the endpoints of {snapshot.pool} do not report it")
    window = snapshot.state.settings.window_seconds
    return Unknown(f"nothing of it was observed on {snapshot.pool} in the last {window:g} s")


def _rows_of_pods(snapshot: PoolSnapshot, rows: BoolArray, fresh: BoolArray) -> dict[ObjectKey, list[int]]:
    """The rows of each pod; one stale rank leaves its pod out."""
    endpoints = snapshot.endpoints
    rows_of: dict[ObjectKey, list[int]] = {}
    for row in np.flatnonzero(rows).tolist():
        rows_of.setdefault(endpoints[row].key.pod, []).append(row)
    for row in np.flatnonzero(rows & ~fresh).tolist():
        rows_of.pop(endpoints[row].key.pod, None)
    return rows_of


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is asked of which snapshot."""

    metric: PublishedMetric
    snapshot: PoolSnapshot
    now: float
    model: str | None


def _values(asked: _Question, groups: Sequence[list[int]], absent: int = 0) -> list[float]:
    """The value of each group of rows, NaN where unknown; `absent` more belong to each and have no fresh value."""
    reader, snapshot = asked.metric.reader, asked.snapshot
    match reader:
        case HistogramReader():
            return reader.each(_windows(snapshot, groups), asked.model)
        case QueueLatency():
            column = Load("waiting").read(snapshot, asked.now, asked.model)
            waiting = _combined(column, groups, absent, Aggregation.SUM)
            window_seconds = snapshot.state.settings.window_seconds
            return reader.each(_windows(snapshot, groups), waiting, asked.now, asked.model, window_seconds)
        case Formula():
            return [math.nan] * len(groups)
        case _:
            column = reader.read(snapshot, asked.now, asked.model)
            return _combined(column, groups, absent, asked.metric.aggregation)


def _windows(snapshot: PoolSnapshot, groups: Sequence[list[int]]) -> list[list[WindowSummary]]:
    windows = snapshot.columns.windows
    return [[window for row in rows if (window := windows[row]) is not None] for rows in groups]


def _combined(column: FloatArray, groups: Sequence[list[int]], absent: int, aggregation: Aggregation) -> list[float]:
    """Sum or mean over each group, a member without a known value counted as the highest; NaN below half coverage."""
    values: list[float] = column.tolist()

    def total(rows: list[int]) -> float:
        if len(rows) == 1 and not absent:
            return values[rows[0]]
        known = [value for row in rows if not math.isnan(value := values[row])]
        count = len(rows) + absent
        if not known or 2 * len(known) < count:
            return math.nan
        added = sum(known) + max(known) * (count - len(known))
        return added if aggregation is Aggregation.SUM else added / count

    return [total(rows) for rows in groups]
