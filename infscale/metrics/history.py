"""What one endpoint reported lately, and its summary over a window."""

import numpy as np

from infscale.metrics import functions
from infscale.metrics.sample import CounterName, EngineSample, Histogram, HistogramName
from infscale.metrics.series import BoundedSeries
from infscale.metrics.snapshot import WindowSummary

_RESOLUTION_SECONDS = 0.5


class EndpointHistory:
    """Recent counters, histograms and queue state of one endpoint.

    Retention is one window, so that a summary always looks at all that is kept. Restarts show as counter resets. A
    histogram whose bounds change starts over: its old counts say nothing about the new buckets.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._resolution = min(_RESOLUTION_SECONDS, window_seconds / 4)
        self._scrapes = self._series(1)
        self._gauges = self._series(2)
        self._counters: dict[tuple[CounterName, str], BoundedSeries] = {}
        self._histograms: dict[tuple[HistogramName, str], tuple[tuple[float, ...], BoundedSeries]] = {}
        self._waiting_since: dict[str, float] = {}

    def observe(self, sample: EngineSample, at: float) -> None:
        """Take in one scrape that started at `at`."""
        self._scrapes.append(at, 1.0)
        if sample.waiting is not None and sample.running is not None:
            self._gauges.append(at, np.array((sample.waiting, sample.running)))
        for counter, value in sample.counters.items():
            self._counters.setdefault(counter, self._series(1)).append(at, value)
        for name, histogram in sample.histograms.items():
            bounds, series = self._histograms.get(name, ((), None))
            if series is None or bounds != histogram.bounds:
                series = self._series(len(histogram.bounds) + 1)
                self._histograms[name] = (histogram.bounds, series)
            series.append(at, np.append(histogram.counts, histogram.sum))
        self._observe_queues(sample, at)

    def _observe_queues(self, sample: EngineSample, at: float) -> None:
        loads = {model: load.waiting for model, load in sample.models.items()}
        if not loads:
            loads = {"": sample.waiting}
        for model, waiting in loads.items():
            if waiting:
                self._waiting_since.setdefault(model, at)
            elif waiting == 0:
                self._waiting_since.pop(model, None)
        for model in self._waiting_since.keys() - loads.keys():
            del self._waiting_since[model]

    def summary(self, at: float) -> WindowSummary:
        """What happened over the window that ends at `at`, the latest observation."""
        start = at - self._window
        histograms: dict[tuple[HistogramName, str], Histogram] = {}
        for name, (bounds, series) in self._histograms.items():
            grown = functions.raw_increase(series.times, series.values, start, at)
            if grown is not None:
                histograms[name] = Histogram(bounds, grown[:-1], float(grown[-1]))
        covered = functions.coverage(self._scrapes.times, start, at)
        rates: dict[tuple[CounterName, str], float] = {}
        for counter, series in self._counters.items():
            per_second = functions.rate(series.times, series.values[:, 0], at - covered, at)
            if per_second is not None:
                rates[counter] = per_second
        gauges = self._gauges
        return WindowSummary(
            covered_seconds=covered,
            histograms=histograms,
            rates=rates,
            waiting_since=dict(self._waiting_since),
            waiting_average=functions.avg_over_time(gauges.times, gauges.values[:, 0], start, at),
            waiting_maximum=functions.max_over_time(gauges.times, gauges.values[:, 0], start, at),
            running_average=functions.avg_over_time(gauges.times, gauges.values[:, 1], start, at),
        )

    def _series(self, width: int) -> BoundedSeries:
        return BoundedSeries(width, self._window, self._resolution)
