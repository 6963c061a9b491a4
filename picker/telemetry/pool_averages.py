"""Averages of each pool under the reference picker's names, for dashboards and pickers that choose among clusters."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.endpoint import ObjectKey
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore

_LABELS = ("name", "pool")
_AVERAGES: Mapping[str, tuple[str, Callable[[PoolSnapshot], FloatArray]]] = {
    "llm_d_epp_average_queue_size": (
        "requests queued in the engine, average over ready endpoints",
        lambda pool: pool.columns.gauges.waiting,
    ),
    "llm_d_epp_average_running_requests": (
        "requests in the engine's running batch, average over ready endpoints",
        lambda pool: pool.columns.gauges.running,
    ),
    "llm_d_epp_average_kv_cache_utilization": (
        "share of KV-cache blocks in use, average over ready endpoints",
        lambda pool: pool.columns.gauges.kv_utilization,
    ),
}


class PoolAveragesCollector(Collector):
    """`llm_d_epp_*`: what the ready endpoints of each pool report on average, and how many of them are fresh.

    An endpoint that does not say a number has no part in its average; where no endpoint says the number there is none.
    Without `whole_names` pools have the one label that the reference gives them, `name`.
    """

    def __init__(self, store: MetricStore, clock: Callable[[], float], *, whole_names: bool = True) -> None:
        self._store = store
        self._clock = clock
        self._whole_names = whole_names

    def collect(self) -> Iterator[Metric]:
        """Every family, each of the moment at which it is asked for."""
        now = self._clock()
        pools = [(pool, pool.columns.ready & pool.fresh(now)) for pool in self._store.snapshots()]
        labels = _LABELS if self._whole_names else _LABELS[:1]
        short = short_names([pool.pool for pool, _ in pools])
        names = {key: (key.name, str(key)) if self._whole_names else (name,) for key, name in short.items()}
        for name, (meaning, read) in _AVERAGES.items():
            family = GaugeMetricFamily(name, meaning, labels=labels)
            for pool, counted in pools:
                values = read(pool)[counted]
                known = values[np.isfinite(values)]
                if len(known):
                    family.add_metric(names[pool.pool], float(known.mean()))
            yield family
        meaning = "ready endpoints with a fresh observation"
        ready = GaugeMetricFamily("llm_d_epp_ready_endpoints", meaning, labels=labels)
        for pool, counted in pools:
            ready.add_metric(names[pool.pool], float(np.count_nonzero(counted)))
        yield ready


def short_names(pools: Iterable[ObjectKey]) -> dict[ObjectKey, str]:
    """What the reference calls pools, which are in one namespace there; of two with one name the namespace is told."""
    keys = tuple(pools)
    common = Counter(key.name for key in keys)
    return {key: key.name if common[key.name] == 1 else str(key) for key in keys}
