"""The adapter's counts as Prometheus metrics, read when they are asked for."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from adapter.answering.forwarding import Forwarder, Outcome
from adapter.registering.api_services import ApiServices
from adapter.server.stats import AdapterStats


class AdapterCollector(Collector):
    """`infscale_adapter_*`: requests by kind of path and HTTP status, how long they took, and connections closed."""

    def __init__(
        self, stats: AdapterStats, api_services: ApiServices | None = None, forwarder: Forwarder | None = None
    ) -> None:
        self._stats = stats
        self._api_services = api_services
        self._forwarder = forwarder

    def collect(self) -> Iterator[Metric]:
        """Every family, from the counts as they are now."""
        requests = CounterMetricFamily(
            "infscale_adapter_requests",
            "requests that the metrics API server answered, by kind of path and HTTP status",
            labels=["kind", "status"],
        )
        for (kind, status), count in self._stats.requests.items():
            requests.add_metric([kind, str(status)], count)
        yield requests
        durations = HistogramMetricFamily(
            "infscale_adapter_request_duration_seconds",
            "time that the metrics API server took to answer a request, by kind of path",
            labels=["kind"],
        )
        for kind, taken in self._stats.durations.items():
            durations.add_metric([kind], taken.buckets(), taken.total)
        yield durations
        closed = CounterMetricFamily(
            "infscale_adapter_connections_closed",
            "connections that the metrics API server closed because of a limit, by cause",
            labels=["cause"],
        )
        for cause, count in self._stats.closed.counts.items():
            closed.add_metric([cause], count)
        yield closed
        kept = GaugeMetricFamily(
            "infscale_adapter_connections",
            "connections of the metrics API server, by whether a client certificate was verified",
            labels=["state"],
        )
        for state, count in self._stats.connections().items():
            kept.add_metric([state], count)
        yield kept
        yield from self._beside()

    def _beside(self) -> Iterator[Metric]:
        """What there is of other adapters."""
        owners = GaugeMetricFamily(
            "infscale_adapter_api_service_owner",
            "owner of a version of the metrics APIs in the cluster: infscale, keda, other or none; 1 for the current",
            labels=["api_service", "owner"],
        )
        lost = GaugeMetricFamily(
            "infscale_adapter_other_metrics_lost",
            "1 while HPAs ask infscale for custom metrics of another adapter, or the reverse, and do not find them",
        )
        if self._api_services is not None and self._api_services.ownership is not None:
            for each in self._api_services.ownership.services.values():
                owners.add_metric([each.name, each.known_owner], 1.0)
            verdict = self._api_services.verdict
            lost.add_metric([], float(verdict is not None and not verdict.is_settled))
        yield owners
        yield lost
        forwarded = CounterMetricFamily(
            "infscale_adapter_forwarded_requests",
            "requests that the metrics API server passed on to another adapter, by outcome",
            labels=["outcome"],
        )
        if self._forwarder is not None:
            for outcome in Outcome:
                forwarded.add_metric([outcome.value], self._forwarder.outcomes[outcome])
        yield forwarded
