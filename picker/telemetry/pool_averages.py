"""Averages of each pool under the reference picker's names, for dashboards and pickers that choose among clusters."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.endpoint import ObjectKey
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import BoolArray, PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from picker.telemetry.metric_families import filled

_LABELS = ("name", "pool")
AVERAGED: Mapping[str, tuple[str, Callable[[PoolSnapshot], FloatArray]]] = {
    "queue_size": ("requests queued in the engine", lambda pool: pool.columns.gauges.waiting),
    "running_requests": ("requests in the engine's running batch", lambda pool: pool.columns.gauges.running),
    "kv_cache_utilization": ("share of KV-cache blocks in use", lambda pool: pool.columns.gauges.kv_utilization),
}
"""What is averaged over the ready endpoints of a pool: its name, what it is, and where it stands."""
READY = "ready endpoints with a fresh observation"


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
        pools = counted(self._store, self._clock())
        labels = _LABELS if self._whole_names else _LABELS[:1]
        short = short_names(pool.pool for pool, _ in pools)
        names = {key: (key.name, str(key)) if self._whole_names else (name,) for key, name in short.items()}
        for name, (meaning, read) in AVERAGED.items():
            found = ((names[pool.pool], known(read(pool)[rows])) for pool, rows in pools)
            averages = ((values, float(numbers.mean())) for values, numbers in found if len(numbers))
            whole = f"{meaning}, average over ready endpoints"
            yield filled(GaugeMetricFamily, f"llm_d_epp_average_{name}", whole, labels, averages)
        ready = ((names[pool.pool], float(np.count_nonzero(rows))) for pool, rows in pools)
        yield filled(GaugeMetricFamily, "llm_d_epp_ready_endpoints", READY, labels, ready)


def counted(store: MetricStore, now: float) -> list[tuple[PoolSnapshot, BoolArray]]:
    """Every pool, with its rows that count: those that are ready and fresh at `now`."""
    return [(pool, pool.columns.ready & pool.fresh(now)) for pool in store.snapshots()]


def known(values: FloatArray) -> FloatArray:
    """Those of `values` that endpoints say."""
    return values[np.isfinite(values)]


def short_names(pools: Iterable[ObjectKey]) -> dict[ObjectKey, str]:
    """What the reference calls pools, which are in one namespace there; of two with one name the namespace is told."""
    keys = tuple(pools)
    common = Counter(key.name for key in keys)
    return {key: key.name if common[key.name] == 1 else str(key) for key in keys}
