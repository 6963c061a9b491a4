"""The current form of `EndpointPickerConfig`, configurations of the field, and all that is wrong with one at once."""

from pathlib import Path

import pytest

from infscale.errors import ConfigError
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.epp_config.reference_names import REFERENCE_ONLY
from picker.epp_config.registry import KINDS
from picker.scheduling.disaggregation import AlwaysDecider, DisaggProfileHandler
from picker.scheduling.endpoint_attributes import COLUMNS, EndpointAttributeScorer

CASES = Path(__file__).parents[2] / "cases" / "configs"
V1 = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\n"
BEFORE = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"


def case(name: str) -> PickerConfig:
    return load_picker_config((CASES / name).read_text(), name)


def refusals(text: str, source: str = "epp.yaml") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_picker_config(text, source)
    return list(caught.value.lines())


def weights(config: PickerConfig) -> dict[str, float]:
    (profile,) = config.scheduler.profiles.values()
    return {type(each.scorer).__name__: each.weight for each in profile.scorers}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("api-v1.yaml", {"QueueScorer": 3.0}),
        ("omni-serving.yaml", {"QueueScorer": 1.0}),
        (
            "optimized-baseline-trtllm.yaml",
            {"QueueScorer": 2.0, "KvCacheUtilizationScorer": 2.0, "PrefixCacheScorer": 3.0, "NoHitLruScorer": 2.0},
        ),
        ("gpu-attribute.yaml", {"EndpointAttributeScorer": 1.0}),
        ("flow-control.yaml", {"QueueScorer": 2.0, "KvCacheUtilizationScorer": 2.0, "PrefixCacheScorer": 3.0}),
        (
            "turn-priority-fairness.yaml",
            {"QueueScorer": 2.0, "KvCacheUtilizationScorer": 2.0, "PrefixCacheScorer": 3.0},
        ),
    ],
)
def test_configurations_of_the_field_are_read(name: str, expected: dict[str, float]) -> None:
    assert weights(case(name)) == expected


def test_the_attribute_of_the_reference_is_our_metric_of_the_same_unit() -> None:
    (profile,) = case("gpu-attribute.yaml").scheduler.profiles.values()
    (scorer,) = (each.scorer for each in profile.scorers)
    assert scorer == EndpointAttributeScorer(COLUMNS["gpu_utilization_ratio"], True, (0.0, 1.0))


def test_a_configuration_with_prefill_and_decode_is_read() -> None:
    """It refers to a scorer that it does not declare, which the reference refuses."""
    name = "agentic-serving-gpu.yaml"
    config = case(name)
    found = {
        profile.name: [type(each).__name__ for each in (*profile.filters, *(one.scorer for one in profile.scorers))]
        for profile in config.scheduler.profiles.values()
    }
    assert found == {
        "prefill": ["RoleFilter", "PrefixCacheAffinityFilter", "TokenLoadScorer"],
        "decode": ["RoleFilter", "ActiveRequestScorer"],
    }
    handler = config.scheduler.handler
    assert isinstance(handler, DisaggProfileHandler)
    assert isinstance(handler.prefill_decider, AlwaysDecider)
    assert config.notes == (
        f"{name}:4: plugins[0]: disagg-headers-handler is deprecated; use disagg-profile-handler",
        f"{name}:4: plugins[0]: disagg-headers-handler is built in; the profile handler writes the headers of the "
        "stages that it had done elsewhere",
        f"{name}:21: schedulingProfiles[1].plugins[1].pluginRef: no plugin is named active-request-scorer; taken for "
        "one of that type, without parameters",
    )


def test_every_configuration_of_the_field_is_tried() -> None:
    read = {"api-v1.yaml", "omni-serving.yaml", "optimized-baseline-trtllm.yaml", "gpu-attribute.yaml"}
    flow = {"flow-control.yaml", "turn-priority-fairness.yaml"}
    assert {each.name for each in CASES.iterdir()} == read | flow | {"agentic-serving-gpu.yaml"}


MISSING = "of the reference picker is not available in this version"


@pytest.mark.parametrize("name", sorted(REFERENCE_ONLY))
def test_a_plugin_that_only_the_reference_has_is_named_once_wherever_it_is_referred_to(name: str) -> None:
    text = (
        f"{V1}plugins: [{{type: {name}}}, {{type: queue-scorer}}]\n"
        f"schedulingProfiles:\n- {{name: a, plugins: [{{pluginRef: {name}}}, {{pluginRef: queue-scorer}}]}}\n"
        "- {name: b}\n"
        f"requestHandler: {{parsers: [{{pluginRef: {name}}}]}}\ndataLayer: {{sources: [{{pluginRef: {name}}}]}}\n"
    )
    assert refusals(text) == [f"epp.yaml:3: plugins[0].type: plugin {name!r} {MISSING}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (V1 + "dataLayer: {crossReplica: {syncInterval: 200ms, publishTimeout: 1s}}\n", 2),
        (BEFORE + "dataLayer: {crossReplicaSyncInterval: 200ms}\n", 1),
        (V1 + "requestHandler: {propagatePriority: false}\n", 0),
        (V1 + "plugins: [{type: file-discovery, parameters: {path: a}}]\n"
         "dataLayer: {discovery: {endpoints: {pluginRef: file-discovery}}}\n", 0),
        (BEFORE + "plugins: [{type: file-discovery, parameters: {path: a}}]\n"
         "dataLayer: {discovery: {pluginRef: file-discovery}}\n", 0),
        (V1 + "featureGates: [dataLayer, prepareDataPlugins=true, flowControl=false]\n", 2),
        (V1 + "flowControl: {maxBytes: 1Gi, priorityBands: []}\n", 2),
    ],
)  # fmt: skip
def test_what_changes_nothing_is_accepted_and_noted(text: str, said: int) -> None:
    notes = load_picker_config(text, "epp.yaml").notes
    assert len(notes) == said
    assert all(" has no effect " in note for note in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            V1 + "dataLayer: {crossReplica: {syncerPluginRef: x, syncInterval: 200, every: 1s}}\n",
            [
                "epp.yaml:3: dataLayer.crossReplica.every: unknown key; expected one of publishTimeout, syncInterval, "
                "syncerPluginRef",
                "epp.yaml:3: dataLayer.crossReplica.syncerPluginRef: replicas that tell each other what they do are "
                "not available in this version",
                "epp.yaml:3: dataLayer.crossReplica.syncInterval: expected a duration such as 200ms, 30s or 1m30s, "
                "got a number",
            ],
        ),
        (
            V1 + "dataLayer: {crossReplicaSyncInterval: 200ms}\n",
            ["epp.yaml:3: dataLayer.crossReplicaSyncInterval: in this apiVersion it is crossReplica.syncInterval"],
        ),
        (
            BEFORE + "dataLayer: {crossReplica: {syncInterval: 200ms}}\n",
            ["epp.yaml:3: dataLayer.crossReplica: goes with apiVersion llm-d.ai/v1"],
        ),
        (
            V1 + "plugins: [{type: file-discovery, parameters: {path: a}}]\n"
            "dataLayer: {discovery: {pluginRef: file-discovery}}\n",
            ["epp.yaml:4: dataLayer.discovery: in this apiVersion it is discovery.endpoints.pluginRef"],
        ),
        (
            V1 + "requestHandler: {propagatePriority: true}\n",
            [
                "epp.yaml:3: requestHandler.propagatePriority: sending a request's priority on to the engine is not "
                "available in this version; remove it"
            ],
        ),
        (
            "apiVersion: llm-d.ai/v2\nkind: EndpointPickerConfig\nfeatureGate: []\n",
            [
                "epp.yaml:1: apiVersion: expected one of llm-d.ai/v1, llm-d.ai/v1alpha1, "
                "inference.networking.x-k8s.io/v1alpha1, got 'llm-d.ai/v2'; did you mean llm-d.ai/v1?",
                "epp.yaml:3: featureGate: unknown key; expected one of apiVersion, dataLayer, featureGates, "
                "flowControl, kind, parser, plugins, requestHandler, saturationDetector, schedulingProfiles; "
                "did you mean featureGates?",
            ],
        ),
        (
            "apiVersion: v1\nkind: Pod\nspec: {}\n",
            ["epp.yaml:2: kind: expected one of EndpointPickerConfig, got 'Pod'"],
        ),
    ],
)  # fmt: skip
def test_the_form_of_each_version_is_kept_to(text: str, said: list[str]) -> None:
    assert [line for line in refusals(text) if "spec: unknown" not in line] == said


def test_all_that_is_wrong_is_said_in_the_order_of_the_lines() -> None:
    text = f"""{V1}plugins:
- type: quue-scorer
- type: kv-cache-utilization-scorer
  parameters: {{weight: 2}}
- {{type: random-picker, parameters: {{maxNumOfEndpoints: 0}}}}
- {{type: endpoint-attribute-scorer, name: cool, parameters: {{attributeKey: GPUUtilisation, algorithm: {{type: up}}}}}}
- {{type: queue-scorer}}
- {{type: queue-scorer}}
- {{name: unheard}}
schedulingProfiles:
- name: default
  plugins:
  - {{pluginRef: quue-scorer}}
  - {{pluginRef: kv-cache-utilisation-scorer, weight: 1}}
  - {{pluginRef: queue-scorer, weight: -1}}
  - {{pluginRef: random-picker}}
parser: {{pluginRef: openai}}
"""
    found = [line.removeprefix("epp.yaml:") for line in refusals(text)]
    expected = [
        ("4: plugins[0].type: there is no plugin type 'quue-scorer'; there are ", "; did you mean queue-scorer?"),
        ("6: plugins[1].parameters.weight: unknown key", ""),
        ("7: plugins[2].parameters.maxNumOfEndpoints: expected at least 1, got 0", ""),
        ("8: plugins[3].parameters.attributeKey: expected label:<key> or one of GPUUtilization, gpu_", "did you mean GPUUtilization?"),  # noqa: E501
        ("8: plugins[3].parameters.algorithm.type: expected one of linear", ""),
        ("10: plugins[5].type: there is already a plugin named 'queue-scorer'", ""),
        ("11: plugins[6]: key 'type' is missing", ""),
        ("16: schedulingProfiles[0].plugins[1].pluginRef: no plugin is named 'kv-cache-utilisation-scorer'",
         "did you mean kv-cache-utilization-scorer?"),
        ("17: schedulingProfiles[0].plugins[2].weight: expected at least 0, got -1", ""),
        ("19: parser.pluginRef: no plugin is named 'openai'", ""),
    ]  # fmt: skip
    for line, (start, end) in zip(found, expected, strict=True):
        assert line.startswith(start), line
        assert line.endswith(end)
    assert max(map(len, found)) < 400


def test_the_list_of_an_unknown_type_is_short() -> None:
    (line,) = refusals(V1 + "plugins: [{type: kv-scorer}]\n")
    assert f"({len(KINDS)} in all)" in line
    assert line.count(", ") == 9


def test_a_document_without_end_of_mistakes_says_a_hundred_and_counts_the_others() -> None:
    lines = refusals(V1 + "plugins:\n" + "- {type: x}\n" * 2000)
    assert len(lines) == 101
    assert lines[-1] == "and 900 more problems"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            V1 + "featureGates: x\nplugins: [{type: quue-scorer}]\nflowControl: x\nrequestHandler: 5\ndataLayer: []\n",
            ["featureGates: expected a list", "plugins[0].type", "flowControl: ", "requestHandler: ", "dataLayer: "],
        ),
        (
            V1
            + "plugins: x\nfeatureGates: [x]\nschedulingProfiles: [{name: a, plugins: [{pluginRef: b, weight: -1}]}]\n",
            ["plugins: expected a list", "featureGates[0]", "schedulingProfiles[0].plugins[0].weight"],
        ),
        (
            V1 + "requestHandler: {parsers: x, propagatePriority: true}\n"
            "dataLayer: {sources: x, discovery: {endpoints: {pluginRef: x}}}\n",
            [
                "requestHandler.parsers: expected",
                "requestHandler.propagatePriority",
                "dataLayer.sources: expected",
                "dataLayer.discovery.endpoints.pluginRef",
            ],
        ),
        (
            V1.replace("EndpointPickerConfig", "EndpointPickerConfg") + "plugins: [{type: quue-scorer}]\n",
            ["kind: expected one of EndpointPickerConfig", "plugins[0].type"],
        ),
    ],
    ids=["sections", "plugins", "lists", "kind"],
)
def test_a_part_that_is_of_another_form_hides_no_other_problem(text: str, said: list[str]) -> None:
    found = sorted(refusals(text))
    assert len(found) == len(said), found
    assert all(any(f": {each}" in line for line in found) for each in said), found
