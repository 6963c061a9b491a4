"""The reference picker's metrics of flow control under its names; those of before have the same labels."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.telemetry.histogram import Histogram
from picker.flow.reference.flow_counts import FlowCounts, PoolGauges
from picker.telemetry.metric_families import filled

_NOW, _BEFORE = "llm_d_epp_", "inference_extension_"
_MODELS = ("model_name", "target_model_name")
_FLOW = ("fairness_id", "priority")
_POOL = "inference_pool"
_UTILIZATION = "share of what may wait that waits"

_Rows = list[tuple[tuple[str, ...], float]]
_Histograms = dict[tuple[str, ...], Histogram]


class ReferenceFlowCollector(Collector):
    """What the reference shows of flow control; `pools` are the gauges of each, by its name."""

    def __init__(self, counts: FlowCounts, pools: Callable[[], Mapping[str, PoolGauges]]) -> None:
        self._counts = counts
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        """Every family, from the counts as they are now."""
        pools = self._pools()
        for prefix in (_NOW, _BEFORE):
            yield from self._requests(f"{prefix}flow_control_")
        yield from _saturation(pools)
        yield from self._outcomes()
        yield from _utilization(pools)
        yield from _revocations(pools)
        yield from _programs(pools)

    def _requests(self, prefix: str) -> Iterator[Metric]:
        counts = self._counts
        waited: _Histograms = {
            (labels.flow, labels.priority, outcome.value, labels.pool, labels.model, labels.target): histogram
            for (labels, outcome), histogram in counts.waited.items()
        }
        meaning = "time from a request to the end of its wait, by how it ended"
        names = (*_FLOW, "outcome", _POOL, *_MODELS)
        yield _histogram(f"{prefix}request_queue_duration_seconds", meaning, names, waited)
        meaning = "time that a turn of the queue took"
        yield _histogram(f"{prefix}dispatch_cycle_duration_seconds", meaning, (), {(): counts.turns})
        entered: _Histograms = {
            (flow, priority, outcome.value): each for (flow, priority, outcome), each in counts.entered.items()
        }
        meaning = "time that it took to let a request wait"
        yield _histogram(f"{prefix}request_enqueue_duration_seconds", meaning, (*_FLOW, "outcome"), entered)
        for name, of_what in (("queue_size", "requests"), ("queue_bytes", "bytes of requests")):
            sizes: _Rows = [
                (tuple(labels), float(held.requests if name == "queue_size" else held.size_bytes))
                for labels, held in counts.held.items()
            ]
            meaning = f"{of_what} that wait in the picker"
            yield filled(GaugeMetricFamily, f"{prefix}{name}", meaning, (*_FLOW, _POOL, *_MODELS), sizes)

    def _outcomes(self) -> Iterator[Metric]:
        rows: _Rows = [
            ((outcome.value, priority, pool), float(count))
            for (outcome, priority, pool), count in self._counts.outcomes.items()
        ]
        meaning = "requests whose wait ended, by how"
        labels = ("outcome", "priority", _POOL)
        yield filled(CounterMetricFamily, f"{_NOW}flow_control_requests", meaning, labels, rows)


def _saturation(pools: Mapping[str, PoolGauges]) -> Iterator[Metric]:
    rows: _Rows = [((pool, stage), value) for pool, each in pools.items() for stage, value in each.stages.items()]
    meaning = (
        "how full a pool is, 1 and more: requests wait; of the endpoints that prefill, that decode, and what counts"
    )
    yield filled(GaugeMetricFamily, f"{_NOW}flow_control_pool_saturation", meaning, (_POOL, "stage"), rows)
    effective: _Rows = [((pool,), each.stages["effective"]) for pool, each in pools.items()]
    meaning = "how full a pool is, 1 and more: requests wait"
    yield filled(GaugeMetricFamily, f"{_BEFORE}flow_control_pool_saturation", meaning, (_POOL,), effective)
    stale = defaultdict[str, float](float)
    for each in pools.values():
        stale[each.detector] += each.stale
    meaning = "endpoints that count as full because their load is unknown"
    yield filled(GaugeMetricFamily, f"{_NOW}flow_control_stale_endpoints", meaning, ("detector",), _rows(stale))


def _utilization(pools: Mapping[str, PoolGauges]) -> Iterator[Metric]:
    for place, unit in enumerate(("requests", "bytes")):
        bands: _Rows = [
            ((str(priority), pool), share)
            for pool, each in pools.items()
            for priority, shares in each.bands.items()
            if (share := shares[place]) is not None
        ]
        name = f"{_NOW}flow_control_capacity_utilization_{unit}"
        yield filled(GaugeMetricFamily, name, f"{_UTILIZATION} of a band, in {unit}", ("priority", _POOL), bands)
        overall: _Rows = [
            ((pool,), share) for pool, each in pools.items() if (share := each.overall[place]) is not None
        ]
        name = f"{_NOW}flow_control_global_capacity_utilization_{unit}"
        yield filled(GaugeMetricFamily, name, f"{_UTILIZATION} of all bands, in {unit}", (_POOL,), overall)


def _revocations(pools: Mapping[str, PoolGauges]) -> Iterator[Metric]:
    found = {pool: each.reclamation for pool, each in pools.items() if each.reclamation is not None}
    prefix = f"{_NOW}flow_control_"
    issued: _Rows = [
        ((str(priority), pool), float(count)) for pool, each in found.items() for priority, count in each.issued.items()
    ]
    meaning = "requests in flight that were taken back, by the priority of those that got their room"
    yield filled(CounterMetricFamily, f"{prefix}revocations_issued", meaning, ("priority", _POOL), issued)
    ends: _Rows = []
    for pool, each in found.items():
        ends += [(("confirmed", pool), float(each.confirmations.count)), (("timed_out", pool), float(each.timed_out))]
    meaning = "requests that were taken back, by whether they ended in time"
    yield filled(CounterMetricFamily, f"{prefix}revocations", meaning, ("outcome", _POOL), ends)
    missing: _Rows = [((pool,), each.missing) for pool, each in found.items()]
    meaning = "by how much the saturation was above the ceiling when requests were last taken back"
    yield filled(GaugeMetricFamily, f"{prefix}reclaim_target", meaning, (_POOL,), missing)
    pending: _Rows = [((pool,), each.pending) for pool, each in found.items()]
    meaning = "saturation that requests which were taken back will give free"
    yield filled(GaugeMetricFamily, f"{prefix}pending_reclaim", meaning, (_POOL,), pending)
    meaning = "time from taking a request back to its end"
    confirmations: _Histograms = {(pool,): each.confirmations for pool, each in found.items()}
    yield _histogram(f"{prefix}revocation_confirmation_seconds", meaning, (_POOL,), confirmations)


def _programs(pools: Mapping[str, PoolGauges]) -> Iterator[Metric]:
    prefix = f"{_NOW}program_aware_"
    indices = [each.fairness_index for each in pools.values() if each.fairness_index is not None]
    index: _Rows = [((), min(indices))] if indices else []
    meaning = "Jain's index over the mean waits of programs, of the pool where it is lowest"
    yield filled(GaugeMetricFamily, f"{prefix}jains_fairness_index", meaning, (), index)
    waits, served = defaultdict[str, float](float), defaultdict[str, float](float)
    for each in pools.values():
        for flow, program in each.programs.items():
            waits[flow] = max(waits[flow], 1e3 * program.mean_wait_seconds)
            served[flow] += program.served_tokens
    meaning = "mean wait of a program's requests, of the pool where it is longest"
    yield filled(GaugeMetricFamily, f"{prefix}avg_wait_time_milliseconds", meaning, ("program_id",), _rows(waits))
    meaning = "weighted tokens that a program was served, less what is forgotten"
    yield filled(GaugeMetricFamily, f"{prefix}attained_service_tokens", meaning, ("program_id",), _rows(served))


def _rows(values: Mapping[str, float]) -> _Rows:
    return [((name,), value) for name, value in values.items()]


def _histogram(name: str, meaning: str, labels: Iterable[str], histograms: _Histograms) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, meaning, labels=tuple(labels))
    for values, histogram in histograms.items():
        family.add_metric(values, histogram.buckets(), histogram.total)
    return family
