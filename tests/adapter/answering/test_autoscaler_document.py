"""What autoscalers are told, and the controller's arithmetic on it; what is not known is said and not guessed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from adapter.answering.autoscaler_document import MAX_AUTOSCALERS, MAX_SHOWN_METRICS, autoscaler_steps
from adapter.answering.autoscalers import KEDA_LABEL, Asking
from infscale.endpoint import Autoscaler, MetricForm, MetricTarget, ObjectKey, ScaledMetric, TargetType, Workload
from infscale.labels import Selector
from infscale.metrics.published.catalogue import BY_NAME
from infscale.stepwise import result_of
from tests.adapter.support import World

HPA = ObjectKey("llm", "scaler")
PER_POD = MetricTarget(TargetType.AVERAGE_VALUE, "500m")
VALUE = MetricTarget(TargetType.VALUE, "2")
WAITING = ScaledMetric(MetricForm.PODS, "waiting_requests", target=PER_POD)
OF_POOL = ScaledMetric(MetricForm.OBJECT, "waiting_requests", described=("InferencePool", "a"), target=VALUE)


def told(
    *metrics: ScaledMetric,
    knows: Callable[[str], bool] = lambda _: False,
    scraped: bool = True,
    **changes: Any,
) -> dict[str, Any]:
    world = World()
    if scraped:
        world.report_all(100.0)
    autoscaler = replace(Autoscaler(HPA, Workload("Deployment", "half-0"), metrics, replicas=(1, 10)), **changes)
    state = replace(world.state, autoscalers=(autoscaler,))
    document: Any = result_of(autoscaler_steps(Asking(world.provider, knows, BY_NAME), state, 100.5))
    (only,) = document["autoscalers"]
    return only


def test_a_metric_of_pods_has_its_mean_its_age_and_what_it_makes() -> None:
    found = told(WAITING)
    (metric,) = found["metrics"]
    assert (metric["form"], metric["target_type"], metric["target"]) == ("Pods", "AverageValue", "500m")
    assert metric["age_seconds"] == 0.5
    assert metric["items"] == found["pods"] > 0
    expected = min(10, -(-int(metric["value"] * 1000) * found["pods"] // 500))
    assert found["replicas"] == expected
    assert "waiting_requests" in found["why"]
    assert (metric["replicas"], metric["why"].partition(" ")[0]) == (expected, "waiting_requests")


def test_two_metrics_of_one_name_each_make_their_own() -> None:
    untargeted = replace(WAITING, target=None)
    found = told(untargeted, WAITING, replace(OF_POOL, target=MetricTarget(TargetType.VALUE, "1k")))["metrics"]
    assert found[0]["replicas"] is None
    assert found[1]["replicas"] > found[2]["replicas"]


def test_where_the_bounds_alone_decide_no_metric_makes_anything() -> None:
    found = told(WAITING, replicas=(1, 1))
    assert (found["replicas"], found["metrics"][0]["replicas"]) == (1, None)


def test_a_metric_of_an_object_is_compared_as_a_value() -> None:
    (metric,) = told(OF_POOL)["metrics"]
    assert (metric["described"], metric["target_type"], metric["items"]) == ("InferencePool/a", "Value", 1)


@pytest.mark.parametrize(
    ("metric", "cause"),
    [
        (ScaledMetric(MetricForm.PODS, "waiting_request", target=PER_POD), "did you mean waiting_requests?"),
        (ScaledMetric(MetricForm.OBJECT, "waiting_requests", described=("Pump", "x"), target=VALUE), "does not know"),
        (ScaledMetric(MetricForm.EXTERNAL, "waiting_requests", Selector.parse("pool=c"), target=VALUE), "label sets"),
    ],
)
def test_what_cannot_be_answered_has_its_cause_and_scales_nothing_down(metric: ScaledMetric, cause: str) -> None:
    found = told(metric)
    assert cause in found["metrics"][0]["cause"]
    assert found["metrics"][0]["value"] is None
    assert found["replicas"] == found["pods"]


def test_unknown_values_have_the_words_that_the_hpa_shows() -> None:
    assert "not scraped yet" in told(OF_POOL, scraped=False)["metrics"][0]["cause"]


def test_another_adapters_metrics_are_said_to_be_that() -> None:
    found = told(ScaledMetric(MetricForm.PODS, "queue_length", target=PER_POD), knows="queue_length".__eq__)
    assert found["metrics"][0]["cause"] == "another adapter answers it, which is not asked for this document"


@pytest.mark.parametrize(
    ("metrics", "changes", "words"),
    [
        ((WAITING,), {"target": Workload("Deployment", "none")}, "Deployment none is not among the objects"),
        ((WAITING,), {"replicas": None}, "its maxReplicas"),
        ((WAITING,), {"others": 2}, "2 of its metrics, which other servers answer (CPU, memory)"),
        ((replace(WAITING, target=None),), {}, "targets that are not written as quantities"),
        ((WAITING,) * (MAX_SHOWN_METRICS + 1), {}, f"metrics beyond its first {MAX_SHOWN_METRICS}"),
    ],
)
def test_what_is_not_known_is_said(metrics: tuple[ScaledMetric, ...], changes: dict[str, Any], words: str) -> None:
    assert any(each.startswith(words) for each in told(*metrics, **changes)["not_known"])


def test_a_target_that_is_no_quantity_is_a_cause() -> None:
    found = told(replace(WAITING, target=MetricTarget(TargetType.AVERAGE_VALUE, "much")))
    assert found["replicas"] == found["pods"]
    assert "much" in found["why"]


def test_of_very_many_autoscalers_the_first_are_shown_and_the_rest_counted() -> None:
    world = World()
    scalers = tuple(
        Autoscaler(ObjectKey("llm", f"scaler-{number}"), Workload("Deployment", "half-0"), (WAITING,))
        for number in range(MAX_AUTOSCALERS + 5)
    )
    asking = Asking(world.provider, lambda _: False, BY_NAME)
    steps = autoscaler_steps(asking, replace(world.state, autoscalers=scalers), 100.0)
    document: Any = result_of(steps)
    assert (len(document["autoscalers"]), document["left_out"]) == (MAX_AUTOSCALERS, 5)


def test_what_others_answer_is_not_answered_here() -> None:
    keda = ScaledMetric(MetricForm.EXTERNAL, "s0-load", Selector.parse(f"{KEDA_LABEL}=vllm"), target=VALUE)
    other = ScaledMetric(MetricForm.PODS, "vllm:num_requests_waiting", target=PER_POD)
    document = told(keda, other, knows=lambda name: name == "vllm:num_requests_waiting")
    causes = [each["cause"] for each in document["metrics"]]
    assert causes == [
        "KEDA answers it; what infscale told KEDA is at /debug/triggers",
        "another adapter answers it, which is not asked for this document",
    ]
