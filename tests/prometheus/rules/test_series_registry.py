"""Series become metrics by the rules; what infscale scrapes itself is known to be its own."""

import pytest

from infscale.prometheus.rules.object_kinds import NAMESPACE, POD
from infscale.prometheus.rules.own_series import OWN_METRICS, OwnMetric, why_not_own
from infscale.prometheus.rules.rules_file import parse_rules
from infscale.prometheus.rules.series_registry import SeriesRegistry, forms_of, registry

PODS = "resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}"


def made(rules: str, *series: str, labels: tuple[str, ...] = ("namespace", "pod")) -> SeriesRegistry:
    found = parse_rules(rules, "rules.yaml")
    forms = forms_of({"__name__": name, **dict.fromkeys(labels, "x")} for name in series)
    return registry([(rule, forms) for rule in found.all])


def rule(name: str = "{}", query: str = "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)") -> str:
    return f"- {{seriesQuery: x, {PODS}, name: {name}, metricsQuery: '{query}'}}\n"


def test_a_metric_is_found_by_either_name_of_its_kind() -> None:
    found = made("rules:\n" + rule(), "queue")
    assert found.find("queue", "pods", "") == found.find("queue", "pod", "")
    assert (found.find("queue", "pods", "") or [None])[0] == POD
    assert (found.find("queue", "namespaces", "") or [None])[0] == NAMESPACE
    assert found.find("queue", "pods", "apps") is None
    assert found.find("other", "pods", "") is None


def test_the_later_of_two_rules_counts_and_that_is_said() -> None:
    found = made("rules:\n" + rule() + rule("{as: queue}"), "queue", "another")
    kind_and_maker = found.find("queue", "pods", "")
    assert kind_and_maker is not None
    assert kind_and_maker[1].rule.number == 1
    assert found.overridden == (
        "queue: rules[0] (rules.yaml:2) gives way to rules[1] (rules.yaml:3), which comes later",
    )


def test_external_metrics_are_apart() -> None:
    found = made("rules:\n" + rule() + "externalRules:\n" + rule(), "queue")
    assert found.external["queue"].rule.external
    assert not found.objects["queue", POD].rule.external
    assert not found.overridden


def test_a_name_that_no_path_can_have_is_left_out() -> None:
    assert not made("rules:\n" + rule('{as: "a/b"}'), "queue").objects


def test_what_infscale_scrapes_is_its_own() -> None:
    own = made("rules:\n" + rule(), "vllm:num_requests_waiting", "queue").own
    assert own == {"vllm:num_requests_waiting": OwnMetric("waiting_requests", 1.0, frozenset({"sum"}))}


@pytest.mark.parametrize(
    ("series", "own"),
    [
        ("DCGM_FI_DEV_FB_USED", OwnMetric("gpu_memory_used_bytes", 2.0**-20, frozenset({"sum"}))),
        ("dcgm_fb_used", OwnMetric("gpu_memory_used_bytes", 2.0**-20, frozenset({"sum"}))),
        ("gpu_total_vram", OwnMetric("gpu_memory_total_bytes", 2.0**-20, frozenset({"sum"}))),
        ("gpu_gfx_activity", OwnMetric("gpu_utilization_ratio", 100.0, frozenset({"avg"}))),
        # Parts of the total, and what stands in for it, are published under no name.
        ("DCGM_FI_DEV_FB_FREE", None),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", None),
        # Series of parts of GPUs, and of shares of them: their plain mean is not the mean of the GPUs.
        ("xpum_engine_ratio", None),
        ("hami_vgpu_memory_used_bytes", None),
    ],
)
def test_series_of_whole_gpus_are_those_of_the_table_of_exporters(series: str, own: OwnMetric | None) -> None:
    assert OWN_METRICS.get(series) == own


@pytest.mark.parametrize(
    ("series", "query", "why"),
    [
        ("vllm:num_requests_waiting", "<<.Series>>{<<.LabelMatchers>>}", None),
        ("DCGM_FI_DEV_GPU_UTIL", "avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)", None),
        ("DCGM_FI_DEV_FB_USED", "sum by (<<.GroupBy>>) (<<.Series>>{<<.LabelMatchers>>})", None),
        ("vllm:kv_cache_usage_perc", "max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)", None),
        ("vllm:kv_cache_usage_perc", "avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)", "infscale the max"),
        ("vllm:num_requests_waiting", "avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)", "infscale the sum"),
        ("vllm:num_requests_waiting", "sum(<<.Series>>{<<.LabelMatchers>>})", "does not group by pod"),
        ("vllm:num_requests_waiting", 'sum(<<.Series>>{<<.LabelMatchers>>,a="b"}) by (<<.GroupBy>>)', "conditions"),
        ("vllm:num_requests_waiting", "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>) / 2", "no plain sum"),
        (
            "vllm:num_requests_waiting",
            "sum(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)",
            "no plain sum",
        ),
        ("queue", "<<.Series>>{<<.LabelMatchers>>}", "does not scrape"),
    ],
)
def test_only_the_same_numbers_are_its_own(series: str, query: str, why: str | None) -> None:
    found = parse_rules("rules:\n" + rule(query=query.replace("'", "''")), "f").rules[0]
    said = why_not_own(found, series)
    assert said is None if why is None else why in (said or "")
