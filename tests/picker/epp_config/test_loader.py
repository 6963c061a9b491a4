"""EndpointPickerConfig documents: what is accepted, what it means, and what is refused in which words."""

from pathlib import Path

import pytest

from infscale.errors import ConfigError
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from picker.epp_config import registry
from picker.epp_config.discovery_source import FileSource
from picker.epp_config.loader import API_VERSIONS, PickerConfig, load_picker_config, preset
from picker.epp_config.presets import PRESETS
from picker.epp_config.reference_names import REFERENCE_ONLY
from picker.epp_config.scraping_parameters import ScrapeWishes
from picker.parsing.table import DEFAULT_TYPES, PARSER_TYPES
from picker.scheduling.filters.eligibility import SaturationFilter
from picker.scheduling.pickers import MaxScorePicker, RandomPicker
from picker.scheduling.prefix_index import PrefixSettings
from picker.scheduling.profile import Profile
from picker.scheduling.scorers.affinity import PrefixCacheScorer
from picker.scheduling.scorers.load import KvCacheUtilizationScorer, QueueScorer

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"


def loaded(body: str) -> PickerConfig:
    return load_picker_config(HEAD + body, "epp.yaml")


def only_profile(config: PickerConfig) -> Profile:
    (profile,) = config.scheduler.profiles.values()
    return profile


def weights(config: PickerConfig) -> dict[str, float]:
    return {type(each.scorer).__name__: each.weight for each in only_profile(config).scorers}


def test_the_reference_preset_is_queue_two_kv_two_prefix_three() -> None:
    config = preset("reference")
    assert weights(config) == {"QueueScorer": 2.0, "KvCacheUtilizationScorer": 2.0, "PrefixCacheScorer": 3.0}
    assert only_profile(config).picker == MaxScorePicker(1)


def test_the_default_preset_is_the_least_delay_for_everybody() -> None:
    config = preset("infscale")
    assert weights(config) == {"MarginalCostScorer": 1.0}
    assert only_profile(config).picker == MaxScorePicker(2)
    assert config.clocked


def test_clocks_are_kept_only_where_a_scorer_asks() -> None:
    assert not preset("reference").clocked
    assert loaded("plugins:\n- type: queue-scorer\n- type: marginal-cost-scorer\n").clocked


def test_work_in_flight_decides_in_the_preset_of_that_name() -> None:
    found = weights(preset("in-flight-tokens"))
    others = found["QueueScorer"] + found["KvCacheUtilizationScorer"]
    # A candidate one request behind loses half of the main term, which the scraped terms cannot give back.
    assert found["InFlightTokensScorer"] / 2 > others


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_documents_like_any_other(name: str) -> None:
    assert preset(name).notes == ()


@pytest.mark.parametrize("version", API_VERSIONS)
def test_both_api_groups_are_read(version: str) -> None:
    text = f"apiVersion: {version}\nkind: EndpointPickerConfig\n"
    assert load_picker_config(text, "epp.yaml").parsers == DEFAULT_TYPES


def test_without_profiles_there_is_one_with_everything_declared() -> None:
    profile = only_profile(
        loaded("plugins:\n- type: queue-scorer\n- type: decode-filter\n- type: random-picker\n- type: openai-parser\n")
    )
    assert profile.name == "default"
    assert len(profile.filters) == 1
    assert [type(each.scorer) for each in profile.scorers] == [QueueScorer]
    assert isinstance(profile.picker, RandomPicker)


def test_names_default_to_types_and_weights_to_one_and_the_picker_to_max_score() -> None:
    profile = only_profile(
        loaded(
            """\
plugins:
- type: queue-scorer
- {name: other, type: queue-scorer}
- {type: single-profile-handler}
schedulingProfiles:
- name: p
  plugins:
  - pluginRef: queue-scorer
  - {pluginRef: other, weight: 2.5}
"""
        )
    )
    assert [each.weight for each in profile.scorers] == [1.0, 2.5]
    assert profile.picker == MaxScorePicker(1)


def test_a_profile_without_a_picker_takes_the_declared_one() -> None:
    config = loaded("plugins: [{type: random-picker}]\nschedulingProfiles: [{name: p}]\n")
    assert isinstance(only_profile(config).picker, RandomPicker)


def test_prefix_parameters_reach_the_index() -> None:
    config = loaded(
        """\
plugins:
- type: approx-prefix-cache-producer
  parameters: {autoTune: false, blockSizeTokens: 128, lruCapacityPerServer: 10, maxPrefixBlocksToMatch: 5}
"""
    )
    assert config.prefix == PrefixSettings(False, 128, 5, 131_072, 10)


def test_a_picker_of_clusters_has_the_scorers_of_one_of_endpoints() -> None:
    config = loaded(
        """\
plugins:
- {type: multicluster-queue-scorer}
- {type: multicluster-kv-cache-utilization-scorer}
- {type: multicluster-prefix-cache-scorer, parameters: {matchLengthWeight: 0.5}}
- {type: multicluster-approx-prefix-cache-producer, parameters: {autoTune: false, blockSizeTokens: 128}}
- {type: multicluster-metrics-extractor}
"""
    )
    scorers = [each.scorer for each in only_profile(config).scorers]
    assert scorers == [QueueScorer(), KvCacheUtilizationScorer(), PrefixCacheScorer(0.5)]
    assert (config.prefix.auto_tune, config.prefix.block_size_tokens) == (False, 128)
    assert config.notes == ()


@pytest.mark.parametrize(
    "section",
    [
        "saturationDetector: {pluginRef: sat}\n",
        "flowControl: {maxBytes: 1Gi, saturationDetector: {pluginRef: sat}}\n",
        "saturationDetector: {pluginRef: sat}\nflowControl: {saturationDetector: {pluginRef: sat}}\n",
    ],
)
def test_the_saturation_detector_becomes_the_pools_settings(section: str) -> None:
    config = loaded(
        section
        + """\
plugins:
- name: sat
  type: utilization-detector
  parameters: {queueDepthThreshold: 7, kvCacheUtilThreshold: 0.5, metricsStalenessThreshold: 500ms}
schedulingProfiles: [{name: p}]
"""
    )
    settings = config.pool_settings(PoolSettings(), None)
    assert settings.saturation == SaturationSettings(queue_depth_threshold=7, kv_utilization_threshold=0.5)
    assert settings.staleness_limit_seconds == 0.5


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("requests", SaturationKind.REQUESTS), ("tokens", SaturationKind.TOKENS), ("hybrid", SaturationKind.HYBRID)],
)
def test_concurrency_detectors_are_translated_and_serve_as_filters(mode: str, kind: SaturationKind) -> None:
    config = loaded(
        f"""\
plugins:
- type: concurrency-detector
  parameters: {{concurrencyMode: {mode}, maxConcurrency: 8, maxTokenConcurrency: 9000, headroom: 0.5}}
schedulingProfiles: [{{name: p, plugins: [{{pluginRef: concurrency-detector}}]}}]
"""
    )
    assert only_profile(config).filters == (SaturationFilter(0.5, or_all=False),)
    saturation = config.pool_settings(PoolSettings(), None).saturation
    assert saturation == SaturationSettings(kind, max_in_flight_requests=8, max_in_flight_tokens=9000)


@pytest.mark.parametrize("kind", ["utilization-detector", "concurrency-detector"])
def test_as_filters_detectors_differ_in_what_they_do_where_all_is_full(kind: str) -> None:
    config = loaded(
        f"plugins: [{{type: {kind}, parameters: {{headroom: 0.1, inFlightLoadProducerName: mine}}}}]\n"
        f"schedulingProfiles: [{{name: p, plugins: [{{pluginRef: {kind}}}]}}]\n"
    )
    assert only_profile(config).filters == (SaturationFilter(0.1, or_all=kind == "utilization-detector"),)
    assert config.notes == (
        "epp.yaml:3: plugins[0].parameters.inFlightLoadProducerName: has no effect here: "
        "there is one producer of each kind",
    )


def test_a_pool_keeps_its_own_settings_when_the_configuration_is_silent() -> None:
    own = PoolSettings(saturation=SaturationSettings(queue_depth_threshold=9))
    assert loaded("").pool_settings(own, "serve.yaml:3") == own


def test_two_differing_sources_of_saturation_are_an_error() -> None:
    config = loaded("saturationDetector: {pluginRef: utilization-detector}\n")
    own = PoolSettings(saturation=SaturationSettings(queue_depth_threshold=9))
    with pytest.raises(ConfigError, match=r"epp.yaml:3.*differs from what serve.yaml:3 says"):
        config.pool_settings(own, "serve.yaml:3")
    assert config.pool_settings(own, None).saturation == SaturationSettings()


def test_parsers_are_named_by_plugin_and_keep_their_order() -> None:
    config = loaded(
        """\
plugins: [{name: oai, type: openai-parser}, {type: passthrough-parser}]
requestHandler: {parsers: [{pluginRef: passthrough-parser}, {pluginRef: oai}]}
"""
    )
    assert config.parsers == ("passthrough-parser", "openai-parser")
    assert loaded("parser: {pluginRef: openai-parser}\n").parsers == ("openai-parser",)


def test_the_default_parsers_exist() -> None:
    assert set(DEFAULT_TYPES) <= set(PARSER_TYPES)


def test_data_layer_plugins_are_facts_here_and_said_to_be() -> None:
    config = loaded(
        """\
plugins:
- {name: metrics, type: metrics-data-source}
- {name: core, type: core-metrics-extractor, parameters: {defaultEngine: vllm}}
- {type: inflight-load-producer}
- {type: token-producer, parameters: {backend: estimate}}
dataLayer: {injectDefaults: true, sources: [{pluginRef: metrics, extractors: [{pluginRef: core}]}]}
featureGates: [dataLayer, flowControl=false]
schedulingProfiles: [{name: p}]
"""
    )
    assert config.notes == (
        "epp.yaml:9: featureGates[0]: dataLayer has no effect here: metrics, models and GPUs are always read through "
        "one store",
    )
    assert config.scraping == ScrapeWishes(default_engine="vllm", extractor="epp.yaml:5")


def test_every_type_is_either_here_or_only_in_the_reference() -> None:
    assert not REFERENCE_ONLY & set(registry.KINDS)


REFUSED = {
    "unknown key": ("plugin: []\n", "epp.yaml:3: plugin: unknown key"),
    "not a list of plugins": ("plugins:\n- testing 1 2 3\n", "epp.yaml:4: plugins[0]: expected a mapping"),
    "no type": ("plugins:\n- parameters: {a: 1}\n", "epp.yaml:4: plugins[0].parameters: unknown key|'type' is missing"),
    "unknown type": ("plugins:\n- type: quue-scorer\n", "epp.yaml:4: plugins[0].type: there is no plugin type"),
    "reference only": (
        "plugins:\n- type: topology-affinity-scorer\n",
        "epp.yaml:4: plugins[0].type: plugin 'topology-affinity-scorer' of the reference picker is not available",
    ),
    "name twice": ("plugins:\n- type: queue-scorer\n- {type: random-picker, name: queue-scorer}\n", "epp.yaml:5"),
    "unknown parameter": (
        "plugins:\n- type: queue-scorer\n  parameters: {x: 1}\n",
        "epp.yaml:5: plugins[0].parameters.x: unknown key",
    ),
    "wrong parameter": (
        "plugins:\n- type: load-aware-scorer\n  parameters: {threshold: asdf}\n",
        "epp.yaml:5: plugins[0].parameters.threshold: expected a number",
    ),
    "threshold of nothing": ("plugins:\n- {type: load-aware-scorer, parameters: {threshold: 0}}\n", "above 0"),
    "no endpoints wanted": ("plugins:\n- {type: random-picker, parameters: {maxNumOfEndpoints: 0}}\n", "at least 1"),
    "unknown utilization metric": (
        "plugins:\n- {type: utilization-filter, parameters: {conditions: [{metric: x, maxValue: 1}]}}\n",
        "conditions[0].metric: expected one of active-requests",
    ),
    "bad selector": (
        "plugins:\n- {type: label-selector-filter, parameters: {matchExpressions: [{key: a, operator: In}]}}\n",
        "matchExpressions: label a",
    ),
    "unknown gate": ("featureGates: [x]\n", "epp.yaml:3: featureGates[0]: expected name"),
    "profile without a name": ("schedulingProfiles: [{plugins: []}]\n", "'name' is missing"),
    "profile named twice": ("schedulingProfiles: [{name: a}, {name: a}]\n", "already a profile named 'a'"),
    "two profiles": ("schedulingProfiles: [{name: a}, {name: b}]\n", "runs exactly one profile"),
    "no reference": ("schedulingProfiles: [{name: a, plugins: [{weight: 1}]}]\n", "'pluginRef' is missing"),
    "unknown reference": (
        "schedulingProfiles: [{name: a, plugins: [{pluginRef: b}]}]\n",
        "schedulingProfiles[0].plugins[0].pluginRef: no plugin is named 'b'; declared are none",
    ),
    "negative weight": (
        "plugins: [{type: queue-scorer}]\n"
        "schedulingProfiles: [{name: a, plugins: [{pluginRef: queue-scorer, weight: -1}]}]\n",
        "weight: expected at least 0",
    ),
    "two pickers": (
        "plugins: [{type: random-picker}, {type: max-score-picker}]\n"
        "schedulingProfiles: [{name: a, plugins: [{pluginRef: random-picker}, {pluginRef: max-score-picker}]}]\n",
        "already has a picker",
    ),
    "two handlers": (
        "plugins: [{type: single-profile-handler}, {type: single-profile-handler, name: b}]\n",
        "already a profile handler",
    ),
    "parser in a profile": (
        "plugins: [{type: openai-parser}]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: openai-parser}]}]\n",
        "a parser has no place in a profile",
    ),
    "scorer as parser": (
        "plugins: [{type: queue-scorer}]\nrequestHandler: {parsers: [{pluginRef: queue-scorer}]}\n",
        "expected a parser, 'queue-scorer' is a scorer",
    ),
    "scorer as detector": (
        "plugins: [{type: queue-scorer}]\nsaturationDetector: {pluginRef: queue-scorer}\n",
        "expected a saturation detector",
    ),
    "scorer as data source": (
        "plugins: [{type: queue-scorer}]\ndataLayer: {sources: [{pluginRef: queue-scorer}]}\n",
        "expected a data source or extractor",
    ),
    "parsers in both places": (
        "parser: {pluginRef: openai-parser}\nrequestHandler: {parsers: [{pluginRef: openai-parser}]}\n",
        "epp.yaml:3: parser: requestHandler.parsers is given too",
    ),
    "two prefix indexes": (
        "plugins: [{type: approx-prefix-cache-producer}, {type: approx-prefix-cache-producer, name: b}]\n",
        "there is already one of type approx-prefix-cache-producer; a pool has one",
    ),
    "differing detectors": (
        "plugins: [{type: concurrency-detector}]\nsaturationDetector: {pluginRef: utilization-detector}\n"
        "schedulingProfiles: [{name: a, plugins: [{pluginRef: concurrency-detector}]}]\n",
        "a pool has one meaning of saturated",
    ),
    "kv as percent": (
        "plugins: [{type: utilization-detector, parameters: {kvCacheUtilThreshold: 80}}]\n",
        "kvCacheUtilThreshold: expected a ratio",
    ),
    "staleness of nothing": (
        "plugins: [{type: utilization-detector, parameters: {metricsStalenessThreshold: 0s}}]\n",
        "metricsStalenessThreshold: expected a duration above 0",
    ),
    "replicas that talk": (
        "dataLayer: {peerDiscovery: {pluginRef: x}}\n",
        "replicas that tell each other",
    ),
    "discovery unnamed": ("dataLayer: {discovery: {}}\n", "dataLayer.discovery: expected either pluginRef or"),
    "discovery undeclared": (
        "dataLayer: {discovery: {pluginRef: x}}\n",
        "dataLayer.discovery.pluginRef: no plugin is named 'x'",
    ),
    "discovery by something else": (
        "plugins: [{type: queue-scorer}]\ndataLayer: {discovery: {endpoints: {pluginRef: queue-scorer}}}\n",
        "dataLayer.discovery.endpoints.pluginRef: expected a source of endpoints, 'queue-scorer' is a scorer",
    ),
    "discovery without a file": (
        "plugins: [{type: file-discovery}]\ndataLayer: {discovery: {pluginRef: file-discovery}}\n",
        "plugins[0]: path is missing",
    ),
    "discovery with more": (
        "plugins: [{type: file-discovery, parameters: {path: a, poll: 1}}]\n"
        "dataLayer: {discovery: {pluginRef: file-discovery}}\n",
        "plugins[0].parameters.poll: unknown key",
    ),
    "clusters without a file": (
        "plugins: [{type: multicluster-file-discovery}]\n"
        "dataLayer: {discovery: {pluginRef: multicluster-file-discovery}}\n",
        "plugins[0]: path is missing",
    ),
    "clusters by their queues, of which nothing is read": (
        "plugins: [{type: multicluster-queue-scorer}, {type: core-metrics-extractor}]\n",
        "epp.yaml:3: plugins[0]: multicluster-queue-scorer needs a multicluster-metrics-extractor, and none is",
    ),
    "clusters by their caches, of which nothing is read": (
        "plugins: [{type: multicluster-metrics-data-source}, {type: multicluster-kv-cache-utilization-scorer}]\n",
        "plugins[1]: multicluster-kv-cache-utilization-scorer needs a multicluster-metrics-extractor",
    ),
    "clusters with a parameter": (
        "plugins: [{type: multicluster-metrics-extractor}, {type: multicluster-queue-scorer, parameters: {x: 1}}]\n",
        "plugins[1].parameters.x: unknown key",
    ),
    "a source of clusters that is not declared": (
        "dataLayer: {sources: [{pluginRef: multicluster-metrics-data-source}]}\n",
        "dataLayer.sources[0].pluginRef: no plugin is named 'multicluster-metrics-data-source'",
    ),
    "two prefix indices": (
        "plugins: [{type: approx-prefix-cache-producer}, {type: multicluster-approx-prefix-cache-producer}]\n",
        "plugins[1]: there is already one of type approx-prefix-cache-producer; a pool has one",
    ),
    "a burst in parts": (
        "plugins: [{type: burst-prefix-cache-producer, parameters: {maxPerReplica: 4}}]\n",
        "maxPerReplica: only -1 is available in this version",
    ),
    "two predictions": (
        "plugins: [{type: predicted-latency-producer, name: a}, {type: predicted-latency-producer, name: b}]\n",
        "plugins[1]: there is already one of type predicted-latency-producer; a pool has one",
    ),
    "headroom of no kind": (
        "plugins: [{type: latency-scorer, parameters: {headroomSelectionStrategy: median}}]\n",
        "headroomSelectionStrategy: expected one of least, most",
    ),
    "a buffer of nothing": (
        "plugins: [{type: predicted-latency-producer, parameters: {sloBufferFactor: 0}}]\n",
        "sloBufferFactor: expected a number above 0",
    ),
    "exploring too much": (
        "plugins: [{type: slo-headroom-tier-filter, parameters: {epsilonExploreNeg: 2}}]\n",
        "epsilonExploreNeg: expected",
    ),
    "a throughput of nothing": (
        "plugins: [{type: prefix-cache-affinity-filter, parameters: {peakPrefillThroughput: 0}}]\n",
        "peakPrefillThroughput: expected a number above 0",
    ),
    "unknown attribute": (
        "plugins: [{type: endpoint-attribute-scorer, parameters: {attributeKey: x, algorithm: "
        "{type: linear_lower_is_better}}}]\n",
        "attributeKey: expected label:<key> or one of",
    ),
    "no attribute": (
        "plugins: [{type: endpoint-attribute-scorer, parameters: {algorithm: {type: linear_lower_is_better}}}]\n",
        "epp.yaml:3: plugins[0].parameters: parameter 'attributeKey' is missing",
    ),
    "no parameters at all": (
        "plugins: [{type: header-label-affinity-scorer}]\n",
        "epp.yaml:3: plugins[0]: parameter 'headerName' is missing",
    ),
    "two normalizations": (
        "plugins: [{type: endpoint-attribute-scorer, parameters: {attributeKey: waiting_requests, algorithm: "
        "{type: linear_lower_is_better, normalization: {adaptiveRange: {}, fixedRange: {min: 0, max: 1}}}}}]\n",
        "expected one of fixedRange, adaptiveRange",
    ),
    "empty range": (
        "plugins: [{type: endpoint-attribute-scorer, parameters: {attributeKey: waiting_requests, algorithm: "
        "{type: linear_lower_is_better, normalization: {fixedRange: {min: 1, max: 1}}}}}]\n",
        "fixedRange: expected min below max",
    ),
    "unknown operator": (
        "plugins: [{type: endpoint-attribute-filter, parameters: {attribute: waiting_requests, algorithm: "
        "{type: threshold, threshold: {operator: Below, value: 1}}}}]\n",
        "operator: expected one of LessThan",
    ),
    "bound below the mean": ("plugins: [{type: bounded-load-filter, parameters: {factor: 0.5}}]\n", "at least 1"),
    "out for no time": ("plugins: [{type: error-memory-filter, parameters: {duration: 0s}}]\n", "above 0"),
    "admitter in a profile": (
        "plugins: [{type: probabilistic-admitter}]\n"
        "schedulingProfiles: [{name: a, plugins: [{pluginRef: probabilistic-admitter}]}]\n",
        "an admitter has no place in a profile",
    ),
    "two sizes of one cache": (
        "plugins: [{type: mm-embeddings-cache-producer, parameters: "
        "{cacheSizeInMBPerServer: 1, cacheSizeInEmbeddingsPerServer: 1}}]\n",
        "cacheSizeInMBPerServer is given too; keep one",
    ),
    "a tokenizer service": (
        "plugins: [{type: token-producer, parameters: {backend: render}}]\n",
        "only the backend 'estimate'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_with_its_place(name: str) -> None:
    body, expected = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        loaded(body)
    assert any(part in str(caught.value) for part in expected.split("|"))
    assert str(caught.value).startswith("epp.yaml:")


@pytest.mark.parametrize(
    "text", ["apiVersion: v1\nkind: EndpointPickerConfig\n", "apiVersion: llm-d.ai/v1alpha1\nkind: X\n", "a: [\n", ""]
)
def test_other_documents_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        load_picker_config(text, "epp.yaml")


@pytest.mark.parametrize(
    ("watch", "section"),
    [("", "{pluginRef: file}"), (", watchFile: true", "{endpoints: {pluginRef: file}}")],
    ids=["short form", "long form"],
)
@pytest.mark.parametrize(("kind", "clusters"), [("file-discovery", False), ("multicluster-file-discovery", True)])
def test_a_file_of_endpoints_can_be_named(watch: str, section: str, kind: str, clusters: bool) -> None:
    config = loaded(
        f"plugins: [{{name: file, type: {kind}, parameters: {{path: endpoints.yaml{watch}}}}}]\n"
        f"dataLayer: {{discovery: {section}}}\n"
    )
    assert config.discovery == FileSource(Path("endpoints.yaml"), bool(watch), "epp.yaml:4", clusters)


def test_a_declared_file_that_nothing_refers_to_is_not_discovery() -> None:
    assert loaded("plugins: [{type: file-discovery, parameters: {path: a}}]\n").discovery is None


def test_what_the_store_knows_anyway_may_be_declared_and_says_where_it_comes_from() -> None:
    config = load_picker_config(
        HEAD
        + "plugins:\n- {type: models-data-source, parameters: {path: /v1/models}}\n- type: models-data-extractor\n"
        + "dataLayer: {sources: [{pluginRef: models-data-source, extractors: [{pluginRef: models-data-extractor}]}]}\n",
        "epp.yaml",
    )
    assert len(config.notes) == 3
    assert "models-data-source is built in; its parameters have no effect here" in config.notes[0]
    assert config.notes[1].endswith("which models endpoints serve is read from their metrics pages")
