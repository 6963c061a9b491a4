"""The bill as Prometheus metrics: counters since start, as the accounts of endpoints were settled last."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from picker.directing.billing.bills import Bills
from picker.directing.billing.pool_bill import PoolBill
from picker.telemetry.metric_families import filled

_ROW: Final = ("pool", "tenant", "model", "adapter", "priority", "kind")
_POOL: Final = ("pool",)
_COUNTERS: Final[tuple[tuple[str, str, Callable[[PoolBill], float]], ...]] = (
    (
        "pool",
        "GPU-seconds of a pool's endpoints while they were ready, or not ready and still at work",
        lambda bill: bill.seconds,
    ),
    ("idle", "GPU-seconds of a pool in which nothing was in flight", lambda bill: bill.idle),
    (
        "recomputed",
        "GPU-seconds of a pool that engines took to compute again what they had preempted, estimated",
        lambda bill: bill.recomputed,
    ),
)
_GAUGES: Final[tuple[tuple[str, str, Callable[[PoolBill], float]], ...]] = (
    (
        "running_gpu_seconds",
        "GPU-seconds that requests in flight have had, in no counter yet",
        lambda bill: bill.running,
    ),
    ("ready_gpus", "GPUs of a pool's ready endpoints", lambda bill: bill.ready_gpus),
    (
        "endpoints_counted_as_one_gpu",
        "endpoints of a pool of which it is not known how many GPUs they have",
        lambda bill: bill.unknown_gpus,
    ),
)


class BillCollector(Collector):
    """`infscale_bill_*`: for each pool its GPU-seconds, and what became of them.

    At any time the counters of requests, of what is idle and computed again, and the gauge of what runs, add up to
    the pool's.
    """

    def __init__(self, bills: Bills) -> None:
        self._bills = bills

    def collect(self) -> Iterator[Metric]:
        """Every family, all of one moment: others of the event loop have their turns between two families."""
        yield from list(self._families())

    def _families(self) -> Iterator[Metric]:
        bills = {str(pool): bill for pool, bill in self._bills.by_pool().items()}
        yield filled(
            CounterMetricFamily,
            "infscale_bill_gpu_seconds",
            "GPU-seconds of requests that have ended, by what became of them: used, evicted, aborted, failed",
            _ROW,
            (
                ([pool, key.tenant, key.model, key.adapter, str(key.priority), ending], gpu_seconds)
                for pool, bill in bills.items()
                for key, row in ((row.key, row) for row in bill.rows.all)
                for ending, gpu_seconds in row.booked.items()
            ),
        )
        for name, meaning, read in _COUNTERS:
            samples = (([pool], read(bill)) for pool, bill in bills.items())
            yield filled(CounterMetricFamily, f"infscale_bill_{name}_gpu_seconds", meaning, _POOL, samples)
        for name, meaning, read in _GAUGES:
            samples = (([pool], read(bill)) for pool, bill in bills.items())
            yield filled(GaugeMetricFamily, f"infscale_bill_{name}", meaning, _POOL, samples)
