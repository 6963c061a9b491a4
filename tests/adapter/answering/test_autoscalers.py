from dataclasses import replace

import pytest

from adapter.answering.autoscalers import KEDA_LABEL, MOST_AT_ONCE, MOST_OF_ONE, Asking, Finding, Said, checked, news
from infscale.endpoint import Autoscaler, DiscoveryState, MetricForm, ObjectKey, ScaledMetric, Workload
from infscale.kube.autoscaler_specs import MAX_METRICS
from infscale.kube.watched_objects import AUTOSCALER
from infscale.labels import Selector, model_key
from infscale.metrics.published.catalogue import BY_NAME
from tests.adapter.support import MODEL, World

HPA = ObjectKey("llm", "scaler")


def findings(world: World, state: DiscoveryState, known_elsewhere: str = "") -> list[Finding]:
    steps = checked(Asking(world.provider, known_elsewhere.__eq__, BY_NAME), state, 100.0)
    return [each for each in steps if each is not None]


def found(metric: ScaledMetric, target: str = "half-0", *, scraped: bool = True) -> list[Finding]:
    world = World()
    if scraped:
        world.report_all(100.0)
    autoscaler = Autoscaler(HPA, Workload("Deployment", target), (metric,))
    return findings(world, replace(world.state, autoscalers=(autoscaler,)))


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


def test_what_another_adapter_has_is_no_finding() -> None:
    """It is asked for what is not known here, of objects that are not known here, too; external metrics are not."""
    world = World()
    world.report_all(100.0)
    metrics = (
        ScaledMetric(MetricForm.PODS, "queue_length"),
        ScaledMetric(MetricForm.EXTERNAL, "queue_length"),
        ScaledMetric(MetricForm.PODS, "nothing"),
    )
    state = replace(world.state, autoscalers=(Autoscaler(HPA, Workload("Deployment", "half-0"), metrics),))
    said = findings(world, state, "queue_length")
    assert [(each.metric, "did you mean" in each.problem or "known are" in each.problem) for each in said] == [
        ("queue_length", True),
        ("nothing", True),
    ]


def test_what_keda_answers_is_no_finding() -> None:
    selector = Selector.parse(f"{KEDA_LABEL}=vllm")
    assert found(ScaledMetric(MetricForm.EXTERNAL, "s0-infscale_replicas_of_load", selector)) == []


def test_a_name_of_an_engine_that_the_other_adapter_has_is_asked_for_there() -> None:
    """As the adapter does: infscale would refuse it for its unit."""
    metric = ScaledMetric(MetricForm.PODS, "DCGM_FI_DEV_FB_USED")
    world = World()
    world.report_all(100.0)
    state = replace(world.state, autoscalers=(Autoscaler(HPA, Workload("Deployment", "half-0"), (metric,)),))
    assert findings(world, state, "DCGM_FI_DEV_FB_USED") == []
    [finding] = findings(world, state)
    assert "gpu_memory_used_bytes" in finding.problem


def test_an_autoscaler_with_five_thousand_metrics_is_read_in_part_and_says_so_in_few_lines() -> None:
    metric = {"target": {"type": "AverageValue", "averageValue": "1"}}
    metrics = [{"type": "Pods", "pods": {"metric": {"name": f"m{each}"}, **metric}} for each in range(5_000)]
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "half-0"}, "metrics": metrics}
    read = AUTOSCALER.read({"metadata": {"namespace": "llm", "name": "scaler"}, "spec": spec})
    assert read.value is not None
    assert (len(read.value.metrics), read.value.is_whole) == (MAX_METRICS, False)
    state = replace(World().state, autoscalers=(read.value,))
    found = findings(World(), state)
    assert len(found) == MAX_METRICS + 1
    said = news(found, frozenset())
    assert (len(said.told), said.more) == (MOST_OF_ONE, MAX_METRICS + 1 - MOST_OF_ONE)
    assert news(found, frozenset(found)) == Said((), 0)


def test_many_autoscalers_say_a_bounded_number_of_lines() -> None:
    found = [Finding(ObjectKey("llm", f"h{each}"), "m", "no") for each in range(100)]
    said = news(found, frozenset())
    assert (len(said.told), said.more) == (MOST_AT_ONCE, 100 - MOST_AT_ONCE)
