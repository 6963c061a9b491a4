"""What the external scaler counts, as Prometheus metrics."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

STREAMS: tuple[str, ...] = ("StreamIsActive", "StreamMetricSpec")
METHODS = ("IsActive", "GetMetricSpec", "GetMetrics", *STREAMS)
"""The methods of KEDA's protocol."""


class ScalerCounts:
    """Counts calls that ended, by method and code, and what was sent on streams. Keys are ours: none is a client's."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], int] = {}
        self.open = dict.fromkeys(STREAMS, 0)
        """Streams that are open, by method."""
        self.pushes = dict.fromkeys(STREAMS, 0)
        """Messages sent on streams, by method."""

    def ended(self, method: str, code: str) -> None:
        """Count a call that ended with a gRPC status code."""
        self._calls[method, code] = self._calls.get((method, code), 0) + 1

    @property
    def calls(self) -> Mapping[tuple[str, str], int]:
        """Calls by method and code, as they are now."""
        return dict(self._calls)


class ScalerCollector(Collector):
    """`infscale_keda_*`: calls by method and code, open streams, and messages on them."""

    def __init__(self, counts: ScalerCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Every family, from the counts as they are now."""
        calls = CounterMetricFamily(
            "infscale_keda_calls",
            "calls of KEDA to the external scaler that ended, by method and gRPC status",
            labels=["method", "status"],
        )
        for (method, code), count in self._counts.calls.items():
            calls.add_metric([method, code], count)
        yield calls
        streams = GaugeMetricFamily("infscale_keda_streams", "open streams of KEDA, by method", labels=["method"])
        for method, count in self._counts.open.items():
            streams.add_metric([method], count)
        yield streams
        pushes = CounterMetricFamily(
            "infscale_keda_pushes",
            "messages sent to KEDA on streams, by method: a state that changed, or the state as a stream opens",
            labels=["method"],
        )
        for method, count in self._counts.pushes.items():
            pushes.add_metric([method], count)
        yield pushes
