"""The parameters of the rollout screener, in both forms that the reference has had."""

import pytest

from infscale.errors import ConfigError
from infscale.labels import Selector
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.scheduling.rollout import Gate, HeaderSelector, RolloutScreener
from tests.picker.scheduling.test_rollout import REVISION, SLICE, gate

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n"
TYPE = "- type: disaggregatedset-rollout-screener\n  parameters:\n"


def loaded(parameters: str, more: str = "") -> PickerConfig:
    lines = "".join(f"    {line}\n" for line in parameters.splitlines())
    return load_picker_config(HEAD + TYPE + lines + more, "epp.yaml")


def screener_of(parameters: str) -> RolloutScreener:
    (found,) = loaded(parameters).screeners
    assert isinstance(found, RolloutScreener)
    return found


SCOPE = 'scope: {labelSelector: "set=s"}\n'


def test_it_is_read_as_the_reference_writes_it() -> None:
    found = screener_of(SCOPE + "revisionGating: {mode: max-role, requiredRoles: [prefill, decode]}")
    assert found.selectors == (HeaderSelector("x-llm-d-disagg-revision", REVISION),)
    assert (found.revision_label, found.gate) == (REVISION, gate("max-role"))
    named = screener_of(
        SCOPE
        + "revisionGating: {mode: sum, requiredRoles: [p], revisionHeaderName: X-Group, revisionLabelKey: group,"
        + " roleLabelKey: kind}"
    )
    assert named.selectors == (HeaderSelector("x-group", "group"),)
    assert named.gate == Gate(Selector.parse("set=s"), ("p",), "sum", "kind")
    assert named.stamps == (("x-group", "group"),)


def test_it_is_read_as_the_reference_once_wrote_it() -> None:
    found = screener_of(
        SCOPE
        + """\
headerSelectors:
- {name: revision, headerName: X-Disagg-Revision, labelKey: disaggregatedset.x-k8s.io/revision, mode: strict}
- {name: slice, headerName: x-disagg-slice, labelKey: disaggregatedset.x-k8s.io/slice, mode: prefer}
revisionGating: {mode: sum, requireRoles: {values: [prefill, decode]}}
"""
    )
    assert found.selectors == (
        HeaderSelector("x-disagg-revision", REVISION),
        HeaderSelector("x-disagg-slice", SLICE, strict=False),
    )
    assert found.gate == gate("sum")


def test_disabled_gating_leaves_the_header() -> None:
    found = screener_of(SCOPE + "revisionGating: {mode: disabled}")
    assert found.gate is None
    assert found.selectors == (HeaderSelector("x-llm-d-disagg-revision", REVISION),)
    assert screener_of(SCOPE + "headerSelectors: []\nrevisionGating: {mode: disabled, requiredRoles: [a]}").stamps == ()


GATING = "revisionGating: {mode: sum, requiredRoles: [prefill, decode]}\n"
SELECTOR = "{name: a, headerName: x-a, labelKey: a, mode: strict}"
SAME_HEADER = "{name: b, headerName: X-A, labelKey: a, mode: strict}"
REFUSED = {
    "no scope": (GATING, "epp.yaml:6: plugins[0].parameters: parameter 'scope' is missing"),
    "no selector": (
        f"scope: {{}}\n{GATING}",
        "epp.yaml:6: plugins[0].parameters.scope: key 'labelSelector' is missing",
    ),
    "an empty selector": (
        f'scope: {{labelSelector: ""}}\n{GATING}',
        "scope.labelSelector: expected a non-empty string",
    ),
    "no label selector": (
        f"scope: {{labelSelector: a b}}\n{GATING}",
        "scope.labelSelector: label selector, character 3",
    ),
    "no gating": (SCOPE, "epp.yaml:6: plugins[0].parameters: parameter 'revisionGating' is missing"),
    "no mode": (
        f"{SCOPE}revisionGating: {{requiredRoles: [a]}}",
        "epp.yaml:7: plugins[0].parameters.revisionGating: key",
    ),
    "unknown mode": (
        f"{SCOPE}revisionGating: {{mode: most}}",
        "revisionGating.mode: expected one of sum, max-role, disab",
    ),
    "no roles": (
        f"{SCOPE}revisionGating: {{mode: sum}}",
        "revisionGating: expected at least one role in requiredRoles",
    ),
    "empty roles": (
        f"{SCOPE}revisionGating: {{mode: sum, requiredRoles: []}}",
        "requiredRoles: expected at least one role",
    ),
    "an empty role": (
        f'{SCOPE}revisionGating: {{mode: sum, requiredRoles: [""]}}',
        "requiredRoles[0]: expected a non-empty",
    ),
    "a role twice": (
        f"{SCOPE}revisionGating: {{mode: sum, requiredRoles: [a, a]}}",
        "requiredRoles[1]: the role 'a' is",
    ),
    "roles in both forms": (
        f"{SCOPE}revisionGating: {{mode: sum, requiredRoles: [a], requireRoles: {{values: [a]}}}}",
        "revisionGating.requireRoles: requiredRoles is given too",
    ),
    "headers in both forms": (
        f"{SCOPE}headerSelectors: []\nrevisionGating: {{mode: disabled, revisionHeaderName: x}}",
        "revisionGating.revisionHeaderName: headerSelectors are given too",
    ),
    "no header": (
        f'{SCOPE}revisionGating: {{mode: disabled, revisionHeaderName: "a b"}}',
        "expected the name of a header",
    ),
    "no label": (
        f"{SCOPE}revisionGating: {{mode: disabled, revisionLabelKey: -a}}",
        "revisionLabelKey: a label name has",
    ),
    "a selector twice": (
        f"{SCOPE}headerSelectors: [{SELECTOR}, {SELECTOR}]\n{GATING}",
        "headerSelectors[1].name: there is already a selector named 'a'",
    ),
    "a header twice": (
        f"{SCOPE}headerSelectors: [{SELECTOR}, {SAME_HEADER}]\n{GATING}",
        "headerSelectors[1].headerName: there is already a selector of the header 'x-a'",
    ),
    "a selector's mode": (
        f"{SCOPE}headerSelectors: [{SELECTOR.replace('strict', 'lax')}]\n{GATING}",
        "headerSelectors[0].mode: expected one of strict, prefer, got 'lax'",
    ),
    "unknown key": (f"{SCOPE}{GATING}gating: {{}}", "plugins[0].parameters.gating: unknown key"),
}


@pytest.mark.parametrize(("parameters", "said"), REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_mean_is_refused_at_its_place(parameters: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(parameters)
    assert str(error.value).startswith("epp.yaml:")
    assert said in str(error.value)
