"""Files of prometheus-adapter are read unchanged, as they are or in a ConfigMap; mistakes have their line."""

import pytest

from infscale.errors import ConfigError
from infscale.prometheus.rules.object_kinds import NAMESPACE, POD
from infscale.prometheus.rules.rules_file import parse_rules

RULE = """\
rules:
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters:
  - isNot: "^container_.*_total"
  - is: "usage"
  resources:
    overrides:
      namespace: {resource: namespace}
      pod: {resource: pod}
      kube_leader: {group: leaderworkerset.x-k8s.io, resource: leaderworkerset}
      kube_own: {group: example.org, resource: engine}
  name: {matches: "^container_(.*)$", as: ""}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: queue_length
  resources: {namespaced: false}
  metricsQuery: sum(<<.Series>>)
resourceRules:
  cpu: {containerQuery: x, nodeQuery: y, containerLabel: container}
  memory: {containerQuery: x}
  window: 5m
"""


def test_an_empty_pattern_and_an_empty_template_are_none() -> None:
    """As in files of vLLM's tutorials: the name is ``as``, whatever the series is called."""
    rules = parse_rules(
        """
rules:
- seriesQuery: '{__name__=~"^vllm:num_requests_waiting$"}'
  resources:
    template: ""
    overrides: {namespace: {resource: namespace}}
  name: {matches: "", as: vllm_num_requests_waiting}
  metricsQuery: sum by(namespace) (vllm:num_requests_waiting)
""",
        "f",
    )
    (rule,) = rules.rules
    assert rule.naming.name_of("vllm:num_requests_waiting") == "vllm_num_requests_waiting"
    assert rule.labels.template is None


def test_a_file_is_read() -> None:
    rules = parse_rules(RULE, "f")
    (rule,), (external,) = rules.rules, rules.external_rules
    assert (rule.place, external.place) == ("f:2", "f:15")
    assert rule.keeps("container_usage")
    assert not rule.keeps("container_usage_total")
    assert not rule.keeps("container_x")
    assert rule.naming.name_of("container_usage") == "usage"
    kinds = rule.labels.overrides
    assert (kinds["namespace"], kinds["pod"]) == (NAMESPACE, POD)
    assert str(kinds["kube_leader"]) == "leaderworkersets.leaderworkerset.x-k8s.io"
    # What is not known by name has the usual forms.
    assert (str(kinds["kube_own"]), kinds["kube_own"].api_version) == ("engines.example.org", "example.org/v1")
    assert external.external
    assert not external.labels.namespaced
    assert external.naming.name_of("queue_length") == "queue_length"
    assert [(each.resource, each.place) for each in rules.resource_rules] == [("cpu", "f:19"), ("memory", "f:20")]


def test_a_config_map_is_read_with_the_lines_of_its_file() -> None:
    indented = "\n".join(f"    {line}" for line in RULE.replace("isNot:", "isnt:").splitlines())
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata:\n  config.yaml: |\n{indented}\n"
    with pytest.raises(ConfigError, match=r"f:9: rules\[0\].seriesFilters\[0\].isnt: unknown key"):
        parse_rules(text, "f")
    assert len(parse_rules(text.replace("isnt:", "isNot:"), "f").rules) == 1


def test_a_config_map_as_json_is_read() -> None:
    text = '{"kind": "ConfigMap", "data": {"config.yaml": "rules:\\n- {seriesQuery: x, metricsQuery: y, z: 1}\\n"}}'
    with pytest.raises(ConfigError, match=r"f \(data.config.yaml\):2: rules\[0\].z: unknown key"):
        parse_rules(text, "f")


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("rules:\n- {seriesQuery: x}", "f:2: rules[0]", "metricsQuery"),
        ("rules:\n- {seriesQuery: x, metricsQuery: '<<.Series'}", "f:2: rules[0].metricsQuery", "<< without >>"),
        (
            "rules:\n- seriesQuery: x\n  metricsQuery: y\n  name: {matches: '(?=x)'}",
            "f:4: rules[0].name.matches",
            "RE2 has no group",
        ),
        (
            "rules:\n- seriesQuery: x\n  metricsQuery: y\n  name: {matches: '(a)(b)'}",
            "f:4: rules[0].name",
            "say in as",
        ),
        (
            "rules:\n- seriesQuery: x\n  metricsQuery: y\n  resources: {template: 'kube_pod'}",
            "f:4: rules[0].resources.template",
            "<<.Resource>> once",
        ),
        (
            "rules:\n- seriesQuery: x\n  metricsQuery: y\n  seriesFilters: [{is: a, isNot: b}]",
            "f:4: rules[0].seriesFilters[0]",
            "one of is and isNot",
        ),
        ("rules: {a: b}", "f:1: rules", "expected a list"),
        ("kind: ConfigMap\ndata: {}", "f:2: data", "expected one configuration"),
        ("metrics: []", "f:1: metrics", "unknown key"),
    ],
)
def test_a_mistake_has_its_place(text: str, place: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_rules(text, "f")
    assert str(refused.value).startswith(place)
    assert problem in str(refused.value)


def test_all_mistakes_are_said_at_once() -> None:
    text = "rules:\n- {seriesQuery: x, metricsQuery: '<<'}\n- {seriesQuery: x, metricsQuery: '<<'}\n"
    with pytest.raises(ConfigError) as refused:
        parse_rules(text, "f")
    assert len(refused.value.lines()) == 2


def test_an_empty_rule_list_is_one() -> None:
    assert parse_rules("rules: []\nexternalRules: []", "f").all == ()
