"""Readers of what happened over a window: quantiles of merged histograms, queue latency, rates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infscale.metrics import functions
from infscale.metrics.sample import CounterName, FloatArray, Histogram, HistogramName
from infscale.metrics.snapshot import PoolSnapshot, WindowSummary

FULL_COVERAGE = 0.9
"""Share of the window observations must span for silence to mean that nothing happened."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no value, in words for a person, and how old the last one is (seconds; None: there was none)."""

    reason: str
    age_seconds: float | None = None


Windows = Sequence[WindowSummary]
"""The windows of endpoints that make one value."""


def _merged(windows: Windows, name: HistogramName, model: str | None) -> Histogram | None:
    return functions.merged(
        [
            histogram
            for window in windows
            for (found, of), histogram in window.histograms.items()
            if found == name and (model is None or of == model)
        ]
    )


def bounded_quantiles(q: float, histograms: Sequence[Histogram | None]) -> list[float]:
    """`histogram_quantile` of each, but never above mean ÷ (1 - q), which no quantile of non-negative values exceeds.

    Engines' first buckets are wide (vLLM's queue time: 0.3 s); interpolation alone would report 0.27 s as the p90 of
    waits of a millisecond. Source of the bound: Markov's inequality. NaN where nothing was observed.
    """
    alike: dict[tuple[float, ...], list[int]] = {}
    for place, histogram in enumerate(histograms):
        if histogram is not None:
            alike.setdefault(histogram.bounds, []).append(place)
    values = [math.nan] * len(histograms)
    for bounds, places in alike.items():
        found = [histogram for place in places if (histogram := histograms[place]) is not None]
        counts = np.array([histogram.counts for histogram in found])
        sums = np.array([histogram.sum for histogram in found])
        quantiles = functions.histogram_quantiles(q, bounds, counts)
        if q < 1:
            with np.errstate(divide="ignore", invalid="ignore"):
                limits = np.where(sums >= 0, sums / counts[:, -1] / (1 - q), math.inf)
            quantiles = np.minimum(quantiles, limits)
        for place, value in zip(places, quantiles.tolist(), strict=True):
            values[place] = value
    return values


@dataclass(frozen=True, slots=True)
class HistogramReader:
    """A quantile of what endpoints observed over the window, their histograms merged."""

    histogram: HistogramName
    quantile: float

    def each(self, groups: Sequence[Windows], model: str | None) -> list[float]:
        """Seconds for each group, NaN where nothing was observed."""
        return bounded_quantiles(self.quantile, [_merged(windows, self.histogram, model) for windows in groups])


@dataclass(frozen=True, slots=True)
class QueueLatency:
    """How long requests wait for their first step.

    The larger of (a) the quantile of the engines' queue times over the window, which knows only waits that are over,
    and (b) waiting ÷ rate of leaving the queue (Little's law), which knows those that are not; with nobody leaving, (b)
    is the time since the queue became non-empty. A fully covered window in which nobody arrived and nobody waits is 0.
    """

    quantile: float

    def each(
        self,
        groups: Sequence[Windows],
        waiting: Sequence[float],
        now: float,
        model: str | None,
        window_seconds: float,
    ) -> list[float]:
        """Seconds for each group, NaN where unknown; `waiting` are the requests that wait in each (NaN: unknown)."""
        past = bounded_quantiles(self.quantile, [_merged(windows, "queue_time", model) for windows in groups])
        values: list[float] = []
        for windows, count, gone in zip(groups, waiting, past, strict=True):
            current = _current(windows, count, now, model) if count > 0 else math.nan
            if math.isnan(gone) and math.isnan(current):
                covered = min((window.covered_seconds for window in windows), default=0.0)
                silent = count == 0 and covered >= FULL_COVERAGE * window_seconds
                values.append(0.0 if silent else math.nan)
            else:
                values.append(current if math.isnan(gone) or current > gone else gone)
        return values


def _current(windows: Windows, waiting: float, now: float, model: str | None) -> float:
    """How long the last of those who wait will have waited; NaN where nothing says so."""
    # Endpoints seen for different times leave at rates, not at counts, that may be added.
    leaving = sum(_leaving_rate(window, model) for window in windows)
    if leaving > 0:
        return waiting / leaving
    since = [at for window in windows for of, at in window.waiting_since.items() if model is None or of in {model, ""}]
    return now - min(since) if since else math.nan


def _leaving_rate(window: WindowSummary, model: str | None) -> float:
    """Requests per second that left the queue; engines without a queue-time histogram count by those that finish."""
    left = [
        histogram.total
        for (name, of), histogram in window.histograms.items()
        if name == "queue_time" and (model is None or of == model)
    ]
    if left:
        return sum(left) / window.covered_seconds
    finished = (
        rate
        for (name, of), rate in window.rates.items()
        if name == "requests_finished" and (model is None or of == model)
    )
    return sum(finished)


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
        rates = [
            rate for (name, of), rate in window.rates.items() if name == self.counter and (model is None or of == model)
        ]
        return sum(rates) if rates else math.nan
