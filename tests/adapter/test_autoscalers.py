from dataclasses import replace

import pytest

from adapter.autoscalers import Finding, findings
from infscale.endpoint import Autoscaler, MetricForm, ObjectKey, ScaledMetric, Workload
from infscale.labels import Selector, model_key
from tests.adapter.support import MODEL, World

HPA = ObjectKey("llm", "scaler")


def found(metric: ScaledMetric, target: str = "half-0", *, scraped: bool = True) -> list[Finding]:
    world = World()
    if scraped:
        world.report_all(100.0)
    autoscaler = Autoscaler(HPA, Workload("Deployment", target), (metric,))
    return list(findings(world.provider, replace(world.state, autoscalers=(autoscaler,)), 100.0))


MODEL_OF_POOL = Selector.parse(f"pool=a,model_key={model_key(MODEL)}")


@pytest.mark.parametrize(
    "metric",
    [
        ScaledMetric(MetricForm.PODS, "waiting_requests"),
        ScaledMetric(MetricForm.OBJECT, "saturation_ratio", described=("InferencePool", "a")),
        ScaledMetric(MetricForm.OBJECT, "waiting_requests", described=("Deployment", "half-0")),
        ScaledMetric(MetricForm.OBJECT, "waiting_requests", described=("Service", "all")),
        ScaledMetric(MetricForm.OBJECT, "waiting_requests", described=("Namespace", "whatever")),
        ScaledMetric(MetricForm.OBJECT, "hits", described=("Ingress", "of-another-adapter")),
        ScaledMetric(MetricForm.EXTERNAL, "waiting_requests", MODEL_OF_POOL),
    ],
    ids=lambda metric: f"{metric.form.value}-{metric.described}",
)
def test_what_can_be_answered_is_no_finding(metric: ScaledMetric) -> None:
    assert found(metric) == []


def test_values_that_are_unknown_pass() -> None:
    assert found(ScaledMetric(MetricForm.PODS, "waiting_requests"), scraped=False) == []


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (ScaledMetric(MetricForm.PODS, "waiting_request"), "did you mean waiting_requests?"),
        (ScaledMetric(MetricForm.OBJECT, "saturation_ratio", described=("InferencePool", "c")), "no such object"),
        (ScaledMetric(MetricForm.EXTERNAL, "waiting_requests", Selector.parse("pool=c")), "its label sets are pool=a"),
        (ScaledMetric(MetricForm.EXTERNAL, "vllm:nothing"), "known are"),
    ],
    ids=["misspelt", "no-pool", "no-label-set", "unknown"],
)
def test_what_names_nothing_is_found_in_the_words_the_hpa_will_show(metric: ScaledMetric, words: str) -> None:
    [finding] = found(metric)
    assert (finding.autoscaler, finding.metric) == (HPA, metric.name)
    assert words in finding.problem


def test_a_target_that_discovery_does_not_know_is_not_judged() -> None:
    assert found(ScaledMetric(MetricForm.PODS, "waiting_request"), target="elsewhere") == []
