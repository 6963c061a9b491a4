"""The adapter's counts as Prometheus metrics, read when they are asked for."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from adapter.stats import DURATION_BOUNDS, AdapterStats


class AdapterCollector(Collector):
    """`infscale_adapter_*`: requests by kind of path and status code, how long they took, and connections closed."""

    def __init__(self, stats: AdapterStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Every family, from the counts as they are now."""
        requests = CounterMetricFamily(
            "infscale_adapter_requests", "requests answered, by kind of path and status code", labels=["kind", "code"]
        )
        for (kind, code), count in self._stats.requests.items():
            requests.add_metric([kind, str(code)], count)
        yield requests
        durations = HistogramMetricFamily(
            "infscale_adapter_request_duration_seconds", "time to answer a request", labels=["kind"]
        )
        bounds = [*map(str, DURATION_BOUNDS), "+Inf"]
        for kind, taken in self._stats.durations.items():
            buckets = list(zip(bounds, map(float, accumulate(taken.counts)), strict=True))
            durations.add_metric([kind], buckets, taken.sum_seconds)
        yield durations
        closed = CounterMetricFamily(
            "infscale_adapter_connections_closed", "connections closed because of a limit, by cause", labels=["cause"]
        )
        for cause, count in self._stats.closed.counts.items():
            closed.add_metric([cause], count)
        yield closed
