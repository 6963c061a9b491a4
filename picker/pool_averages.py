"""Averages of each pool under the reference picker's names, for dashboards and pickers that choose among clusters."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import PoolSnapshot
from infscale.telemetry import Snapshots

_LABELS = ("name", "pool")
_AVERAGES: Mapping[str, tuple[str, Callable[[PoolSnapshot], FloatArray]]] = {
    "llm_d_epp_average_queue_size": (
        "requests queued in the engine, average over ready endpoints",
        lambda pool: pool.columns.waiting,
    ),
    "llm_d_epp_average_running_requests": (
        "requests in the engine's running batch, average over ready endpoints",
        lambda pool: pool.columns.running,
    ),
    "llm_d_epp_average_kv_cache_utilization": (
        "share of KV-cache blocks in use, average over ready endpoints",
        lambda pool: pool.columns.kv_utilization,
    ),
}


class PoolAveragesCollector(Collector):
    """`llm_d_epp_*`: what the ready endpoints of each pool report on average, and how many of them are fresh.

    An endpoint that does not say a number has no part in its average; of a number that nobody says there is none.
    """

    def __init__(self, store: Snapshots, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Every family, each of the moment at which it is asked for."""
        now = self._clock()
        pools = [(pool, pool.columns.ready & pool.fresh(now)) for pool in self._store.snapshots()]
        for name, (meaning, read) in _AVERAGES.items():
            family = GaugeMetricFamily(name, meaning, labels=_LABELS)
            for pool, counted in pools:
                values = read(pool)[counted]
                known = values[np.isfinite(values)]
                if len(known):
                    family.add_metric([pool.pool.name, str(pool.pool)], float(known.mean()))
            yield family
        ready = GaugeMetricFamily(
            "llm_d_epp_ready_endpoints", "ready endpoints with a fresh observation", labels=_LABELS
        )
        for pool, counted in pools:
            ready.add_metric([pool.pool.name, str(pool.pool)], float(np.count_nonzero(counted)))
        yield ready
