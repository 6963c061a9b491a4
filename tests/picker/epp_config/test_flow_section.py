"""``flowControl`` as the reference writes it: what of it arrives, its defaults, and what is refused."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.errors import ConfigError
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.flow.policies import Ordering
from picker.flow.reference.flow_settings import BandSettings, CeilingsChoice, FairnessChoice, ReferenceFlowSettings
from picker.flow.reference.identities import AGENT_HEADERS
from picker.flow.reference.orderings import EarliestDeadline, FirstComeFirstServed, SloDeadline
from picker.flow.reference.program_aware import ProgramSettings
from picker.flow.reference.revocation import LowestThenNewest, SheddableOnly, Victims
from picker.flow.reference.usage_limits import PriorityHoldback, SoftReflectiveChoice, StaticLimit
from picker.flow.reference.wait_budgets import WaitBudget

CASES = Path(__file__).parents[2] / "cases" / "configs"
HEAD = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nfeatureGates: [flowControl]\n"
ROUND_ROBIN = FairnessChoice("round-robin-fairness-policy", "round-robin")


def loaded(body: str) -> PickerConfig:
    return load_picker_config(HEAD + body, "epp.yaml")


def flow(body: str) -> ReferenceFlowSettings:
    settings = loaded(body).flow
    assert settings is not None
    return settings


def refusals(body: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(body)
    return [line.removeprefix("epp.yaml:") for line in caught.value.lines()]


def case(name: str) -> PickerConfig:
    return load_picker_config((CASES / name).read_text(), name)


def test_flow_control_is_on_where_its_gate_is() -> None:
    assert flow("") == ReferenceFlowSettings()
    assert flow("flowControl: {}\n") == ReferenceFlowSettings()
    off = HEAD.replace("[flowControl]", "[flowControl=false]") + "flowControl: {maxRequests: 5}\n"
    assert load_picker_config(off, "epp.yaml").flow is None
    assert load_picker_config(HEAD.replace("featureGates: [flowControl]\n", ""), "epp.yaml").flow is None


def test_a_whole_configuration_of_the_field_arrives() -> None:
    config = case("flow-control.yaml")
    assert config.flow == ReferenceFlowSettings(
        max_requests=1000,
        max_bytes=10 * 2**30,
        budget=WaitBudget(60.0, 60.0),
        bands={
            100: BandSettings(max_requests=500, fairness=ROUND_ROBIN),
            0: BandSettings(max_requests=200, fairness=ROUND_ROBIN),
            -10: BandSettings(max_requests=50, fairness=ROUND_ROBIN),
        },
    )
    assert config.detector is not None
    assert config.detector.saturation == SaturationSettings(SaturationKind.REQUESTS, max_in_flight_requests=132)
    uses = {each.name: each.uses for each in config.plugins}
    assert uses["round-robin-fairness-policy"] == tuple(f"waiting requests: {band}" for band in (100, 0, -10))
    assert uses["concurrency-detector"] == ("saturation",)


def test_turn_priority_for_the_sessions_of_agents_arrives() -> None:
    config = case("turn-priority-fairness.yaml")
    turns = FairnessChoice("program-aware-fairness", "program-aware", ProgramSettings(strategy="turn-priority"))
    assert config.flow == ReferenceFlowSettings(
        bands={-1: BandSettings(ttl_seconds=9000.0, fairness=turns), 0: BandSettings()}, evicting=Victims()
    )
    assert config.agent_headers == AGENT_HEADERS
    assert config.detector is not None
    assert config.detector.saturation.max_in_flight_requests == 32


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{maxRequests: 1k, maxBytes: 500M}", ReferenceFlowSettings(1000, 500_000_000)),
        ("{maxRequests: 7, maxBytes: 1Gi}", ReferenceFlowSettings(7, 2**30)),
        # As in the reference 0 is no limit for all, and the usual limit for a band.
        ('{maxRequests: 0, maxBytes: "0"}', ReferenceFlowSettings()),
        (
            '{priorityBands: [{priority: 1, maxRequests: "0", maxBytes: 0}]}',
            ReferenceFlowSettings(bands={1: BandSettings(5_000, 1_000_000_000)}),
        ),
        ("{maxRequests: 500m}", ReferenceFlowSettings(1)),
        ("{defaultRequestTTL: 30s}", ReferenceFlowSettings(budget=WaitBudget(30.0, 30.0))),
        ("{defaultRequestTTL: 0s}", ReferenceFlowSettings(budget=WaitBudget(math.inf, math.inf))),
        ("{noEndpointRequestTTL: 10m}", ReferenceFlowSettings(budget=WaitBudget(60.0, 600.0))),
        (
            "{defaultRequestTTL: 30s, noEndpointRequestTTL: 0s}",
            ReferenceFlowSettings(budget=WaitBudget(30.0, math.inf)),
        ),
        (
            "{defaultPriorityBand: {maxRequests: 9}, defaultNegativePriorityBand: {priority: -1, maxBytes: 8}}",
            ReferenceFlowSettings(default_band=BandSettings(9), negative_band=BandSettings(max_bytes=8)),
        ),
        (
            "{priorityBands: [{priority: -7, defaultRequestTTL: 0s}]}",
            ReferenceFlowSettings(bands={-7: BandSettings(ttl_seconds=math.inf)}),
        ),
        ("{bandSelectionPolicyPluginRef: strict-band-selection-policy}", ReferenceFlowSettings()),
        ("{usageLimitPolicyPluginRef: static-usage-limit-policy}", ReferenceFlowSettings()),
        ("{enableEviction: false, priorityBands: []}", ReferenceFlowSettings()),
        ("{enableEviction: true}", ReferenceFlowSettings(evicting=Victims(SheddableOnly(), LowestThenNewest()))),
    ],
)
def test_budgets_bands_and_times_arrive(section: str, expected: ReferenceFlowSettings) -> None:
    assert flow(f"flowControl: {section}\n") == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("fcfs-ordering-policy", FirstComeFirstServed()),
        ("edf-ordering-policy", EarliestDeadline()),
        ("slo-deadline-ordering-policy", SloDeadline()),
    ],
)
def test_orderings_by_name(kind: str, expected: Ordering) -> None:
    band = "{priority: 0, orderingPolicyRef: o}"
    body = f"plugins: [{{name: o, type: {kind}}}]\nflowControl: {{priorityBands: [{band}]}}\n"
    assert flow(body).bands[0].ordering == expected


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ("{type: global-strict-fairness-policy, name: f}", FairnessChoice("f", "global-strict")),
        ("{type: round-robin-fairness-policy, name: f}", FairnessChoice("f", "round-robin")),
        ("{type: program-aware-fairness, name: f}", FairnessChoice("f", "program-aware")),
        (
            "{type: program-aware-fairness, name: f, parameters: {strategy: las, evictionTtlSeconds: 0, "
            "evictionSweepSeconds: 1, lasWeightService: 0.7, lasWeightHeadWait: 0.3, lasHalfLifeSeconds: 0}}",
            FairnessChoice("f", "program-aware", ProgramSettings("las", 0.0, 1.0, 0.7, 0.3, 0.0)),
        ),
        (
            "{type: program-aware-fairness, name: f, parameters: {strategy: turn-priority, "
            "turnPriorityTimeWeight: 0.5, turnPriorityInactivitySeconds: 0}}",
            FairnessChoice(
                "f", "program-aware", ProgramSettings("turn-priority", wait_weight=0.5, inactive_seconds=0.0)
            ),
        ),
    ],
)
def test_fairness_by_name(plugin: str, expected: FairnessChoice) -> None:
    body = f"plugins: [{plugin}]\nflowControl: {{defaultPriorityBand: {{fairnessPolicyRef: f}}}}\n"
    assert flow(body).default_band.fairness == expected


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ("static-usage-limit-policy", StaticLimit(1.0)),
        ("static-usage-limit-policy, parameters: {threshold: 0.8}", StaticLimit(0.8)),
        ("soft-reflective-ceiling-policy", SoftReflectiveChoice()),
        ("priority-holdback-policy, parameters: {minCeiling: 0.4}", PriorityHoldback(0.4)),
        (
            "priority-holdback-policy, parameters: {shape: linear, domain: value, minCeiling: 0, maxCeiling: 0.9}",
            PriorityHoldback(0.0, 0.9, "value"),
        ),
        (
            "priority-holdback-policy, parameters: {domain: explicit, ceilings: {100: 0.95, -10: 0.3, 0: 0.95}}",
            PriorityHoldback(domain="explicit", ceilings={100: 0.95, 0: 0.95, -10: 0.3}),
        ),
    ],
)
def test_usage_limits_by_name(plugin: str, expected: CeilingsChoice) -> None:
    body = f"plugins: [{{name: c, type: {plugin}}}]\nflowControl: {{usageLimitPolicyPluginRef: c}}\n"
    assert flow(body).ceilings == expected


def test_headers_of_agents_are_asked_before_those_that_are_known() -> None:
    body = "plugins: [{type: agent-identity, parameters: {additionalSessionHeaders: [X-Own, x-other]}}]\n"
    assert loaded(body).agent_headers == ("x-own", "x-other", *AGENT_HEADERS)
    assert loaded("").agent_headers == ()


PARAMETERS = {
    "half of the field": ("{type: priority-holdback-policy}", "parameter 'minCeiling' is missing"),
    "floor": ("{type: priority-holdback-policy, parameters: {minCeiling: 1}}", "minCeiling: expected a number below"),
    "upside down": (
        "{type: priority-holdback-policy, parameters: {minCeiling: 0.9, maxCeiling: 0.4}}",
        "minCeiling: expected a number below maxCeiling (0.4)",
    ),
    "no ceiling": (
        "{type: priority-holdback-policy, parameters: {minCeiling: 0, maxCeiling: 0}}",
        "maxCeiling: expected a number above 0",
    ),
    "shape": (
        "{type: priority-holdback-policy, parameters: {minCeiling: 0, shape: sigmoid}}",
        "expected one of linear",
    ),
    "ceilings by rank": (
        "{type: priority-holdback-policy, parameters: {minCeiling: 0, ceilings: {1: 1}}}",
        "ceilings: goes with domain: explicit alone",
    ),
    "explicit with a shape": (
        "{type: priority-holdback-policy, parameters: {domain: explicit, shape: linear, ceilings: {1: 1}}}",
        "shape: does not go with domain: explicit",
    ),
    "explicit without": (
        "{type: priority-holdback-policy, parameters: {domain: explicit}}",
        "parameter 'ceilings' is missing",
    ),
    "explicit and empty": (
        "{type: priority-holdback-policy, parameters: {domain: explicit, ceilings: {}}}",
        "ceilings: expected a ceiling for at least one priority",
    ),
    "ceilings that rise": (
        "{type: priority-holdback-policy, parameters: {domain: explicit, ceilings: {1: 0.2, 0: 0.3}}}",
        "ceilings.0: expected at most 0.2, the ceiling of the priority above",
    ),
    "no priority": (
        "{type: priority-holdback-policy, parameters: {domain: explicit, ceilings: {high: 0.3}}}",
        "expected a whole number, a priority, as key",
    ),
    "a decay that is gone": (
        "{type: program-aware-fairness, parameters: {lasDecayFactor: 0.99}}",
        "lasDecayFactor: unknown key",
    ),
    "no sweep": (
        "{type: program-aware-fairness, parameters: {evictionSweepSeconds: 0}}",
        "evictionSweepSeconds: expected a number above 0",
    ),
    "another strategy": (
        "{type: program-aware-fairness, parameters: {strategy: drr}}",
        "expected one of las, turn-priority, got 'drr'",
    ),
    "parameters of nothing": ("{type: soft-reflective-ceiling-policy, parameters: {threshold: 1}}", "unknown key"),
}


@pytest.mark.parametrize(("plugin", "problem"), PARAMETERS.values(), ids=PARAMETERS.keys())
def test_parameters_are_those_of_the_reference_and_no_others(plugin: str, problem: str) -> None:
    (line,) = refusals(f"plugins: [{plugin}]\n")
    assert problem in line


REFUSED = {
    "unknown key": ("{maxRequest: 1}", ["4: flowControl.maxRequest: unknown key"]),
    "no quantity": ("{maxBytes: 1GB}", ["4: flowControl.maxBytes: '1GB' is no quantity"]),
    "a negative number": ("{maxRequests: -1}", ["4: flowControl.maxRequests: expected at least 0"]),
    "a negative quantity": ('{maxRequests: "-1k"}', ["4: flowControl.maxRequests: expected at least 0"]),
    "no duration": ("{defaultRequestTTL: 60}", ["4: flowControl.defaultRequestTTL: expected a duration"]),
    "no priority": (
        "{priorityBands: [{maxRequests: 1}]}",
        ["4: flowControl.priorityBands[0]: key 'priority' is missing"],
    ),
    "the same priority": (
        "{priorityBands: [{priority: 1}, {priority: 1}]}",
        ["4: flowControl.priorityBands[1].priority: there is already a band of priority 1"],
    ),
    "unheard": (
        "{priorityBands: [{priority: 1, fairnessPolicyRef: x}]}",
        ["4: flowControl.priorityBands[0].fairnessPolicyRef: no plugin is named 'x'"],
    ),
    "another kind": (
        "{priorityBands: [{priority: 1, orderingPolicyRef: global-strict-fairness-policy}]}",
        ["4: flowControl.priorityBands[0].orderingPolicyRef: expected an ordering policy, "],
    ),
    "all of it": (
        "{maxBytes: x, priorityBands: [{priority: a}, 5], enableEviction: 1, usageLimitPolicyPluginRef: y}",
        [
            "4: flowControl.maxBytes",
            "4: flowControl.priorityBands[0].priority",
            "4: flowControl.priorityBands[1]",
            "4: flowControl.enableEviction",
            "4: flowControl.usageLimitPolicyPluginRef",
        ],
    ),
}


@pytest.mark.parametrize(("section", "problems"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_wrong_is_said_with_its_place(section: str, problems: list[str]) -> None:
    found = refusals(f"flowControl: {section}\n")
    assert len(found) == len(problems), found
    for problem in problems:
        assert any(line.startswith(problem) for line in found), (problem, found)


def test_a_policy_that_is_refused_is_said_once_wherever_it_is_referred_to() -> None:
    body = (
        "plugins: [{type: program-aware-fairness, name: p, parameters: {strategy: x}}, "
        "{type: priority-holdback-policy, name: h}]\n"
        "flowControl: {usageLimitPolicyPluginRef: h, defaultPriorityBand: {fairnessPolicyRef: p}, "
        "priorityBands: [{priority: 0, fairnessPolicyRef: p}]}\n"
    )
    assert [line.partition(": ")[2].partition(":")[0] for line in refusals(body)] == [
        "plugins[0].parameters.strategy",
        "plugins[1]",
    ]


def test_without_the_gate_the_section_changes_nothing_but_the_detector() -> None:
    body = (
        "plugins: [{type: concurrency-detector}]\n"
        "flowControl: {maxRequests: x, saturationDetector: {pluginRef: concurrency-detector}}\n"
    )
    config = load_picker_config(HEAD.replace("featureGates: [flowControl]\n", "") + body, "epp.yaml")
    assert config.notes == ("epp.yaml:4: flowControl.maxRequests: has no effect without the gate flowControl",)
    assert config.detector is not None
    assert config.detector.saturation.kind is SaturationKind.REQUESTS


@given(st.integers(0, 2**62), st.sampled_from(["", "k", "Ki", "M", "Gi"]))
def test_every_quantity_is_a_whole_number_of_requests(number: int, suffix: str) -> None:
    text = f"{number % 10**6}{suffix}"
    settings = flow(f'flowControl: {{maxRequests: "{text}"}}\n')
    factor = {"": 1, "k": 1000, "Ki": 1024, "M": 10**6, "Gi": 2**30}[suffix]
    assert (settings.max_requests or 0) == number % 10**6 * factor
