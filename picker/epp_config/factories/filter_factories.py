"""Factories of filters."""

from collections.abc import Callable, Mapping
from functools import partial

from infscale.documents.strict_document import Field
from infscale.documents.suggestions import did_you_mean, short_list
from infscale.errors import SelectorError
from infscale.labels import Selector
from picker.epp_config.parameters import Given, one_of, plain
from picker.scheduling.context_length import CONTEXT_LENGTH_LABEL, ContextLength
from picker.scheduling.endpoint_attributes import (
    ALIASES,
    COLUMNS,
    OPERATORS,
    Attribute,
    EndpointAttributeFilter,
    attribute,
)
from picker.scheduling.filters.eligibility import (
    UTILIZATION_METRICS,
    FreshMetricsFilter,
    HeaderTestingFilter,
    LabelFilter,
    LabelValueFilter,
    ReadyFilter,
    RoleFilter,
    UtilizationFilter,
    UtilizationLimit,
)
from picker.scheduling.filters.guards import MEASURES, BoundedLoadFilter, ErrorMemoryFilter
from picker.scheduling.filters.legacy_tree import LegacyTreeFilter
from picker.scheduling.filters.stickiness import HeadroomTierFilter, PrefixCacheAffinityFilter
from picker.scheduling.stages import Filter

_API_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
PRODUCER_NAMES = ("prefixMatchInfoProducerName", "latencyPredictionInfoProducerName", "inFlightLoadProducerName")


def _label_selector(given: Given) -> Filter:
    parameters = given.read("matchLabels", "matchExpressions")
    labels, expressions = parameters.get("matchLabels"), parameters.get("matchExpressions")
    requirements: list[tuple[str, str, tuple[str, ...]]] = []
    for item in expressions.items() if expressions else ():
        entry = item.mapping(required=("key", "operator"), optional=("values",))
        values = tuple(value.text(empty=True) for value in entry["values"].items()) if "values" in entry else ()
        requirements.append((entry["key"].text(), entry["operator"].choice(_API_OPERATORS), values))
    try:
        selector = Selector.from_label_selector(labels.text_mapping() if labels else {}, requirements)
    except SelectorError as error:
        place = labels or expressions
        if place is None:
            raise
        place.refuse(str(error))
    return LabelFilter(selector.matches)


def _by_label(given: Given) -> Filter:
    parameters = given.read("label", "validValues", "allowsNoLabel")
    values = parameters.get("validValues")
    return LabelValueFilter(
        parameters.required("label").text(),
        frozenset(value.text(empty=True) for value in values.items()) if values else frozenset(),
        parameters.boolean("allowsNoLabel", False),
    )


def _utilization(given: Given) -> Filter:
    parameters = given.read("conditions", "fallbackOnEmpty")
    conditions = parameters.get("conditions")

    def limit(item: Field) -> UtilizationLimit:
        entry = item.mapping(required=("metric", "maxValue"))
        metric = entry["metric"].attempt(partial(one_of, UTILIZATION_METRICS))
        return UtilizationLimit(metric.value, entry["maxValue"].number(0.0))

    limits = conditions.each(limit) if conditions else ()
    return UtilizationFilter(limits, parameters.boolean("fallbackOnEmpty", False))


def _fresh(given: Given) -> Filter:
    age = given.read("maxAge").get("maxAge")
    return FreshMetricsFilter(None if age is None else age.duration())


def _prefix_affinity(given: Given) -> Filter:
    parameters = given.read(
        "affinityThreshold",
        "explorationProbability",
        "maxTTFTPenaltyMs",
        "ttftSource",
        "peakPrefillThroughput",
        *PRODUCER_NAMES,
    )
    sources = ("prefillThroughput", "latencyPredictor")
    predicted = parameters.one_of("ttftSource", sources, "prefillThroughput") == "latencyPredictor"
    penalty_seconds = parameters.number("maxTTFTPenaltyMs", 18_000.0) / 1000.0
    throughput = parameters.number("peakPrefillThroughput", 15_928.0)
    given_throughput = parameters.get("peakPrefillThroughput")
    if given_throughput is not None and not throughput and penalty_seconds:
        given_throughput.refuse("expected a number above 0; without a penalty (maxTTFTPenaltyMs: 0) it does not matter")
    return PrefixCacheAffinityFilter(
        affinity_threshold=parameters.number("affinityThreshold", 0.8, 0.0, 1.0),
        exploration_probability=parameters.number("explorationProbability", 0.0, 0.0, 1.0),
        max_ttft_penalty_seconds=penalty_seconds,
        peak_prefill_throughput=None if predicted else throughput,
    )


def _headroom_tier(given: Given) -> Filter:
    parameters = given.read("epsilonExploreNeg", "latencyPredictionInfoProducerName")
    return HeadroomTierFilter(parameters.number("epsilonExploreNeg", 0.01, 0.0, 1.0))


def attribute_of(field: Field, on_pages: frozenset[str]) -> Attribute:
    """The attribute a parameter names; `on_pages` as in `attribute`. Raises `ConfigError`."""
    name = field.text()
    found = attribute(name, on_pages)
    if found is None:
        own, known = sorted(on_pages), (*sorted(COLUMNS), *ALIASES)
        listed = ", ".join(filter(None, (short_list(own, name), short_list(known, name))))
        field.refuse(f"expected label:<key> or one of {listed}{did_you_mean(name, (*own, *known))}")
    return found


def _endpoint_attribute(given: Given) -> Filter:
    parameters = given.read("attribute", "producer", "algorithm", "onMissing", "fallbackOnEmpty")
    found = parameters.required("attribute").attempt(lambda field: attribute_of(field, given.attributes))
    passing = parameters.one_of("onMissing", ("Pass", "Fail"), "Pass") == "Pass"
    fallback = parameters.boolean("fallbackOnEmpty", False)
    algorithm = parameters.required("algorithm").mapping(required=("type", "threshold"))
    algorithm["type"].attempt(lambda field: field.choice(("threshold",)))
    threshold = algorithm["threshold"].mapping(required=("operator", "value"))
    operator = threshold["operator"].attempt(partial(one_of, OPERATORS))
    value = threshold["value"].number()
    return EndpointAttributeFilter(found.value, operator.value, value, passing, fallback)


def context_length(given: Given) -> ContextLength:
    """Filter and scorer in one."""
    parameters = given.read("label", "enableFiltering")
    return ContextLength(
        parameters.text("label", CONTEXT_LENGTH_LABEL), filtering=parameters.boolean("enableFiltering", False)
    )


def _error_memory(given: Given) -> Filter:
    parameters = given.read("failures", "duration")
    return ErrorMemoryFilter(parameters.integer("failures", 3, 1), parameters.seconds("duration", 10.0))


def _bounded_load(given: Given) -> Filter:
    parameters = given.read("factor", "measure")
    return BoundedLoadFilter(parameters.number("factor", 1.25, 1.0), parameters.one_of("measure", MEASURES, "requests"))


def _legacy_tree(given: Given) -> Filter:
    parameters = given.read(
        "kvCacheThreshold", "queueThresholdCritical", "queueingThresholdLoRA", "loraAffinityThreshold"
    )
    return LegacyTreeFilter(
        kv_cache_threshold=parameters.number("kvCacheThreshold", 0.8, 0.0, 1.0),
        queue_threshold_critical=parameters.number("queueThresholdCritical", 5.0),
        queueing_threshold_lora=parameters.number("queueingThresholdLoRA", 128.0),
        lora_affinity_threshold=parameters.number("loraAffinityThreshold", 0.999, 0.0, 1.0),
    )


FILTERS: Mapping[str, Callable[[Given], Filter]] = {
    "ready-filter": plain(ReadyFilter),
    "fresh-metrics-filter": _fresh,
    "label-selector-filter": _label_selector,
    "by-label": _by_label,
    "by-label-selector": _label_selector,
    "utilization-filter": _utilization,
    "decode-filter": plain(partial(RoleFilter, "decode")),
    "prefill-filter": plain(partial(RoleFilter, "prefill")),
    "encode-filter": plain(partial(RoleFilter, "encode")),
    "header-based-testing-filter": plain(HeaderTestingFilter),
    "prefix-cache-affinity-filter": _prefix_affinity,
    "slo-headroom-tier-filter": _headroom_tier,
    "endpoint-attribute-filter": _endpoint_attribute,
    "context-length-aware": context_length,
    "error-memory-filter": _error_memory,
    "bounded-load-filter": _bounded_load,
    "legacy-tree-filter": _legacy_tree,
}
