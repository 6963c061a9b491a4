"""What waits in the picker, as Prometheus metrics, read when they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.endpoint import ObjectKey
from picker.directing.holding.flow_stats import TenantStats
from picker.directing.holding.pool_flow import PoolFlow
from picker.flow.budgets import Sums
from picker.telemetry.metric_families import filled

_WAITING: Final[tuple[tuple[str, str, Callable[[Sums], float]], ...]] = (
    ("requests", "requests that wait in the picker until an endpoint can begin them", lambda sums: sums.requests),
    ("bytes", "bytes of the bodies of requests that wait", lambda sums: sums.size_bytes),
    ("prompt_tokens", "estimated prompt tokens of requests that wait", lambda sums: sums.tokens),
    ("gpu_seconds", "estimated GPU seconds that requests which wait will take", lambda sums: sums.seconds),
)
_BAND: Final = ("pool", "priority")
_TENANT: Final = (*_BAND, "tenant")
_COUNTED: Final[tuple[tuple[str, str, Callable[[TenantStats], float]], ...]] = (
    ("let_go", "requests of a tenant that were let go to an endpoint", lambda stats: stats.let_go),
    ("refused", "requests of a tenant that were to wait and were refused", lambda stats: stats.refused),
    ("wait_seconds", "seconds that the let go requests of a tenant have waited", lambda stats: stats.waited_seconds),
    ("gpu_seconds", "estimated GPU seconds of the ended requests of a tenant", lambda stats: stats.gpu_seconds),
)


class FlowCollector(Collector):
    """`infscale_flow_*`: what waits for each pool, in each band that anything has waited or passed in."""

    def __init__(self, flows: Callable[[], Mapping[ObjectKey, PoolFlow]]) -> None:
        self._flows = flows

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        flows = {str(pool): flow for pool, flow in self._flows().items()}
        bands = [
            (pool, str(priority), flow.queue.band(priority))
            for pool, flow in flows.items()
            for priority in sorted({*flow.stats.waits, *flow.queue.priorities})
        ]
        for name, meaning, read in _WAITING:
            samples = (([pool, priority], read(sums)) for pool, priority, sums in bands)
            yield filled(GaugeMetricFamily, f"infscale_flow_waiting_{name}", meaning, _BAND, samples)
        waits = HistogramMetricFamily(
            "infscale_flow_wait_seconds",
            "how long requests waited that were let go to an endpoint, 0 where they did not have to",
            labels=_BAND,
        )
        for pool, flow in flows.items():
            for priority, histogram in flow.stats.waits.items():
                waits.add_metric([pool, str(priority)], histogram.buckets(), histogram.total)
        yield waits
        yield filled(
            CounterMetricFamily,
            "infscale_flow_refusals",
            "requests that were to wait and were refused, by reason",
            [*_BAND, "reason"],
            (
                ([pool, str(priority), reason.value], count)
                for pool, flow in flows.items()
                for (priority, reason), count in flow.stats.refusals.items()
            ),
        )
        yield filled(
            CounterMetricFamily,
            "infscale_flow_evictions",
            "requests taken back in flight for others, by what these lacked: prompts, cache, token_time, batch",
            [*_BAND, "reason"],
            (
                ([pool, str(priority), cause], count)
                for pool, flow in flows.items()
                for (priority, cause), count in flow.preemption.evictions.items()
            ),
        )
        yield from _of_tenants(flows)
        yield filled(
            GaugeMetricFamily,
            "infscale_flow_tenant_budget_credit_gpu_seconds",
            "GPU-seconds that a tenant may have now by its budget; it is over that where they are not above 0",
            ("pool", "tenant"),
            (
                ([pool, tenant], gpu_seconds)
                for pool, flow in flows.items()
                for tenant, gpu_seconds in flow.budget_credits().items()
            ),
        )
        meaning = "requests whose client or gateway left while they waited"
        given_up = (([pool], flow.stats.given_up) for pool, flow in flows.items())
        yield filled(CounterMetricFamily, "infscale_flow_given_up", meaning, ["pool"], given_up)


def _of_tenants(flows: Mapping[str, PoolFlow]) -> Iterator[Metric]:
    """What waits and what became of it, by the tenants that are counted on their own."""
    waiting: dict[tuple[str, int, str], float] = {}
    for pool, flow in flows.items():
        for priority, tenant in flow.stats.tenants:
            waiting[pool, priority, tenant] = 0
        for band, name, count in flow.queue.flows():
            priority, tenant = flow.stats.shown(band, name)
            waiting[pool, priority, tenant] = waiting.get((pool, priority, tenant), 0) + count
    meaning = "requests of a tenant that wait; tenants beyond the first 64 are together in `other`"
    samples = (([pool, str(priority), tenant], count) for (pool, priority, tenant), count in waiting.items())
    yield filled(GaugeMetricFamily, "infscale_flow_tenant_waiting_requests", meaning, _TENANT, samples)
    for name, meaning, read in _COUNTED:
        samples = (
            ([pool, str(priority), tenant], read(stats))
            for pool, flow in flows.items()
            for (priority, tenant), stats in flow.stats.tenants.items()
        )
        yield filled(CounterMetricFamily, f"infscale_flow_tenant_{name}", meaning, _TENANT, samples)
