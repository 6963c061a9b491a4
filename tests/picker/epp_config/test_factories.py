"""Parameters of plugins: what reaches the stage, and the defaults."""

import pytest

from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.scheduling.admitters import LatencyObjectiveAdmitter
from picker.scheduling.context_length import ContextLength
from picker.scheduling.endpoint_attributes import COLUMNS, EndpointAttributeFilter, EndpointAttributeScorer
from picker.scheduling.filters.guards import BoundedLoadFilter, ErrorMemoryFilter
from picker.scheduling.filters.legacy_tree import LegacyTreeFilter
from picker.scheduling.filters.stickiness import HeadroomTierFilter, PrefixCacheAffinityFilter
from picker.scheduling.plugin import PredictionSettings
from picker.scheduling.scorers.affinity import HeaderLabelAffinityScorer, NoHitLruScorer
from picker.scheduling.scorers.condition import GpuMemoryScorer, StalenessDiscountScorer
from picker.scheduling.scorers.latency import LatencyScorer
from picker.scheduling.scorers.marginal_cost import MarginalCostScorer
from picker.scheduling.scorers.price import SpeedAndCostScorer
from picker.scheduling.scorers.tokens import LmetricScorer
from picker.scheduling.stages import Filter, Scorer

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"


def loaded(body: str) -> PickerConfig:
    return load_picker_config(HEAD + body, "epp.yaml")


def built(plugin: str) -> tuple[list[Filter], list[Scorer]]:
    """The stages a profile gets of one plugin, written as YAML flow."""
    (profile,) = loaded(f"plugins: [{plugin}]\n").scheduler.profiles.values()
    return list(profile.filters), [each.scorer for each in profile.scorers]


@pytest.mark.parametrize(
    ("plugin", "stage"),
    [
        ("{type: prefix-cache-affinity-filter}", PrefixCacheAffinityFilter(0.8, 0.0, 18.0, 15_928.0)),
        (
            "{type: prefix-cache-affinity-filter, parameters: {affinityThreshold: 0.5, explorationProbability: 0.1, "
            "maxTTFTPenaltyMs: 500, ttftSource: prefillThroughput, peakPrefillThroughput: 9}}",
            PrefixCacheAffinityFilter(0.5, 0.1, 0.5, 9.0),
        ),
        (
            "{type: prefix-cache-affinity-filter, parameters: {maxTTFTPenaltyMs: 0, peakPrefillThroughput: 0}}",
            PrefixCacheAffinityFilter(max_ttft_penalty_seconds=0.0, peak_prefill_throughput=0.0),
        ),
        (
            "{type: prefix-cache-affinity-filter, parameters: {ttftSource: latencyPredictor}}",
            PrefixCacheAffinityFilter(peak_prefill_throughput=None),
        ),
        ("{type: slo-headroom-tier-filter}", HeadroomTierFilter(0.01)),
        ("{type: slo-headroom-tier-filter, parameters: {epsilonExploreNeg: 0.5}}", HeadroomTierFilter(0.5)),
        ("{type: latency-scorer}", LatencyScorer(0.8, 0.2, "least", 1.0, 1.0, 1.0)),
        (
            "{type: latency-scorer, parameters: {ttftWeight: 1, tpotWeight: 2, headroomSelectionStrategy: most, "
            "compositeKVWeight: 3, compositeQueueWeight: 4, compositePrefixWeight: 5}}",
            LatencyScorer(1.0, 2.0, "most", 3.0, 4.0, 5.0),
        ),
        ("{type: error-memory-filter}", ErrorMemoryFilter(3, 10.0)),
        ("{type: error-memory-filter, parameters: {failures: 1, duration: 1m}}", ErrorMemoryFilter(1, 60.0)),
        ("{type: bounded-load-filter}", BoundedLoadFilter(1.25, "requests")),
        ("{type: bounded-load-filter, parameters: {factor: 2, measure: tokens}}", BoundedLoadFilter(2.0, "tokens")),
        ("{type: legacy-tree-filter}", LegacyTreeFilter(0.8, 5.0, 128.0, 0.999)),
        (
            "{type: endpoint-attribute-filter, parameters: {attribute: WaitingQueueSize, onMissing: Fail, "
            "fallbackOnEmpty: true, algorithm: {type: threshold, threshold: {operator: LessThan, value: -1}}}}",
            EndpointAttributeFilter(COLUMNS["waiting_requests"], "LessThan", -1.0, False, True),
        ),
        ("{type: no-hit-lru-scorer}", NoHitLruScorer(1024)),
        ("{type: no-hit-lru-scorer, parameters: {lruSize: 2}}", NoHitLruScorer(2)),
        ("{type: lmetric-scorer}", LmetricScorer()),
        ("{type: marginal-cost-scorer}", MarginalCostScorer()),
        (
            "{type: marginal-cost-scorer, parameters: {recomputeWeight: 1, decodeWeight: 0.1, batchWeight: 0, "
            "scale: 500ms}}",
            MarginalCostScorer(1.0, 0.1, 0.0, 0.5),
        ),
        ("{type: gpu-memory-scorer, parameters: {maxAge: 20s}}", GpuMemoryScorer(20.0)),
        ("{type: staleness-discount-scorer, parameters: {exponent: 2}}", StalenessDiscountScorer(2.0)),
        (
            "{type: endpoint-attribute-scorer, parameters: {attributeKey: KVCacheUsagePercent, algorithm: "
            "{type: linear_lower_is_better, normalization: {fixedRange: {min: 0, max: 1}}}}}",
            EndpointAttributeScorer(COLUMNS["kv_cache_utilization_ratio"], True, (0.0, 1.0)),
        ),
        (
            "{type: endpoint-attribute-scorer, parameters: {attributeKey: waiting_requests, algorithm: "
            "{type: linear_higher_is_better, normalization: {adaptiveRange: {}}}}}",
            EndpointAttributeScorer(COLUMNS["waiting_requests"], False),
        ),
    ],
)
def test_parameters_reach_the_stage_and_have_their_defaults(plugin: str, stage: object) -> None:
    filters, scorers = built(plugin)
    assert [*filters, *scorers] == [stage]


def test_context_length_is_one_plugin_that_filters_and_scores() -> None:
    filters, scorers = built("{type: context-length-aware, parameters: {enableFiltering: true, label: l}}")
    (each,), (scorer,) = filters, scorers
    assert isinstance(each, ContextLength)
    assert isinstance(scorer, ContextLength)
    assert each.filtering


def test_labels_and_headers_of_stages_come_from_parameters() -> None:
    _, (header,) = built("{type: header-label-affinity-scorer, parameters: {headerName: X-Tier, labelKey: tier}}")
    assert isinstance(header, HeaderLabelAffinityScorer)
    assert (header.header, header.label) == ("x-tier", "tier")
    _, (price,) = built("{type: speed-and-cost-scorer, parameters: {costWeight: 0.5, speedLabel: s, costLabel: c}}")
    assert isinstance(price, SpeedAndCostScorer)
    assert price.cost_weight == 0.5


def test_how_latencies_are_predicted_comes_from_their_producer() -> None:
    assert loaded("").predicting == PredictionSettings(True, False, 1.0)
    config = loaded(
        "plugins:\n- {type: predicted-latency-producer, parameters: {streamingMode: true, sloBufferFactor: 0.9, "
        "predictInProduce: false, samplingMean: 500}}\n- {type: latency-slo-admitter}\n"
    )
    assert config.predicting == PredictionSettings(False, True, 0.9)
    assert config.admitters == (LatencyObjectiveAdmitter(),)
    (note,) = config.notes
    assert note.endswith("parameters.samplingMean: has no effect here: no model is trained")
