"""What went to another pool or model, as Prometheus metrics, read when they are asked for."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from picker.directing.falling_back.fallback_books import FallbackBooks, Way
from picker.telemetry.metric_families import filled

_WAY: Final = ("pool", "to", "model")


class FallbackCollector(Collector):
    """`infscale_fallback_*`: by the pool that requests were for, the pool they went to, and the model there."""

    def __init__(self, books: FallbackBooks) -> None:
        self._books = books

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        books = self._books
        yield filled(
            CounterMetricFamily,
            "infscale_fallback_requests",
            'requests that went to another pool or model than they were for (model: "" the one asked for), by reason: '
            "unavailable, waited, forecast, refused",
            (*_WAY, "reason"),
            (([*_labels(way), why.value], count) for (way, why), count in books.went.items()),
        )
        yield filled(
            GaugeMetricFamily,
            "infscale_fallback_open_requests",
            "requests that are at another pool or model now, waiting or in flight",
            _WAY,
            ((_labels(way), count) for way, count in books.there.items()),
        )
        yield filled(
            CounterMetricFamily,
            "infscale_fallback_limited",
            "requests that at some time could not go to another pool or model, as many were there as may be",
            _WAY,
            ((_labels(way), count) for way, count in books.limited.items()),
        )


def _labels(way: Way) -> list[str]:
    return [str(way.pool), str(way.target.pool), way.target.model or ""]
