"""Queries and names are what prometheus-adapter makes of the same rules, by its own test vectors."""

import json
from pathlib import Path
from typing import Any

import pytest

from infscale.labels import Selector
from infscale.prometheus.rules.go_template import GoTemplate
from infscale.prometheus.rules.label_matchers import equal, of_selector, query
from infscale.prometheus.rules.rules_file import parse_rules
from infscale.prometheus.rules.series_registry import SeriesRegistry, forms_of, registry

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "prometheus_adapter_queries.json").read_text())

# The default configuration with rates of a minute and labels "kube_…", as the vectors of the registry are made with.
DEFAULTS = """
rules:
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: [{isNot: "^container_.*_total"}]
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^container_(.*)$"}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>,container!="POD"}) by (<<.GroupBy>>)'
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  seriesFilters: [{isNot: "^container_.*_seconds_total"}]
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^container_(.*)_total$"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[1m])) by (<<.GroupBy>>)'
- seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^container_(.*)_seconds_total$"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[1m])) by (<<.GroupBy>>)'
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  seriesFilters: [{isNot: ".*_total$"}]
  resources: {template: "kube_<<.Resource>>"}
  name: {matches: ""}
  metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  seriesFilters: [{isNot: ".*_seconds_total"}]
  resources: {template: "kube_<<.Resource>>"}
  name: {matches: "^(.*)_total$"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
- seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
  resources: {template: "kube_<<.Resource>>"}
  name: {matches: "^(.*)_seconds_total$"}
  metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)'
""".replace('name: {matches: ""}', "name: {}")

CONTAINER = ("container", "namespace", "pod")
SERIES: dict[str, tuple[str, ...]] = {
    "container_some_usage": CONTAINER,
    "container_some_count_total": CONTAINER,
    "container_some_time_seconds_total": CONTAINER,
    "ingress_hits_total": ("kube_namespace", "kube_service", "kube_pod"),
    "work_queue_wait_seconds_total": ("kube_namespace", "kube_deployment"),
    "volume_claims_total": ("kube_persistentvolume",),
}


def _discovered() -> SeriesRegistry:
    rules = parse_rules(DEFAULTS, "rules.yaml").rules
    forms = {
        prefix: forms_of(
            {"__name__": name, **dict.fromkeys(labels, "x")}
            for name, labels in SERIES.items()
            if name.startswith("container_") == prefix
        )
        for prefix in (True, False)
    }
    return registry([(rule, forms["=~" in rule.series_query]) for rule in rules])


@pytest.mark.parametrize("case", VECTORS["build"], ids=lambda case: case["name"])
def test_a_template_is_filled_as_by_the_reference(case: dict[str, Any]) -> None:
    matchers = of_selector(Selector.parse(case["metricSelector"]))
    if case["namespace"]:
        matchers.append(equal("namespaces", [case["namespace"]]))
    matchers.append(equal(case["resource"], case["names"]))
    group_by = [case["resource"], *case["extraGroupBy"]]
    assert query(GoTemplate.parse(case["template"]), case["series"], matchers, group_by).text == case["expect"]


@pytest.mark.parametrize("case", VECTORS["buildExternal"], ids=lambda case: case["name"])
def test_a_template_of_an_external_metric_is_filled_as_by_the_reference(case: dict[str, Any]) -> None:
    matchers = of_selector(Selector.parse(case["metricSelector"]))
    if case["namespacedRule"] and case["namespace"]:
        matchers.append(equal("namespaces", [case["namespace"]]))
    filled = query(GoTemplate.parse(case["template"]), case["series"], matchers, case["groupBySlice"])
    assert filled.text == case["expect"]


@pytest.mark.parametrize(
    "case",
    VECTORS["registry_default_config_rate1m_prefix_kube_"],
    ids=lambda case: f"{case['resource']}-{case['metric']}",
)
def test_a_discovered_metric_is_asked_for_as_by_the_reference(case: dict[str, Any]) -> None:
    resource, _, group = case["resource"].partition(".")
    # The fixture of the reference knows Deployments as they were called of old.
    found = _discovered().find(case["metric"], resource, "apps" if group == "extensions" else group)
    assert found is not None
    kind, made = found
    assert kind.namespaced == case["namespaced"]
    selector = Selector.parse(case["metricSelector"])
    asked = made.rule.query_of_objects(made.series, kind, case["namespace"], selector, case["names"])
    assert asked.text == case["expect"]
