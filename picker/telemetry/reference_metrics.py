"""The reference picker's metrics under its names of today and of before: twins of what infscale counts anyway.

Dashboards, alerts and autoscalers that were written for the reference find what they ask for. `llm_d_epp_` are its
names of today; `inference_objective_`, `inference_pool_` and `inference_extension_` are those of before, with fewer
labels.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.telemetry.histogram import Histogram, merged
from picker.directing.pool_directors import PoolDirectors
from picker.directing.served_models import ServedModels
from picker.directing.watching.observed_director import DECISION_BOUNDS
from picker.epp_config.factories.disagg_factories import OLDER_HANDLER
from picker.telemetry.metric_families import filled
from picker.telemetry.pool_averages import AVERAGED, READY, counted, known, short_names
from picker.telemetry.reference_counts import ReferenceCounts

_NOW = "llm_d_epp_"
_OBJECTIVE, _POOL, _EXTENSION = "inference_objective_", "inference_pool_", "inference_extension_"
_REQUEST = ("model_name", "target_model_name", "fairness_id", "priority")
_MODELS = _REQUEST[:2]
_SCHEDULER_BOUNDS = tuple([bound for bound in DECISION_BOUNDS if bound >= 0.0001])

_Numbers = dict[tuple[str, ...], float]
"""By labels."""


# Histograms of requests: the name here, that of the reference today, the one before, and what it is.
_OBSERVED: tuple[tuple[str, str, str | None, str], ...] = (
    ("duration", "request_duration_seconds", "request_duration_seconds", "time from a request to its end"),
    ("request_bytes", "request_size_bytes", "request_sizes", "size of request bodies in bytes"),
    ("response_bytes", "response_size_bytes", "response_sizes", "size of response bodies in bytes"),
    ("input_tokens", "request_input_tokens", "input_tokens", "prompt tokens that answers report"),
    ("output_tokens", "request_output_tokens", "output_tokens", "output tokens that answers report"),
    ("cached_tokens", "request_cached_tokens", "prompt_cached_tokens", "prompt tokens that were cached"),
    (
        "normalized",
        "request_ntpot_seconds",
        "normalized_time_per_output_token_seconds",
        "time from a request to its end, for each output token",
    ),
    ("token", "request_streaming_tpot_seconds", None, "time per output token after the first, of streams"),
)
_HISTOGRAMS_AT_ONCE = 8
# One index serves every plugin that asks for prefixes; this is the reference's name of what keeps it.
_PREFIXES = {"plugin_name": "approx-prefix-cache-producer", "plugin_type": "approx-prefix-cache-producer"}
_FIRST_TOKEN = {"first_token": "false", "first_token_streamed": "true"}


class ReferenceCollector(Collector):
    """What the reference counts of requests and decisions."""

    def __init__(self, counts: ReferenceCounts, durations: Histogram, directors: PoolDirectors, version: str) -> None:
        self._counts = counts
        self._durations = durations
        self._directors = directors
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Every family, from the counts as they are now."""
        yield from self._totals()
        for observed in _OBSERVED:
            yield from self._histograms(*observed)
        yield from self._first_tokens()
        yield from self._scheduler()
        yield from self._disaggregated()
        yield from self._prefixes(_NOW, _PREFIXES)
        yield from self._prefixes(_EXTENSION, {})
        for prefix in (_NOW, _EXTENSION):
            version = [(("", self._version), 1.0)]
            labels = ("commit", "build_ref")
            yield filled(GaugeMetricFamily, f"{prefix}info", "1, for the version of infscale", labels, version)

    def _totals(self) -> Iterator[Metric]:
        requests = self._counts.requests
        sent: _Numbers = {labels: each.requests for labels, each in requests.items()}
        meaning = "requests that were sent to an endpoint"
        yield filled(CounterMetricFamily, f"{_NOW}request", meaning, _REQUEST, sent.items())
        before = _summed(sent, 0, 1, 3)
        yield filled(CounterMetricFamily, f"{_OBJECTIVE}request", meaning, (*_MODELS, "priority"), before)
        errors: _Numbers = {
            (*labels, code): count for labels, each in requests.items() for code, count in each.errors.items()
        }
        meaning = (
            "requests that the picker refused, by the code of its answer, or whose endpoint answered with an error"
        )
        yield filled(CounterMetricFamily, f"{_NOW}request_error", meaning, (*_REQUEST, "error_code"), errors.items())
        before = _summed(errors, 0, 1, 4)
        yield filled(CounterMetricFamily, f"{_OBJECTIVE}request_error", meaning, (*_MODELS, "error_code"), before)
        running: _Numbers = {labels: each.running for labels, each in requests.items()}
        meaning = "requests that were sent to an endpoint and have not ended"
        yield filled(GaugeMetricFamily, f"{_NOW}request_running", meaning, _REQUEST, running.items())
        yield filled(GaugeMetricFamily, f"{_OBJECTIVE}running_requests", meaning, ("model_name",), _summed(running, 0))

    def _histograms(self, name: str, today: str, before: str | None, meaning: str) -> Iterator[Metric]:
        found: dict[tuple[str, ...], Histogram] = {
            labels: each.histograms[name] for labels, each in self._counts.requests.items() if name in each.histograms
        }
        yield from _parts(f"{_NOW}{today}", meaning, _REQUEST, found)
        if before is not None:
            groups: dict[tuple[str, ...], list[Histogram]] = defaultdict(list)
            for labels, histogram in found.items():
                groups[labels[:2]].append(histogram)
            sums = {labels: merged(histograms) for labels, histograms in groups.items()}
            yield from _parts(f"{_OBJECTIVE}{before}", meaning, _MODELS, sums)

    def _first_tokens(self) -> Iterator[Metric]:
        found: dict[tuple[str, ...], Histogram] = {
            (*labels, streaming): each.histograms[name]
            for labels, each in self._counts.requests.items()
            for name, streaming in _FIRST_TOKEN.items()
            if name in each.histograms
        }
        meaning = "time from a request to the first byte of its answer"
        return _parts(f"{_NOW}request_ttft_seconds", meaning, (*_REQUEST, "streaming"), found)

    def _scheduler(self) -> Iterator[Metric]:
        names = self._directors.names()
        self._counts.forget(names)
        for prefix, endpoint in ((_NOW, "endpoint_name"), (_EXTENSION, "pod_name")):
            durations = HistogramMetricFamily(f"{prefix}scheduler_e2e_duration_seconds", "time that a decision took")
            durations.add_metric((), self._durations.buckets(_SCHEDULER_BOUNDS), self._durations.total)
            yield durations
            attempts: _Numbers = {}
            for (status, model, authority), count in self._counts.attempts.items():
                namespace, _, name = names.get(authority, "").rpartition("/")
                attempts[status, model, name, namespace, authority.rpartition(":")[2]] = count
            yield filled(
                CounterMetricFamily,
                f"{prefix}scheduler_attempts",
                "decisions on requests with a body, by whether there was an endpoint, and by which",
                ("status", "target_model_name", endpoint, "namespace", "port"),
                attempts.items(),
            )

    def _disaggregated(self) -> Iterator[Metric]:
        labels = ("plugin_name", "plugin_type", "model_name", "decision_type")
        decisions = self._counts.disaggregated.items()
        meaning = "decisions of a profile handler for prefill and decode, by the stages that have an endpoint"
        yield filled(CounterMetricFamily, f"{_NOW}disagg_decision", meaning, labels, decisions)
        older = [(key, count) for key, count in decisions if key[1] == OLDER_HANDLER]
        yield filled(CounterMetricFamily, f"{_NOW}pd_decision", f"{meaning}, of {OLDER_HANDLER} alone", labels, older)

    def _prefixes(self, prefix: str, labels: Mapping[str, str]) -> Iterator[Metric]:
        names, values = tuple(labels), tuple(labels.values())
        blocks = sum(stats.prefix_blocks for stats in self._directors.stats().values())
        meaning = "blocks of prompts in the index of prefixes"
        yield filled(GaugeMetricFamily, f"{prefix}prefix_indexer_size", meaning, names, [(values, blocks)])
        meaning = "share of a prompt that the chosen endpoint was believed to have cached"
        yield from _parts(f"{prefix}prefix_indexer_hit_ratio", meaning, names, {values: self._counts.hit_ratios})
        meaning = "bytes of a prompt that the chosen endpoint was believed to have cached"
        yield from _parts(f"{prefix}prefix_indexer_hit_bytes", meaning, names, {values: self._counts.hit_bytes})


def _parts(
    name: str, meaning: str, labels: Sequence[str], histograms: Mapping[tuple[str, ...], Histogram]
) -> Iterator[Metric]:
    """A family of `histograms` in parts, at least one, so that nothing waits for all of a long one."""
    items = list(histograms.items())
    for start in range(0, max(1, len(items)), _HISTOGRAMS_AT_ONCE):
        family = HistogramMetricFamily(name, meaning, labels=labels)
        for values, histogram in items[start : start + _HISTOGRAMS_AT_ONCE]:
            family.add_metric(values, histogram.buckets(), histogram.total)
        yield family


def _summed(numbers: _Numbers, *places: int) -> Iterable[tuple[tuple[str, ...], float]]:
    """Sums of `numbers` by the labels at some places."""
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for labels, number in numbers.items():
        sums[tuple(labels[place] for place in places)] += number
    return sums.items()


class ReferencePoolCollector(Collector):
    """The reference's gauges of pools, beside the averages that are always published."""

    def __init__(self, store: MetricStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Every family, each of the moment at which it is asked for."""
        pools = counted(self._store, self._clock())
        names = short_names(pool.pool for pool, _ in pools)
        for name, (meaning, read) in AVERAGED.items():
            values = [((names[pool.pool],), found) for pool, rows in pools if len(found := known(read(pool)[rows]))]
            averages = ((pool, float(found.mean())) for pool, found in values)
            whole = f"{meaning}, average over ready endpoints"
            yield filled(GaugeMetricFamily, f"{_POOL}average_{name}", whole, ["name"], averages)
            spreads = ((pool, float(found.std())) for pool, found in values)
            whole = f"{meaning}, standard deviation over ready endpoints"
            yield filled(GaugeMetricFamily, f"{_NOW}std_dev_{name}", whole, ["name"], spreads)
        ready = (((names[pool.pool],), float(np.count_nonzero(rows))) for pool, rows in pools)
        yield filled(GaugeMetricFamily, f"{_POOL}ready_pods", READY, ["name"], ready)
        queues: _Numbers = {}
        for pool, rows in pools:
            waiting = pool.columns.gauges.waiting
            for row in np.flatnonzero(rows & np.isfinite(waiting)).tolist():
                name = str(pool.endpoints[row].key).partition("/")[2]
                queues[names[pool.pool], name] = float(waiting[row])
        meaning = "requests queued in the engine of an endpoint"
        for prefix, endpoint in ((f"{_NOW}per_endpoint", "endpoint"), (f"{_POOL}per_pod", "pod")):
            labels = ["name", f"model_server_{endpoint}"]
            yield filled(GaugeMetricFamily, f"{prefix}_queue_size", meaning, labels, queues.items())


def listed(snapshots: Iterable[PoolSnapshot], model: str) -> bool:
    """Whether any endpoint says that it has `model`, as a model or as a LoRA adapter."""
    return any(model in ServedModels.of(snapshot).names for snapshot in snapshots)
