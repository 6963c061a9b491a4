"""What one endpoint reported lately, and its summary over a window."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np

from infscale.metrics.pages.bounds import MAX_RATE_PER_SECOND
from infscale.metrics.sample import (
    NO_REFUSALS,
    CounterKey,
    CountLayout,
    Counts,
    EngineSample,
    FloatArray,
    Histogram,
    HistogramKey,
    HistogramName,
    Statistic,
)
from infscale.metrics.snapshot import BoolArray
from infscale.metrics.store.series import BoundedSeries
from infscale.metrics.windows.latency_statistics import leaving_rates, prefill_seconds, statistics, with_wholes
from infscale.metrics.windows.window import FULL_COVERAGE, ModelWindow, WindowSummary

_RESOLUTION_SECONDS: Final = 0.5
# A window is summed up again when it ends this much later: what scrapes in between add to half a minute is little, and
# summing up costs more than taking them in.
_SUM_UP_SECONDS: Final = _RESOLUTION_SECONDS / 2
# An interval is at most half of a window: this is the gap that one lost scrape leaves, and what both come late by.
_LONGEST_GAP: Final = 1.5
_UNSEEN: Final = ModelWindow()
_NOTHING_OBSERVED: Final[Mapping[tuple[HistogramName, Statistic], float]] = MappingProxyType({})


class _Growth:
    """Counters and histograms of one layout as what they grew by since the first sample, restarts taken out.

    A counter that falls has restarted from 0, and so has a histogram when one of its counts falls. Each is judged by
    itself: one that an engine counts down by mistake must not add the lifetime of all others to a window.
    """

    def __init__(self, layout: CountLayout, series: BoundedSeries) -> None:
        self.layout = layout
        self.series = series
        self._last: FloatArray | None = None
        self._last_at = -math.inf
        self._total: FloatArray = np.zeros(layout.width)

    def observe(self, row: FloatArray, at: float) -> str | None:
        """Take in the counts of a scrape at `at`; why they cannot have grown to that, and then nothing is taken in."""
        if self._last is not None and len(row):
            step = row - self._last
            # Unlike other extremes, these two are not blinded by a sum that is not published (NaN).
            if np.fmin.reduce(step) < 0:
                step = np.where(self._restarted(step < 0), row, step)
            grown = float(np.fmax.reduce(step))
            if grown > MAX_RATE_PER_SECOND * max(1.0, at - self._last_at):
                return f"the page says that a count grew by {grown:g} in {at - self._last_at:.3g} s"
            self._total = self._total + step
        self._last, self._last_at = row, at
        self.series.append(at, self._total)
        return None

    def _restarted(self, fell: BoolArray) -> BoolArray:
        """All that has restarted: of a histogram, where one of its buckets fell, the buckets and the sum."""
        layout = self.layout
        for number, place in enumerate(layout.buckets):
            fell[place] = fell[layout.first_sum + number] = fell[place].any()
        return fell


class EndpointHistory:
    """Recent counters, histograms and queue state of one endpoint, for summaries over windows of some lengths.

    What an engine publishes is stable; where its names or buckets change, counting starts over, because the old counts
    say nothing about the new ones.
    """

    def __init__(self, windows_seconds: Sequence[float]) -> None:
        self._windows = tuple(windows_seconds)
        self._gauges = self._series(2)
        self._growth: _Growth | None = None
        self._waiting_since: dict[str, float] = {}
        self._at = -math.inf
        # Why counting started over within the longest window, by the names of what is counted.
        self.jumped: Mapping[str, str] = NO_REFUSALS
        self._jumped_at = -math.inf
        self._summaries: dict[float, WindowSummary] | None = None

    def look_back(self, windows_seconds: Sequence[float]) -> None:
        """Sum up windows of these lengths from now on; what is kept stays, as far as they reach."""
        self._windows = tuple(windows_seconds)
        self._summaries = None
        self._gauges = _copied(self._gauges, self._series(2))
        if self._growth is not None:
            self._growth.series = _copied(self._growth.series, self._series(self._growth.layout.width))

    def observe(self, sample: EngineSample, at: float) -> None:
        """Take in one scrape that started at `at`."""
        self._at = max(self._at, at)
        waiting, running = sample.gauges.waiting, sample.gauges.running
        if waiting is not None and running is not None:
            self._gauges.append(at, np.array((waiting, running)))
        elif len(self._gauges):
            self._gauges = self._series(2)
            self._summaries = None
        layout = sample.counts.layout
        if self._growth is None or (self._growth.layout is not layout and self._growth.layout != layout):
            self._start_over(layout)
        self._count(sample.counts, at)
        self._observe_queues(sample, at)

    def _start_over(self, layout: CountLayout) -> _Growth:
        growth = self._growth = _Growth(layout, self._series(layout.width))
        self._summaries = None
        return growth

    def _count(self, counts: Counts, at: float) -> None:
        growth = self._growth or self._start_over(counts.layout)
        cause = growth.observe(counts.row, at)
        if cause is not None:
            # What was counted before says nothing about what is counted now.
            self._start_over(counts.layout).observe(counts.row, at)
            self._jumped_at, self.jumped = at, {name: cause for name, _ in _keys(counts.layout)}
        elif self.jumped and at - self._jumped_at > max(self._windows):
            self.jumped = NO_REFUSALS

    def _observe_queues(self, sample: EngineSample, at: float) -> None:
        loads = {model: load.waiting for model, load in sample.models.items()}
        if not loads:
            loads = {"": sample.gauges.waiting}
        before = self._waiting_since
        since = {model: before.get(model, at) for model, waiting in loads.items() if _waits(waiting, model in before)}
        if since != before:
            self._waiting_since = since
            if self._summaries is not None:
                self._summaries = {window: self._requeued(known) for window, known in self._summaries.items()}

    def _requeued(self, summary: WindowSummary) -> WindowSummary:
        """The same window with the queues as they are now."""
        models = {None, *summary.models, *self._waiting_since}
        seen = {
            model: summary.models.get(model, _UNSEEN)._replace(waiting_since=self._since(model)) for model in models
        }
        return replace(summary, models=seen)

    def _since(self, model: str | None) -> float:
        """Since when requests of a model wait; an engine may not say of which model its queue is."""
        since = self._waiting_since
        if model is None:
            return min(since.values(), default=math.inf)
        return since.get(model, since.get("", math.inf))

    def summaries(self) -> Mapping[float, WindowSummary]:
        """What happened over windows that end at the latest observation or shortly before, by their lengths."""
        known = self._summaries
        if known is None or any(self._is_old(summary) for summary in known.values()):
            known = self._summaries = {window: self._summary(window) for window in self._windows}
        return known

    def _is_old(self, summary: WindowSummary) -> bool:
        # The second scrape is the first of which anything can be said.
        return not summary.covered_seconds or self._at - summary.at >= _SUM_UP_SECONDS

    def _summary(self, window: float) -> WindowSummary:
        histograms: dict[HistogramKey, Histogram] = {}
        rates: dict[CounterKey, float] = {}
        growth, covered = self._growth, 0.0
        times, totals = _latest(growth.series, window) if growth is not None else _NOTHING
        if growth is not None and len(times) > 1:
            covered = float(times[-1] - times[0])
            grown = totals[-1] - totals[0]
            counters = growth.layout.counters
            rates = dict(zip(counters, (grown[: len(counters)] / covered).tolist(), strict=True))
            histograms = Counts(growth.layout, grown).histograms
        every = with_wholes(histograms)
        _, gauges = _latest(self._gauges, window)
        waiting: float | None = None
        running: float | None = None
        longest: float | None = None
        if len(gauges) > 1:
            waiting, running = (np.add.reduce(gauges) / len(gauges)).tolist()
            longest = float(np.maximum.reduce(gauges[:, 0]))
        return WindowSummary(
            at=self._at,
            covered_seconds=covered,
            histograms=every,
            rates=rates,
            models=self._of_models(
                statistics(every), leaving_rates(histograms, rates, covered), prefill_seconds(every, rates, covered)
            ),
            waiting_average=waiting,
            waiting_maximum=longest,
            running_average=running,
        )

    def _of_models(
        self,
        observed: Mapping[str | None, Mapping[tuple[HistogramName, Statistic], float]],
        leaving: Mapping[str | None, float],
        prefill: Mapping[str | None, float],
    ) -> dict[str | None, ModelWindow]:
        found: dict[str | None, ModelWindow] = {}
        models: set[str | None] = {None, *observed, *leaving, *self._waiting_since}
        for model in models:
            found[model] = ModelWindow(
                leaving.get(model, math.nan),
                self._since(model),
                observed.get(model, _NOTHING_OBSERVED),
                prefill.get(model, math.nan),
            )
        return found

    def _series(self, width: int) -> BoundedSeries:
        return BoundedSeries(width, max(self._windows), min(_RESOLUTION_SECONDS, min(self._windows) / 4))


def _keys(layout: CountLayout) -> list[tuple[str, str]]:
    return [*layout.counters, *(key for key, _ in layout.histograms)]


_NOTHING: Final[tuple[FloatArray, FloatArray]] = (np.empty(0), np.empty((0, 0)))


def _waits(waiting: float | None, before: bool) -> bool:
    """Whether a queue is not empty; of one that is not reported that stays as it was."""
    return before if waiting is None else waiting > 0


def _latest(series: BoundedSeries, window: float) -> tuple[FloatArray, FloatArray]:
    """Times and values of the last `window` seconds of `series`; with the sample before them, where they cover less.

    Scrapes that are far apart, or late, would else leave a beginning of the window that no two samples span.
    """
    times = series.times
    if not len(times):
        return _NOTHING
    newest = times[-1]
    start = int(times.searchsorted(newest - window))
    covers_less = newest - times[start] < FULL_COVERAGE * window
    if start and covers_less and times[start] - times[start - 1] <= _LONGEST_GAP * window:
        start -= 1
    return times[start:], series.values[start:]


def _copied(old: BoundedSeries, new: BoundedSeries) -> BoundedSeries:
    for at, row in zip(old.times.tolist(), old.values, strict=True):
        new.append(at, row)
    return new
