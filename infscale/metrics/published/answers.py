"""How published metrics are read from a snapshot: the contract about unknown values.

For single pods an unknown value is left out. For a group (a pool, a model, the pods of a Service) a ready member
without a fresh value counts as the highest fresh one, so that a lost scrape never scales down; below half coverage,
before every ready member was scraped or failed once, and with no ready member at all, the value is `Unknown`. A value
over a window needs two scrapes, and says how many seconds it is made of. To what waits in the engines of a whole pool
belongs what the picker holds back.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from infscale.endpoint import ObjectKey
from infscale.metrics.published.catalogue import Aggregation, Formula, PublishedMetric
from infscale.metrics.published.column_readers import ColumnReader, InFlight, WithoutEndpoint
from infscale.metrics.published.formula import Valued, evaluate
from infscale.metrics.published.queried_readers import QueriedOfPool
from infscale.metrics.published.queue_readers import OfWholePool, held_back, queued_models
from infscale.metrics.published.readings import Readings
from infscale.metrics.published.window_readers import (
    Group,
    HistogramReader,
    MergingReader,
    QueueLatency,
    Unknown,
    covered_seconds,
)
from infscale.metrics.sample import FloatArray, Reading
from infscale.metrics.snapshot import NO_NAMES, BoolArray, IntArray, PoolSnapshot, at_rows, count_of
from infscale.metrics.windows.model_table import SERVES, cells

_MOST_LISTED: Final = 1_024
"""Models of a pool that have a series for being listed alone."""


def observed_at(metric: PublishedMetric, snapshot: PoolSnapshot, now: float) -> tuple[FloatArray, BoolArray]:
    """When each endpoint's value was observed, and whether that is recent enough to use."""
    at = metric.source.observed_at(snapshot, now)
    return np.minimum(at, snapshot.columns.windows_at) if metric.windowed else at, metric.source.fresh(snapshot, now)


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is asked of which snapshot; `members` are the rows asked about, None being all."""

    snapshot: PoolSnapshot
    now: float
    model: str | None = None
    members: BoolArray | None = None

    @property
    def ready(self) -> BoolArray:
        """The rows whose values count."""
        ready = self.snapshot.columns.ready
        return ready if self.members is None else ready & self.members

    @property
    def pool(self) -> ObjectKey:
        """The pool asked about."""
        return self.snapshot.pool


def pod_readings(
    metric: PublishedMetric,
    snapshot: PoolSnapshot,
    now: float,
    model: str | None = None,
    members: BoolArray | None = None,
) -> Readings:
    """Every ready pod that has a fresh value, its ranks aggregated; the HPA fills in safely for those left out.

    `model` asks for one model's share, `members` for the pods of some rows only (all ranks of a pod or none).
    """
    pods = _Pods.of(_Question(snapshot, now, model, members))
    values, at = _of_pods(metric, pods)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < len(values):
        pods, values, at = pods.only(known.tolist()), values[known], at[known]
    return Readings(pods.names, values, at, pods.covered() if metric.windowed else None)


def group_reading(
    metric: PublishedMetric,
    snapshot: PoolSnapshot,
    now: float,
    model: str | None = None,
    members: BoolArray | None = None,
) -> Reading | Unknown:
    """The value of a pool, of one model in it, or of the endpoints in `members`."""
    return _of_group(metric, _Question(snapshot, now, model, members))


def models(metric: PublishedMetric, snapshot: PoolSnapshot) -> tuple[str | None, ...]:
    """The models that have a series of their own; one None where the metric is not split by model.

    A formula has those of everything in it that is split by model.
    """
    if not metric.per_model:
        return (None,)
    parts = metric.reader.operands if isinstance(metric.reader, Formula) else (metric,)
    readers = [part.reader for part in parts if part.per_model]
    queried = [reader for reader in readers if isinstance(reader, QueriedOfPool)]
    found = dict.fromkeys(model for reader in queried for model in reader.models(snapshot))
    if len(queried) < len(readers):
        found.update(dict.fromkeys(_of_endpoints(snapshot, by_requested=metric.by_requested_model)))
    return tuple(found) or (None,)


def _of_endpoints(snapshot: PoolSnapshot, *, by_requested: bool) -> Iterator[str]:
    """The models that endpoints say they serve, and those that requests may ask for."""
    table = snapshot.columns.by_model
    size = len(snapshot)
    for model in table:
        if model is not None and not np.isnan(cells(table, model, SERVES, size)).all():
            yield model
    if by_requested:
        for lora in snapshot.columns.lora:
            if lora is not None:
                yield from sorted(lora.running | lora.waiting)
        # While no endpoint is there it says of which models there is a demand.
        yield from queued_models(snapshot)
        # Also while nothing asks for them: else what is in flight for an idle model would be no 0, but no metric.
        listed = sorted(NO_NAMES.union(*snapshot.columns.listed))
        yield from listed[:_MOST_LISTED]


def weight(metric: PublishedMetric, snapshot: PoolSnapshot, members: BoolArray | None = None) -> int:
    """How many values a group's mean is made of: ready endpoints, or pods where a pod has one value."""
    if metric.of_pool:
        return 1
    ready = _Question(snapshot, 0.0, None, members).ready
    by_pod = metric.source.per_pod or isinstance(metric.reader, Formula)
    rows = _one_per_pod(snapshot, ready) if by_pod else ready
    return count_of(rows) if metric.merges is None else metric.merges.members(snapshot, np.flatnonzero(rows))


def whole(metric: PublishedMetric, operands: Sequence[Reading | Unknown], now: float) -> Reading | Unknown:
    """The value of a formula from those of its operands, which are in the order of `Formula.operands`."""
    reader = metric.reader
    if not isinstance(reader, Formula):
        raise TypeError(f"{metric.name} is no formula")
    known: dict[str, Valued] = {}
    for operand, reading in zip(reader.operands, operands, strict=True):
        value, at = (math.nan, now) if isinstance(reading, Unknown) else (reading.value, reading.at)
        known[operand.name] = Valued(np.array([value]), np.array([at]))
    result = evaluate(reader.expression, known)
    if not math.isnan(result.values[0]):
        windows = [
            each.window_seconds for each in operands if isinstance(each, Reading) and each.window_seconds is not None
        ]
        return Reading(float(result.values[0]), min(float(result.at[0]), now), max(windows, default=None))
    for operand, reading in zip(reader.operands, operands, strict=True):
        if isinstance(reading, Unknown):
            return Unknown(f"{operand.name} is unknown: {reading.reason}", reading.age_seconds)
    return Unknown(f"{reader.expression} has no finite value")


# Pods


@dataclass(frozen=True, slots=True, eq=False)
class _Pods:
    """The ready pods of a question, each with its rows."""

    asked: _Question
    names: Sequence[ObjectKey]
    rows: IntArray
    """One row of each pod."""
    ranks: Sequence[list[int]] | None
    """All rows of each pod; None where every pod is one row."""

    @classmethod
    def of(cls, asked: _Question) -> "_Pods":
        index = asked.snapshot.state.pods
        ready = np.flatnonzero(asked.ready)
        if index.one_rank_each:
            every = len(ready) == len(index.of_row)
            return cls(asked, index.of_row if every else [index.of_row[row] for row in ready.tolist()], ready, None)
        ranks: dict[ObjectKey, list[int]] = {}
        for row in ready.tolist():
            ranks.setdefault(index.of_row[row], []).append(row)
        first = np.array([rows[0] for rows in ranks.values()], dtype=np.intp)
        return cls(asked, list(ranks), first, list(ranks.values()))

    def only(self, places: Sequence[int]) -> "_Pods":
        """The pods at some places."""
        return _Pods(
            self.asked,
            [self.names[place] for place in places],
            self.rows[places],
            None if self.ranks is None else [self.ranks[place] for place in places],
        )

    def covered(self) -> FloatArray:
        """How many seconds back observations of each pod reach."""
        seconds = covered_seconds(self.asked.snapshot)
        if self.ranks is None:
            return seconds[self.rows]
        return np.array([seconds[rows].max() for rows in self.ranks])


def _of_pods(metric: PublishedMetric, pods: _Pods) -> Valued:
    """The value of each pod, NaN where unknown; one stale rank makes its pod unknown."""
    snapshot, now = pods.asked.snapshot, pods.asked.now
    if isinstance(metric.reader, Formula):
        known = {operand.name: _of_pods(operand, pods) for operand in metric.reader.operands}
        values, at = evaluate(metric.reader.expression, known)
        return Valued(values, np.minimum(at, now))
    at, fresh = observed_at(metric, snapshot, now)
    if pods.ranks is None or metric.source.per_pod:
        values = metric.reader.read(snapshot, now, pods.asked.model)[pods.rows]
        return Valued(np.where(fresh[pods.rows], values, math.nan), at[pods.rows])
    groups = [Group(snapshot, np.array(rows, dtype=np.intp)) for rows in pods.ranks]
    known_ranks = np.array([fresh[group.rows].all() for group in groups], dtype=np.bool_)
    values = np.array(_of_groups(metric, metric.reader, groups, pods.asked))
    return Valued(np.where(known_ranks, values, math.nan), np.array([at[group.rows].min() for group in groups]))


def _of_groups(
    metric: PublishedMetric, reader: ColumnReader | MergingReader, groups: Sequence[Group], asked: _Question
) -> list[float]:
    """The value of each group, NaN where unknown."""
    if metric.merges is not None:
        return metric.merges.of_groups(groups, asked.now, asked.model)
    column = reader.read(asked.snapshot, asked.now, asked.model)
    match metric.aggregation:
        case Aggregation.HIGHEST:
            return [group.known_highest(column) for group in groups]
        case Aggregation.SUM:
            return [group.known_sum(column) for group in groups]
        case _:
            return [group.known_sum(column) / len(group) for group in groups]


# Groups


def _of_group(metric: PublishedMetric, asked: _Question) -> Reading | Unknown:
    if isinstance(metric.reader, Formula):
        of_formula = _of_whole if metric.aggregation is Aggregation.WHOLE else _of_parts
        return of_formula(metric, metric.reader, asked)
    if isinstance(metric.reader, OfWholePool):
        # What is not split by model is the pool's, whichever model is asked about.
        return _of_pool(metric.reader, asked if metric.per_model else replace(asked, model=None))
    if metric.source.of_requests:
        if isinstance(metric.reader, InFlight) and asked.members is None and asked.model is not None:
            return Reading(metric.reader.of_pool(asked.snapshot, asked.model), asked.now)
        column = metric.reader.read(asked.snapshot, asked.now, asked.model)
        return Reading(float((column if asked.members is None else column[asked.members]).sum()), asked.now)
    ready = _serving(metric, asked)
    if metric.source.per_pod:
        ready = _one_per_pod(asked.snapshot, ready)
    count = count_of(ready)
    if not count:
        return _nobody(asked)
    at, fresh = observed_at(metric, asked.snapshot, asked.now)
    usable = ready & fresh
    unknown = _coverage_problem(metric, asked, ready, usable, at)
    if unknown is not None:
        return unknown
    rows = np.flatnonzero(usable)
    group = Group(asked.snapshot, rows, count - len(rows))
    value = _of_groups(metric, metric.reader, [group], asked)[0]
    if math.isnan(value):
        return _unreported(metric, asked, group)
    covered = float(np.maximum.reduce(at_rows(covered_seconds(asked.snapshot), rows))) if metric.windowed else None
    if asked.members is None:
        value += held_back(metric.reader, asked.snapshot, asked.now, asked.model)
    return Reading(value, float(np.minimum.reduce(at_rows(at, rows))), covered)


def _of_pool(reader: OfWholePool, asked: _Question) -> Reading | Unknown:
    if asked.members is not None:
        return Unknown(f"it is a number of the whole of {asked.pool}")
    if not isinstance(reader, WithoutEndpoint):
        return reader.of_pool(asked.snapshot, asked.now, asked.model)
    window = asked.snapshot.state.settings.window_seconds
    return Reading(reader.of_pool(asked.snapshot, asked.now), asked.now, window)


def _of_whole(metric: PublishedMetric, formula: Formula, asked: _Question) -> Reading | Unknown:
    return whole(metric, [_of_group(operand, asked) for operand in formula.operands], asked.now)


def _of_parts(metric: PublishedMetric, formula: Formula, asked: _Question) -> Reading | Unknown:
    """The mean or sum of a formula's values on single pods; a pod without one counts as the highest."""
    ready = _serving(metric, asked)
    pods = _Pods.of(_Question(asked.snapshot, asked.now, asked.model, ready))
    if not pods.names:
        return _nobody(asked)
    values, at = _of_pods(metric, pods)
    known = ~np.isnan(values)
    good, count = int(known.sum()), len(values)
    cold = unsettled(metric, asked.snapshot, ready)
    if cold is not None:
        return cold
    if not good or 2 * good < count:
        of_whole = _of_whole(metric, formula, asked)
        reason = of_whole.reason if isinstance(of_whole, Unknown) else "the others have no finite value"
        return Unknown(f"only {good} of {count} ready pods of {asked.pool} have a value: {reason}")
    total = float(values[known].sum() + values[known].max() * (count - good))
    value = total if metric.aggregation is Aggregation.SUM else total / count
    covered = float(pods.covered().max()) if metric.windowed else None
    return Reading(value, float(at[known].min()), covered)


def _serving(metric: PublishedMetric, asked: _Question) -> BoolArray:
    """The ready rows whose values count: those that serve the model asked for, where that makes a difference."""
    if asked.model is None or not metric.per_model or metric.by_requested_model:
        return asked.ready
    return asked.ready & serving(asked.snapshot, asked.model)


def serving(snapshot: PoolSnapshot, model: str) -> BoolArray:
    """The rows that serve `model`, those included of which it is not known."""
    # An endpoint that was never read may serve the model: it counts, as a member without a value.
    unread = np.isneginf(snapshot.columns.observed_at)
    return unread | ~np.isnan(cells(snapshot.columns.by_model, model, SERVES, len(snapshot)))


def _one_per_pod(snapshot: PoolSnapshot, rows: BoolArray) -> BoolArray:
    """`rows` with one rank of each pod: what its ranks share counts once."""
    index = snapshot.state.pods
    if index.one_rank_each:
        return rows
    first: Mapping[ObjectKey, int] = {index.of_row[row]: row for row in reversed(np.flatnonzero(rows).tolist())}
    mask = np.zeros(len(snapshot), dtype=np.bool_)
    mask[list(first.values())] = True
    return mask


# Why there is no value


def _nobody(asked: _Question) -> Unknown:
    return Unknown(f"{asked.pool} has no ready endpoint for it")


def unsettled(metric: PublishedMetric, snapshot: PoolSnapshot, ready: BoolArray) -> Unknown | None:
    """Whether some of the rows `ready` have neither given the value that is waited for nor failed."""
    waiting = metric.source.unsettled(snapshot, ready)
    if not waiting:
        return None
    return Unknown(f"{waiting} of {count_of(ready)} ready endpoints of {snapshot.pool} were not scraped yet")


def _coverage_problem(
    metric: PublishedMetric, asked: _Question, ready: BoolArray, usable: BoolArray, at: FloatArray
) -> Unknown | None:
    count, good = count_of(ready), count_of(usable)
    cold = unsettled(metric, asked.snapshot, ready)
    if cold is not None or (good and 2 * good >= count):
        return cold
    limit = metric.source.limit_seconds(asked.snapshot)
    ages = asked.now - at
    oldest = float(ages[ready & ~usable].max())
    row = int(np.argmax(np.where(ready & ~usable, ages, -math.inf)))
    failure = metric.source.failure(asked.snapshot, row)
    cause = "" if failure is None else f": {failure}"
    age = f"the oldest is {oldest:.1f} s old" if math.isfinite(oldest) else "there was never one"
    return Unknown(
        f"only {good} of {count} ready endpoints of {asked.pool} have a value fresher than {limit:g} s; {age}{cause}",
        oldest if math.isfinite(oldest) else None,
    )


def _unreported(metric: PublishedMetric, asked: _Question, group: Group) -> Unknown:
    refused = _refused(metric, asked.snapshot, group)
    if refused is not None:
        return Unknown(refused)
    if metric.windowed:
        count, watched = len(group), count_of(covered_seconds(asked.snapshot)[group.rows] > 0)
        if 2 * watched < count:
            return Unknown(
                f"only {watched} of {count} ready endpoints of {asked.pool} were scraped twice, which a value over a "
                "window takes"
            )
    if not isinstance(metric.reader, QueueLatency | HistogramReader):
        return Unknown(metric.source.absence.format(pool=asked.pool))
    window = asked.snapshot.state.settings.window_seconds
    return Unknown(f"nothing of it was observed on {asked.pool} in the last {window:g} s")


def _refused(metric: PublishedMetric, snapshot: PoolSnapshot, group: Group) -> str | None:
    """Which endpoint of a group says what cannot be, and how many do; None: none does."""
    columns = snapshot.columns
    causes = [
        (row, cause)
        for row in group.rows.tolist()
        if (of_row := columns.refused[row])
        for name in metric.reads
        if (cause := of_row.get(name)) is not None
    ]
    if not causes:
        return None
    row, cause = causes[0]
    rows = len({row for row, _ in causes})
    share = f"{rows} of {len(group)} ready endpoints of {snapshot.pool}"
    return f"{share} do not report it: {cause} ({snapshot.endpoints[row].key})"
