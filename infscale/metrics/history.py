"""What one endpoint reported lately, and its summary over a window."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from infscale.metrics.sample import CounterName, EngineSample, FloatArray, Histogram, HistogramName
from infscale.metrics.series import BoundedSeries
from infscale.metrics.snapshot import WindowSummary

_RESOLUTION_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where each counter and histogram stands in one flat row: counters first, then buckets and sum of histograms."""

    counters: tuple[tuple[CounterName, str], ...]
    histograms: tuple[tuple[tuple[HistogramName, str], tuple[float, ...]], ...]

    @classmethod
    def of(cls, sample: EngineSample) -> "_Layout":
        return cls(
            tuple(sample.counters), tuple((name, histogram.bounds) for name, histogram in sample.histograms.items())
        )

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return len(self.counters) + sum(len(bounds) + 1 for _, bounds in self.histograms)


def _row(sample: EngineSample) -> FloatArray:
    parts: list[Iterable[float]] = [tuple(sample.counters.values())]
    for histogram in sample.histograms.values():
        parts += (histogram.counts, (histogram.sum,))
    return np.concatenate(parts)  # type: ignore[arg-type] # tuples are array-like


class _Growth:
    """Counters and histograms of one layout as what they grew by since the first sample, restarts taken out.

    A restart shows as a fall of any of them; all have then started from 0.
    """

    def __init__(self, layout: _Layout, series: BoundedSeries) -> None:
        self.layout = layout
        self.series = series
        self._last: FloatArray | None = None
        self._total: FloatArray = np.zeros(layout.width)

    def observe(self, row: FloatArray, at: float) -> None:
        if self._last is not None:
            step = row - self._last
            self._total = self._total + (row if step.size and step.min() < 0 else step)
        self._last = row
        self.series.append(at, self._total)

    @property
    def covered_seconds(self) -> float:
        times = self.series.times
        return float(times[-1] - times[0]) if len(times) else 0.0


class EndpointHistory:
    """Recent counters, histograms and queue state of one endpoint.

    It keeps one window, so that a summary always looks at all there is. What an engine publishes is stable; where its
    names or buckets change, counting starts over, because the old counts say nothing about the new ones.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window = window_seconds
        self._resolution = min(_RESOLUTION_SECONDS, window_seconds / 4)
        self._gauges = self._series(2)
        self._growth: _Growth | None = None
        self._waiting_since: dict[str, float] = {}

    def observe(self, sample: EngineSample, at: float) -> None:
        """Take in one scrape that started at `at`."""
        if sample.waiting is not None and sample.running is not None:
            self._gauges.append(at, np.array((sample.waiting, sample.running)))
        elif len(self._gauges):
            self._gauges = self._series(2)
        layout = _Layout.of(sample)
        if self._growth is None or self._growth.layout != layout:
            self._growth = _Growth(layout, self._series(layout.width))
        self._growth.observe(_row(sample), at)
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

    def summary(self) -> WindowSummary:
        """What happened over the window that ends at the latest observation."""
        growth = self._growth
        histograms: dict[tuple[HistogramName, str], Histogram] = {}
        rates: dict[tuple[CounterName, str], float] = {}
        covered = growth.covered_seconds if growth is not None else 0.0
        if growth is not None and covered > 0:
            grown = growth.series.values[-1] - growth.series.values[0]
            counters = growth.layout.counters
            per_second = (grown[: len(counters)] / covered).tolist()
            rates = dict(zip(counters, per_second, strict=True))
            start = len(counters)
            for name, bounds in growth.layout.histograms:
                stop = start + len(bounds)
                histograms[name] = Histogram(bounds, grown[start:stop], float(grown[stop]))
                start = stop + 1
        gauges = self._gauges.values
        averages = gauges.mean(axis=0).tolist() if len(gauges) else (None, None)
        return WindowSummary(
            covered_seconds=covered,
            histograms=histograms,
            rates=rates,
            waiting_since=dict(self._waiting_since),
            waiting_average=averages[0],
            waiting_maximum=float(gauges[:, 0].max()) if len(gauges) else None,
            running_average=averages[1],
        )

    def _series(self, width: int) -> BoundedSeries:
        return BoundedSeries(width, self._window, self._resolution)
