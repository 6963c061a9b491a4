"""Readers of what happened over a window: quantiles of merged histograms, queue latency, rates."""

import math
from dataclasses import dataclass

import numpy as np

from infscale.metrics import functions
from infscale.metrics.sample import CounterName, FloatArray, Histogram, HistogramName
from infscale.metrics.snapshot import BoolArray, PoolSnapshot, WindowSummary

FULL_COVERAGE = 0.9
"""Share of the window observations must span for silence to mean that nothing happened."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no value, in words for a person, and how old the last one is (seconds; None: there was none)."""

    reason: str
    age_seconds: float | None = None


def _windows(snapshot: PoolSnapshot, rows: BoolArray) -> list[WindowSummary]:
    found = (snapshot.columns.windows[row] for row in np.flatnonzero(rows))
    return [window for window in found if window is not None]


def _merged(windows: list[WindowSummary], name: HistogramName, model: str | None) -> Histogram | None:
    return functions.merged(
        [
            histogram
            for window in windows
            for (found, of), histogram in window.histograms.items()
            if found == name and (model is None or of == model)
        ]
    )


def bounded_quantile(q: float, histogram: Histogram) -> float | None:
    """`histogram_quantile`, but never above mean ÷ (1 - q), which no quantile of non-negative values can exceed.

    Engines' first buckets are wide (vLLM's queue time: 0.3 s); interpolation alone would report 0.27 s as the p90 of
    waits of a millisecond. Source of the bound: Markov's inequality.
    """
    value = functions.histogram_quantile(q, histogram)
    if value is None or q >= 1 or histogram.sum < 0:
        return value
    return min(value, histogram.sum / histogram.total / (1 - q))


@dataclass(frozen=True, slots=True)
class HistogramReader:
    """A quantile of what the endpoints observed over the window, their histograms merged."""

    histogram: HistogramName
    quantile: float

    def read(self, snapshot: PoolSnapshot, usable: BoolArray, model: str | None) -> float | Unknown:
        """Seconds, or why not."""
        windows = _windows(snapshot, usable)
        merged = _merged(windows, self.histogram, model)
        value = None if merged is None else bounded_quantile(self.quantile, merged)
        return _nothing_observed(snapshot) if value is None else value


@dataclass(frozen=True, slots=True)
class QueueLatency:
    """How long requests wait for their first step.

    The larger of (a) the quantile of the engines' queue times over the window, which knows only waits that are over,
    and (b) waiting ÷ rate of leaving the queue (Little's law), which knows those that are not; with nobody leaving, (b)
    is the time since the queue became non-empty. A fully covered window in which nobody arrived and nobody waits is 0.
    """

    quantile: float

    def read(
        self, snapshot: PoolSnapshot, now: float, usable: BoolArray, model: str | None, waiting: float
    ) -> float | Unknown:
        """Seconds, or why not; `waiting` is the group's number of waiting requests, NaN where unknown."""
        windows = _windows(snapshot, usable)
        merged = _merged(windows, "queue_time", model)
        past = None if merged is None else bounded_quantile(self.quantile, merged)
        current = self._current(windows, now, model, waiting, merged)
        known = [value for value in (past, current) if value is not None]
        if known:
            return max(known)
        covered = min((window.covered_seconds for window in windows), default=0.0)
        if waiting == 0 and covered >= FULL_COVERAGE * snapshot.state.settings.window_seconds:
            return 0.0
        return _nothing_observed(snapshot)

    def _current(
        self, windows: list[WindowSummary], now: float, model: str | None, waiting: float, merged: Histogram | None
    ) -> float | None:
        if not waiting or math.isnan(waiting):
            return None
        leaving = _leaving_rate(windows, model, merged)
        if leaving > 0:
            return waiting / leaving
        since = [
            at for window in windows for of, at in window.waiting_since.items() if model is None or of in {model, ""}
        ]
        return now - min(since) if since else None


def _leaving_rate(windows: list[WindowSummary], model: str | None, merged: Histogram | None) -> float:
    """Requests per second that left the queues; engines without a queue-time histogram count by those that finish."""
    covered = max((window.covered_seconds for window in windows), default=0.0)
    if merged is not None and covered > 0:
        return merged.total / covered
    finished = (
        rate
        for window in windows
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


def _nothing_observed(snapshot: PoolSnapshot) -> Unknown:
    window = snapshot.state.settings.window_seconds
    return Unknown(f"nothing of it was observed on {snapshot.pool} in the last {window:g} s")
