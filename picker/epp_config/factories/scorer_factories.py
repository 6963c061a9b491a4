"""Factories of scorers."""

from collections.abc import Callable, Mapping

from infscale.documents.strict_document import Field
from infscale.metrics.published.gpu_readers import GPU_STALENESS_SECONDS
from picker.epp_config.factories.filter_factories import attribute_of, context_length
from picker.epp_config.parameters import Given, plain
from picker.scheduling.endpoint_attributes import EndpointAttributeScorer
from picker.scheduling.scorers.affinity import (
    HeaderLabelAffinityScorer,
    LoraAffinityScorer,
    MediaCacheScorer,
    NoHitLruScorer,
    PrefixCacheScorer,
)
from picker.scheduling.scorers.condition import GpuMemoryScorer, StalenessDiscountScorer
from picker.scheduling.scorers.latency import STRATEGIES, LatencyScorer
from picker.scheduling.scorers.load import (
    ActiveRequestScorer,
    KvCacheUtilizationScorer,
    LoadAwareScorer,
    QueueScorer,
    RunningRequestsScorer,
)
from picker.scheduling.scorers.marginal_cost import MarginalCostScorer
from picker.scheduling.scorers.price import COST_LABEL, SPEED_LABEL, SpeedAndCostScorer
from picker.scheduling.scorers.tokens import SCALINGS, InFlightTokensScorer, LmetricScorer, TokenLoadScorer
from picker.scheduling.stages import Scorer

_PRODUCERS = ("prefixMatchInfoProducerName", "inFlightLoadProducerName")
_LINES = ("linear_lower_is_better", "linear_higher_is_better")


def _load_aware(given: Given) -> Scorer:
    return LoadAwareScorer(given.read("threshold").positive("threshold", 128.0))


def _active_request(given: Given) -> Scorer:
    # requestTimeout has no effect in the reference either: what is in flight ends with its exchange.
    parameters = given.read("idleThreshold", "maxBusyScore", "requestTimeout")
    return ActiveRequestScorer(
        parameters.number("idleThreshold", 0.0), parameters.number("maxBusyScore", 1.0, 0.0, 1.0)
    )


def _token_load(given: Given) -> Scorer:
    parameters = given.read("queueThresholdTokens", *_PRODUCERS)
    return TokenLoadScorer(parameters.positive("queueThresholdTokens", 4_194_304.0))


def _in_flight_tokens(given: Given) -> Scorer:
    return InFlightTokensScorer(given.read("scaling").one_of("scaling", SCALINGS, "request"))


def _marginal_cost(given: Given) -> Scorer:
    default = MarginalCostScorer()
    parameters = given.read("recomputeWeight", "decodeWeight", "batchWeight", "scale", *_PRODUCERS)
    return MarginalCostScorer(
        parameters.number("recomputeWeight", default.recompute_weight, 0.0),
        parameters.number("decodeWeight", default.decode_weight, 0.0),
        parameters.number("batchWeight", default.batch_weight, 0.0),
        parameters.seconds("scale", default.scale_seconds),
    )


def _prefix_cache(given: Given) -> Scorer:
    parameters = given.read("matchLengthWeight", "matchLengthScaleTokens", "prefixMatchInfoProducerName")
    return PrefixCacheScorer(
        parameters.number("matchLengthWeight", 0.0, 0.0, 1.0), parameters.positive("matchLengthScaleTokens", 8192.0)
    )


def _no_hit_lru(given: Given) -> Scorer:
    parameters = given.read("lruSize", "prefixPluginType", "prefixPluginName", "prefixMatchInfoProducerName")
    # The reference takes 0 for its default.
    return NoHitLruScorer(parameters.integer("lruSize", 1024) or 1024)


def _header_label(given: Given) -> Scorer:
    parameters = given.read("headerName", "labelKey")
    return HeaderLabelAffinityScorer(parameters.required("headerName").text(), parameters.required("labelKey").text())


def _endpoint_attribute(given: Given) -> Scorer:
    parameters = given.read("attributeKey", "producer", "algorithm")
    found = parameters.required("attributeKey").attempt(lambda field: attribute_of(field, given.attributes))
    algorithm = parameters.required("algorithm").mapping(required=("type",), optional=("normalization",))
    line = algorithm["type"].attempt(lambda field: field.choice(_LINES))
    fixed_range = _fixed_range(algorithm.get("normalization"))
    return EndpointAttributeScorer(
        found.value, lower_is_better=line.value == "linear_lower_is_better", fixed_range=fixed_range
    )


def _fixed_range(normalization: Field | None) -> tuple[float, float] | None:
    if normalization is None:
        return None
    found = normalization.mapping(optional=("fixedRange", "adaptiveRange"))
    if len(found) > 1:
        normalization.refuse("expected one of fixedRange, adaptiveRange, not both")
    if "adaptiveRange" in found:
        found["adaptiveRange"].mapping()
    if "fixedRange" not in found:
        return None
    entry = found["fixedRange"].mapping(required=("min", "max"))
    low, high = entry["min"].number(), entry["max"].number()
    if low >= high:
        found["fixedRange"].refuse("expected min below max")
    return low, high


def _latency(given: Given) -> Scorer:
    parameters = given.read(
        "ttftWeight",
        "tpotWeight",
        "headroomSelectionStrategy",
        "compositeKVWeight",
        "compositeQueueWeight",
        "compositePrefixWeight",
        "latencyPredictionInfoProducerName",
        "prefixMatchInfoProducerName",
    )
    return LatencyScorer(
        parameters.number("ttftWeight", 0.8),
        parameters.number("tpotWeight", 0.2),
        parameters.one_of("headroomSelectionStrategy", STRATEGIES, "least"),
        parameters.number("compositeKVWeight", 1.0),
        parameters.number("compositeQueueWeight", 1.0),
        parameters.number("compositePrefixWeight", 1.0),
    )


def _staleness(given: Given) -> Scorer:
    return StalenessDiscountScorer(given.read("exponent").positive("exponent", 1.0))


def _gpu_memory(given: Given) -> Scorer:
    return GpuMemoryScorer(given.read("maxAge").seconds("maxAge", GPU_STALENESS_SECONDS))


def _speed_and_cost(given: Given) -> Scorer:
    parameters = given.read("costWeight", "speedLabel", "costLabel")
    return SpeedAndCostScorer(
        parameters.number("costWeight", 0.3, 0.0, 1.0),
        parameters.text("speedLabel", SPEED_LABEL),
        parameters.text("costLabel", COST_LABEL),
    )


MEDIA_SCORER = "mm-embeddings-cache-scorer"
_CLUSTER_QUEUE, _CLUSTER_KV_CACHE = "multicluster-queue-scorer", "multicluster-kv-cache-utilization-scorer"
OF_POOL_METRICS = frozenset({_CLUSTER_QUEUE, _CLUSTER_KV_CACHE})
"""Scorers of what pickers of other clusters publish of their pools."""

SCORERS: Mapping[str, Callable[[Given], Scorer]] = {
    "queue-scorer": plain(QueueScorer),
    "running-requests-size-scorer": plain(RunningRequestsScorer),
    "kv-cache-utilization-scorer": plain(KvCacheUtilizationScorer),
    "load-aware-scorer": _load_aware,
    "active-request-scorer": _active_request,
    "token-load-scorer": _token_load,
    "in-flight-tokens-scorer": _in_flight_tokens,
    "lmetric-scorer": plain(LmetricScorer, *_PRODUCERS),
    "marginal-cost-scorer": _marginal_cost,
    "lora-affinity-scorer": plain(LoraAffinityScorer),
    "prefix-cache-scorer": _prefix_cache,
    "no-hit-lru-scorer": _no_hit_lru,
    MEDIA_SCORER: plain(MediaCacheScorer),
    "header-label-affinity-scorer": _header_label,
    "endpoint-attribute-scorer": _endpoint_attribute,
    "context-length-aware": context_length,
    "latency-scorer": _latency,
    "gpu-memory-scorer": _gpu_memory,
    "staleness-discount-scorer": _staleness,
    "speed-and-cost-scorer": _speed_and_cost,
    # A cluster's averages stand where an endpoint's own numbers do, so that the formulas are the same.
    _CLUSTER_QUEUE: plain(QueueScorer),
    _CLUSTER_KV_CACHE: plain(KvCacheUtilizationScorer),
    "multicluster-prefix-cache-scorer": _prefix_cache,
}
