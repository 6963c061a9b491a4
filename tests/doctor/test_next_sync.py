"""What the controller will do next: its arithmetic on what was answered, in its words."""

from dataclasses import replace

import pytest

from infscale.doctor.next_sync import NextSync, next_sync
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_apis import Answer
from infscale.doctor.view.seen_scalers import ObjectRef, SeenAutoscaler, SeenCondition, SeenMetric
from infscale.planner.hpa_rules import Behavior
from tests.doctor import healthy as made


def sync(scaler: SeenAutoscaler, *answers: Answer, **changes: object) -> NextSync:
    """The next look at one HPA, whose metrics have these answers."""
    found: ClusterView = replace(made.view(scaler), **changes)  # type: ignore[arg-type]
    given = {**found.answers, **{(scaler.key, at): each for at, each in enumerate(answers)}}
    return next_sync(replace(found, answers=given), scaler)


@pytest.mark.parametrize(
    ("metric", "answer", "replicas", "words"),
    [
        pytest.param(
            made.pods_metric(),
            made.answer(9000, 7000),
            4,
            "8 per pod / target 4 → 4 replicas",
            id="a value of each pod",
        ),
        pytest.param(made.pods_metric(), made.answer(4200, 4000), 2, "stays at 2 replicas", id="within the tolerance"),
        pytest.param(
            made.object_metric("in_flight_requests", "AverageValue", 16000),
            made.answer(48000),
            3,
            "48 / target 16 per pod",
            id="a total divided by pods",
        ),
        pytest.param(
            made.external_metric("queue_latency_p90_seconds", "Value", 2000),
            made.answer(3000),
            3,
            "3 / target 2 × 2 ready pods",
            id="a level times ready pods",
        ),
    ],
)
def test_the_controller_s_arithmetic_is_done_on_what_was_answered(
    metric: SeenMetric, answer: Answer, replicas: int, words: str
) -> None:
    found = sync(made.autoscaler(metric), answer)
    assert (found.current, found.desired) == (2, replicas)
    assert words in found.explanation


def test_a_utilisation_is_of_the_requests_of_its_own_resource_and_container() -> None:
    metric = SeenMetric(0, "ContainerResource", "cpu", "Utilization", None, 50, container="server")
    requests = {("cpu", "server"): 1000, ("cpu", ""): 4000}
    pods = tuple(made.pod(f"vllm-{at}", requests_milli=requests) for at in range(2))
    found = sync(made.autoscaler(metric), made.answer(900, 900), pods=pods)
    assert (found.desired, found.reason) == (4, "DesiredWithinRange")
    assert "90 % / target 50 %" in found.explanation


@pytest.mark.parametrize(
    ("metric", "reason", "api"),
    [
        (made.pods_metric(), "FailedGetPodsMetric", "custom metrics API"),
        (
            made.external_metric("waiting_requests", "AverageValue", 1),
            "FailedGetExternalMetric",
            "external metrics API",
        ),
        (
            SeenMetric(0, "Resource", "cpu", "Utilization", None, 50),
            "FailedGetResourceMetric",
            "resource metrics API",
        ),
    ],
)
def test_a_refusal_is_said_as_the_controller_says_it(metric: SeenMetric, reason: str, api: str) -> None:
    found = sync(made.autoscaler(metric), made.refused("Unreachable", "no fresh sample: 2 pods stale"))
    assert (found.desired, found.reason) == (2, reason)
    assert f"unable to fetch metrics from {api}: no fresh sample" in found.explanation


def test_an_empty_list_is_no_value() -> None:
    found = sync(made.autoscaler(), Answer(made.PATH))
    assert (found.desired, found.reason) == (2, "FailedGetPodsMetric")
    assert "no metrics returned from custom metrics API" in found.explanation


def test_a_scale_down_that_the_controller_says_it_holds_is_held() -> None:
    held = SeenCondition("AbleToScale", "True", "ScaleDownStabilized", "recent recommendations were higher")
    calm = made.autoscaler(conditions=(held,), status_desired=2, behavior=Behavior())
    assert sync(calm, made.answer(0, 0)).desired == 2
    assert sync(replace(calm, conditions=()), made.answer(0, 0)).desired == 1


def test_without_a_scale_the_controller_gets_no_further() -> None:
    scaler = made.autoscaler()
    scales = {**made.view().scales, scaler.key: None}
    assert sync(scaler, scales=scales) == NextSync(None, None, "FailedGetScale", "there is no Deployment vllm")
    unseen = {key: each for key, each in made.view().scales.items() if key != scaler.key}
    assert "cannot be read by this user" in sync(scaler, scales=unseen).explanation


def test_two_hpas_that_count_the_same_pods_scale_neither() -> None:
    other = made.autoscaler(name="other", target=ObjectRef("apps/v1", "Deployment", "other"))
    first = made.autoscaler()
    found = next_sync(made.view(first, other), first)
    assert (found.desired, found.reason) == (2, "AmbiguousSelector")


@pytest.mark.parametrize(
    ("minimum", "maximum", "desired"),
    [(3, 8, 3), (1, 1, 1)],
    ids=["below the minimum", "above the maximum"],
)
def test_bounds_come_before_metrics(minimum: int, maximum: int, desired: int) -> None:
    scaler = made.autoscaler(min_replicas=minimum, max_replicas=maximum)
    assert sync(scaler, made.answer(4000, 4000)).desired == desired


def test_bounds_that_cannot_be_are_no_reason_to_fail() -> None:
    assert sync(made.autoscaler(min_replicas=9, max_replicas=3), made.answer(1)).desired is None
