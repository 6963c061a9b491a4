"""Readers of what happened over a window: statistics of observed latencies, queue latency, rates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from infscale.metrics.published.column_readers import Load
from infscale.metrics.sample import CounterName, FloatArray, Histogram, HistogramName, Statistic
from infscale.metrics.snapshot import BoolArray, IntArray, PoolSnapshot, at_rows, count_of
from infscale.metrics.windows import merged_histograms
from infscale.metrics.windows.latency_statistics import statistic_of
from infscale.metrics.windows.model_table import COVERED, LEAVING, STATISTIC_CELLS, WAITING_SINCE, cells
from infscale.metrics.windows.window import FULL_COVERAGE, WindowSummary


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no value, in words for a person, and how old the last one is (seconds; None: there was none)."""

    reason: str
    age_seconds: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Endpoints that make one value: the rows that are usable, and how many more have no fresh value (`absent`)."""

    snapshot: PoolSnapshot
    rows: IntArray
    absent: int = 0

    def __len__(self) -> int:
        return len(self.rows) + self.absent

    def known_sum(self, column: FloatArray) -> float:
        """The sum over the group, a member without a known value counted as the highest; NaN below half coverage."""
        values = self._known(column)
        missing = len(self) - len(values)
        if not len(values):
            return math.nan
        known = float(np.add.reduce(values))
        return known + float(np.maximum.reduce(values)) * missing if missing else known

    def known_highest(self, column: FloatArray) -> float:
        """The highest value in the group; NaN below half coverage."""
        values = self._known(column)
        return float(np.maximum.reduce(values)) if len(values) else math.nan

    def _known(self, column: FloatArray) -> FloatArray:
        values = at_rows(column, self.rows)
        values = values[~np.isnan(values)]
        return values if 2 * len(values) >= len(self) else values[:0]


class MergingReader(Protocol):
    """Reads values of which those of a group are not made of those of its endpoints; NaN is unknown."""

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """One value per endpoint."""
        ...

    def of_groups(self, groups: Sequence[Group], now: float, model: str | None) -> list[float]:
        """The value of each group; all are of one snapshot."""
        ...

    def members(self, snapshot: PoolSnapshot, rows: IntArray) -> int:
        """How many values that of a group of `rows` is made of, which are one of each pod where pods have one value."""
        ...


@dataclass(frozen=True, slots=True)
class HistogramReader:
    """A statistic (seconds) of what endpoints observed over the window, their histograms merged.

    Observations are counted as they are, however much of the window they cover. An endpoint that does not observe, or
    not long enough, counts as the one with the highest value. A fully covered window in which nothing was observed is 0
    where no request waits or runs: of requests that run the time is not known yet.
    """

    histogram: HistogramName
    statistic: Statistic

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `MergingReader`."""
        observed = _cells(snapshot, model, STATISTIC_CELLS[self.histogram, self.statistic])
        silent = np.isnan(observed) & (covered_seconds(snapshot) >= _silence_seconds(snapshot))
        for name in _LOADS:
            silent &= Load(name).read(snapshot, now, model) == 0
        rows = silent.nonzero()[0].tolist()
        if rows:
            windows, key = snapshot.columns.windows, self._key(model)
            observed = observed.copy()
            observed[[row for row in rows if _knows_silence(windows[row], key)]] = 0.0
        return observed

    def of_groups(self, groups: Sequence[Group], now: float, model: str | None) -> list[float]:
        """See `MergingReader`."""
        return [self._of(group, now, self._key(model)) for group in groups]

    def members(self, snapshot: PoolSnapshot, rows: IntArray) -> int:
        """See `MergingReader`."""
        del snapshot
        return len(rows)

    def _key(self, model: str | None) -> "_Key":
        return self.histogram, self.statistic, model

    def _of(self, group: Group, now: float, key: "_Key") -> float:
        rows = _watched(group)
        observed = _statistic(group, key)[rows]
        windows, silent = group.snapshot.columns.windows, rows[np.isnan(observed)].tolist()
        observing = len(rows) - len(silent) + sum(_knows_silence(windows[row], key) for row in silent)
        if 2 * observing < len(group):
            return math.nan
        value = _merged_statistic(group, rows, len(group) - observing, key)
        return 0.0 if math.isnan(value) and len(silent) == len(rows) and _idle(group, now, key[2]) else value


@dataclass(frozen=True, slots=True)
class QueueLatency:
    """How long requests wait for their first step.

    The larger of (a) the statistic of the engines' queue times over the window, which knows only waits that are over,
    and (b) waiting ÷ rate of leaving the queue (Little's law), which knows those that are not; while none leaves, (b)
    is the time since the queue became non-empty. The value is 0 where none arrived in a fully covered window and none
    waits.
    """

    statistic: Statistic

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `MergingReader`."""
        waiting = Load("waiting").read(snapshot, now, model)
        past = _cells(snapshot, model, STATISTIC_CELLS["queue_time", self.statistic])
        leaving = _cells(snapshot, model, LEAVING)
        waited = now - _waiting_since(snapshot, model)
        return _larger(past, waiting, leaving, waited, covered_seconds(snapshot) >= _silence_seconds(snapshot))

    def of_groups(self, groups: Sequence[Group], now: float, model: str | None) -> list[float]:
        """See `MergingReader`."""
        if not groups:
            return []
        column = Load("waiting").read(groups[0].snapshot, now, model)
        return [self._of(group, group.known_sum(column), now, model) for group in groups]

    def members(self, snapshot: PoolSnapshot, rows: IntArray) -> int:
        """See `MergingReader`."""
        del snapshot
        return len(rows)

    def _of(self, group: Group, waiting: float, now: float, model: str | None) -> float:
        snapshot, rows = group.snapshot, _watched(group)
        # Endpoints seen for different times leave at rates, not at counts, that may be added.
        leaving = float(np.add.reduce(np.fmax(at_rows(_cells(snapshot, model, LEAVING), rows), 0.0)))
        since = float(np.fmin.reduce(at_rows(_waiting_since(snapshot, model), group.rows), initial=math.inf))
        past = _merged_statistic(group, rows, len(group) - len(rows), ("queue_time", self.statistic, model))
        return _larger_of_one(past, waiting, leaving, now - since, _covered(group))


@dataclass(frozen=True, slots=True)
class Rate:
    """A counter's rate per second over the window, per endpoint."""

    counter: CounterName

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """One value per endpoint, NaN where the endpoint does not publish the counter or was seen only once."""
        del now
        return np.array([self._of(window, model) for window in snapshot.columns.windows], dtype=np.float64)

    def _of(self, window: WindowSummary | None, model: str | None) -> float:
        if window is None:
            return math.nan
        if model is not None:
            return window.rates.get((self.counter, model), math.nan)
        rates = [rate for (name, _), rate in window.rates.items() if name == self.counter]
        return sum(rates) if rates else math.nan


_Key = tuple[HistogramName, Statistic, str | None]
_LOADS: Final[tuple[Literal["waiting", "running"], ...]] = ("waiting", "running")


def covered_seconds(snapshot: PoolSnapshot) -> FloatArray:
    """How many seconds back the observations of each endpoint reach."""
    return np.fmax(_cells(snapshot, None, COVERED), 0.0)


def _cells(snapshot: PoolSnapshot, model: str | None, cell: int) -> FloatArray:
    return cells(snapshot.columns.by_model, model, cell, len(snapshot))


def _waiting_since(snapshot: PoolSnapshot, model: str | None) -> FloatArray:
    """When queues last became non-empty, +inf or NaN where they are; an engine may not say of which model its is."""
    since = _cells(snapshot, model, WAITING_SINCE)
    return since if model is None else np.where(np.isnan(since), _cells(snapshot, "", WAITING_SINCE), since)


def _watched(group: Group) -> IntArray:
    """The rows of `group` that were watched for some time."""
    rows = group.rows
    return rows[at_rows(_cells(group.snapshot, None, COVERED), rows) > 0]


def _statistic(group: Group, key: "_Key") -> FloatArray:
    name, statistic, model = key
    return _cells(group.snapshot, model, STATISTIC_CELLS[name, statistic])


def _silence_seconds(snapshot: PoolSnapshot) -> float:
    """How much observations must span for silence to mean that nothing happened."""
    return FULL_COVERAGE * snapshot.state.settings.window_seconds


def _covered(group: Group) -> bool:
    """Whether most members were watched over the whole window; the others, as ever, count as the highest of these."""
    seconds = at_rows(covered_seconds(group.snapshot), group.rows)
    return 2 * count_of(seconds >= _silence_seconds(group.snapshot)) >= len(group)


def _idle(group: Group, now: float, model: str | None) -> bool:
    """Whether every member says that no request waits or runs, and silence means something."""
    loads = [at_rows(Load(name).read(group.snapshot, now, model), group.rows) for name in _LOADS]
    return not group.absent and _covered(group) and not any(np.count_nonzero(load != 0) for load in loads)


def _knows_silence(window: WindowSummary | None, key: _Key) -> bool:
    """Whether a window without the statistic knows that nothing happened; one whose sum is not published does not.

    An engine may publish its first histogram when it answers its first request.
    """
    name, statistic, model = key
    if window is None or (window.histograms and (name, model) not in window.histograms):
        return False
    seen = window.models.get(model)
    return seen is None or (name, statistic) not in seen.statistics


def _merged_statistic(group: Group, watched: IntArray, missing: int, key: _Key) -> float:
    """The statistic of all windows of the rows `watched`; `missing` more count as the one that has the highest."""
    name, statistic, model = key
    values = at_rows(_statistic(group, key), watched)
    known = ~np.isnan(values)
    rows = watched[known]
    if not len(rows):
        return math.nan
    highest = int(rows[values[known].argmax()])
    columns = group.snapshot.columns
    histogram: tuple[HistogramName, str | None] = (name, model)
    side_by_side = columns.latencies
    merged = None if side_by_side is None else side_by_side.added_up(histogram, rows, highest, missing)
    if merged is None:
        windows = columns.windows
        parts = [window.histograms[histogram] for row in rows.tolist() if (window := windows[row]) is not None]
        of_highest = windows[highest]
        if missing and of_highest is not None:
            more = of_highest.histograms[histogram]
            parts.append(Histogram(more.bounds, more.counts * missing, more.sum * missing))
        merged = merged_histograms.merged(parts)
    return math.nan if merged is None else statistic_of(merged, statistic)


def _larger(
    past: FloatArray, waiting: FloatArray, leaving: FloatArray, waited: FloatArray, covered: BoolArray
) -> FloatArray:
    """The larger of past waits and the expected waits of waiting requests; 0 for a window without any request."""
    with np.errstate(divide="ignore", invalid="ignore"):
        present = np.where(leaving > 0, waiting / leaving, np.where(np.isfinite(waited), waited, math.nan))
    latency = np.fmax(past, np.where(waiting > 0, present, math.nan))
    return np.where(np.isnan(latency) & covered & (waiting == 0), 0.0, latency)


def _larger_of_one(past: float, waiting: float, leaving: float, waited: float, covered: bool) -> float:
    """As `_larger`, of one value, which costs a twentieth of that without arrays."""
    present = math.nan
    if waiting > 0:
        if leaving > 0:
            present = waiting / leaving
        elif math.isfinite(waited):
            present = waited
    if math.isnan(past) and math.isnan(present):
        return 0.0 if covered and waiting == 0 else math.nan
    return max(value for value in (past, present) if not math.isnan(value))
