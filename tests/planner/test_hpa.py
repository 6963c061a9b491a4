from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.planner.hpa import (
    MetricStatus,
    PodsMetric,
    ResourceMetric,
    Source,
    TotalMetric,
    UnavailableMetric,
    recommend,
)
from infscale.planner.hpa_rules import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Behavior,
    Bounds,
    Event,
    History,
    Reason,
    ScalingRules,
    SelectPolicy,
)
from infscale.planner.scale_target import PodState, PodValue, Workload
from tests.fakes.scaling import milli, ready

NOW = 1_000_000.0


def waiting(total: float, target: float = 3) -> TotalMetric:
    return TotalMetric("waiting_requests", (milli(total),), milli(target))


def refused(cause: str = "no fresh sample for pool a") -> UnavailableMetric:
    return UnavailableMetric("saturation_ratio", cause, Source.OBJECT)


def per_pod(*values: float | None, target: float = 3) -> PodsMetric:
    given_values = {f"pod-{row}": PodValue(milli(value)) for row, value in enumerate(values) if value is not None}
    return PodsMetric("queue_depth", given_values, milli(target))


@pytest.mark.parametrize(
    ("replicas", "metrics", "bounds", "desired", "reason", "explanation"),
    [
        pytest.param(
            4,
            [waiting(24)],
            Bounds(20),
            8,
            Reason.DESIRED_WITHIN_RANGE,
            "waiting_requests 24 / target 3 per pod → 8 replicas",
            id="total per pod",
        ),
        pytest.param(
            4,
            [waiting(24)],
            Bounds(6),
            6,
            Reason.TOO_MANY_REPLICAS,
            "waiting_requests 24 / target 3 per pod → 8 replicas; capped at maxReplicas 6",
            id="capped",
        ),
        pytest.param(
            4,
            [waiting(90)],
            Bounds(50),
            8,
            Reason.SCALE_UP_LIMIT,
            "waiting_requests 90 / target 3 per pod → 30 replicas; slowed to 8: at most double, or 4, per sync",
            id="slowed",
        ),
        pytest.param(
            4,
            [waiting(90)],
            Bounds(50, behavior=Behavior()),
            8,
            Reason.SCALE_UP_LIMIT,
            "waiting_requests 90 / target 3 per pod → 30 replicas; slowed to 8: 4 pods per 15 s or 100 % per 15 s",
            id="slowed by policies",
        ),
        pytest.param(
            4,
            [waiting(0)],
            Bounds(20, 2),
            2,
            Reason.TOO_FEW_REPLICAS,
            "waiting_requests 0 / target 3 per pod → 0 replicas; raised to minReplicas 2",
            id="idle",
        ),
        pytest.param(
            8,
            [waiting(24.6)],
            Bounds(20),
            8,
            Reason.DESIRED_WITHIN_RANGE,
            "waiting_requests 24.6 / target 3 per pod → stays at 8 replicas",
            id="within tolerance",
        ),
        pytest.param(
            3,
            [per_pod(6, 6, None)],
            Bounds(20),
            4,
            Reason.DESIRED_WITHIN_RANGE,
            "queue_depth 6 per pod / target 3 (1 without a value) → 4 replicas",
            id="pods, one missing",
        ),
        pytest.param(
            3,
            [TotalMetric("saturation_ratio", (milli(1.2),), milli(0.8), per_pod=False, source=Source.OBJECT)],
            Bounds(20),
            5,
            Reason.DESIRED_WITHIN_RANGE,
            "saturation_ratio 1.2 / target 0.8 × 3 ready pods → 5 replicas",
            id="value",
        ),
        pytest.param(
            4,
            [waiting(9), per_pod(6, 6, 6, 6)],
            Bounds(20),
            8,
            Reason.DESIRED_WITHIN_RANGE,
            "waiting_requests 9 / target 3 per pod → 3 replicas; queue_depth 6 per pod / target 3 → 8 replicas",
            id="the largest of many",
        ),
        pytest.param(
            4,
            [refused(), waiting(18)],
            Bounds(20),
            6,
            Reason.DESIRED_WITHIN_RANGE,
            "saturation_ratio: no fresh sample for pool a; waiting_requests 18 / target 3 per pod → 6 replicas",
            id="one unusable, up",
        ),
        pytest.param(
            4,
            [waiting(3), refused()],
            Bounds(20),
            4,
            Reason.FAILED_GET_OBJECT_METRIC,
            "waiting_requests 3 / target 3 per pod → 1 replica; saturation_ratio: no fresh sample for pool a;"
            " 1 of 2 metrics unusable, so it stays at 4 replicas",
            id="one unusable, down",
        ),
        pytest.param(
            4,
            [per_pod(None, None, None, None), refused()],
            Bounds(20),
            4,
            Reason.FAILED_GET_PODS_METRIC,
            "queue_depth: no metrics returned from custom metrics API; saturation_ratio: no fresh sample for pool a;"
            " 2 of 2 metrics unusable, so it stays at 4 replicas",
            id="all unusable",
        ),
        pytest.param(
            4,
            [TotalMetric("waiting_requests", (), 3000)],
            Bounds(20),
            4,
            Reason.FAILED_GET_EXTERNAL_METRIC,
            "waiting_requests: no metrics returned; 1 of 1 metrics unusable, so it stays at 4 replicas",
            id="empty list",
        ),
        pytest.param(
            0,
            [waiting(9)],
            Bounds(20, 1),
            0,
            Reason.SCALING_DISABLED,
            "scaling is switched off: the workload is at 0 replicas",
            id="switched off",
        ),
        pytest.param(
            0,
            [waiting(9)],
            Bounds(20, 0),
            3,
            Reason.DESIRED_WITHIN_RANGE,
            "waiting_requests 9 / target 3 per pod → 3 replicas",
            id="from zero",
        ),
        pytest.param(
            30,
            [waiting(0)],
            Bounds(20),
            20,
            Reason.TOO_MANY_REPLICAS,
            "30 replicas is more than maxReplicas 20",
            id="above the maximum",
        ),
        pytest.param(
            1,
            [waiting(0)],
            Bounds(20, 3),
            3,
            Reason.TOO_FEW_REPLICAS,
            "1 replica is fewer than minReplicas 3",
            id="below the minimum",
        ),
    ],
)
def test_a_sync_is_decided_and_explained(
    replicas: int, metrics: list[MetricStatus], bounds: Bounds, desired: int, reason: Reason, explanation: str
) -> None:
    outcome = recommend(ready(replicas), metrics, bounds, NOW)
    assert (outcome.desired, outcome.reason, outcome.explanation) == (desired, reason, explanation)


def test_a_scale_down_waits_for_the_highest_recommendation_to_age() -> None:
    workload, bounds = ready(8), Bounds(20)
    first = recommend(workload, [waiting(24)], bounds, NOW)
    soon = recommend(workload, [waiting(6)], bounds, NOW + 299, first.history)
    assert (soon.desired, soon.reason) == (8, Reason.SCALE_DOWN_STABILIZED)
    assert soon.history.recommendations[-1].replicas == 2
    assert soon.explanation.endswith("→ 2 replicas; held at the highest recommendation of the last 300 s")
    later = recommend(workload, [waiting(6)], bounds, NOW + 301, soon.history)
    assert later.desired == 2


def test_the_history_of_a_sync_that_decided_nothing_is_unchanged() -> None:
    history = History((Event(NOW - 10, 5),))
    assert recommend(ready(4), [refused()], Bounds(20), NOW, history).history == history


def test_the_tolerance_of_the_behavior_replaces_the_controllers() -> None:
    """A published replica count needs tolerance 0: from ten replicas on, one more is within the default tolerance."""
    published = TotalMetric("desired_replicas", (11_000,), 1000)
    exact = Behavior(replace(DEFAULT_SCALE_UP, tolerance=0.0), replace(DEFAULT_SCALE_DOWN, tolerance=0.0))
    workload = ready(10)
    assert recommend(workload, [published], Bounds(20), NOW).desired == 10
    assert recommend(workload, [published], Bounds(20, behavior=exact), NOW).desired == 11


def test_a_resource_has_a_share_or_a_mean_as_target() -> None:
    pods = tuple(PodState(f"pod-{row}", request_milli=1000) for row in range(2))
    values = {pod.name: PodValue(900, at=NOW) for pod in pods}
    share = recommend(Workload(2, pods), [ResourceMetric("cpu", values, 60)], Bounds(9), NOW)
    assert (share.desired, share.explanation) == (3, "cpu 90 % / target 60 % → 3 replicas")
    mean = recommend(Workload(2, pods), [ResourceMetric("cpu", values, 600, percent=False)], Bounds(9), NOW)
    assert (mean.desired, mean.explanation) == (3, "cpu 0.9 per pod / target 0.6 → 3 replicas")
    unknown = recommend(ready(2), [ResourceMetric("cpu", values, 60)], Bounds(9), NOW)
    assert unknown.reason is Reason.FAILED_GET_RESOURCE_METRIC


def test_no_metrics_at_all_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one metric"):
        recommend(ready(2), [], Bounds(9), NOW)


@pytest.mark.parametrize("make", [lambda: waiting(1, 0), lambda: per_pod(1, target=-1)], ids=["zero", "negative"])
def test_a_target_is_above_zero(make: Callable[[], MetricStatus]) -> None:
    with pytest.raises(ValueError, match="a target is above 0"):
        make()


@pytest.mark.parametrize(("value", "millis"), [(0.1, 100), (3, 3000), (1e-9, 1), (-0.0001, -1), (1 / 3, 334)])
def test_millis_round_away_from_zero(value: float, millis: int) -> None:
    assert milli(value) == millis


amounts = st.integers(0, 10**12)
metrics = st.one_of(
    st.builds(
        TotalMetric,
        st.just("total"),
        st.lists(amounts, max_size=3).map(tuple),
        st.integers(1, 10**6),
        st.booleans(),
    ),
    st.builds(
        PodsMetric,
        st.just("pods"),
        st.dictionaries(st.integers(0, 40).map("pod-{}".format), st.builds(PodValue, amounts), max_size=6),
        st.integers(1, 10**6),
    ),
    st.just(refused()),
)
rules = st.builds(
    ScalingRules,
    st.just(DEFAULT_SCALE_UP.policies),
    st.sampled_from(list(SelectPolicy)),
    st.sampled_from([0.0, 30.0, 300.0]),
    st.sampled_from([None, 0.0, 0.5]),
)
events = st.lists(st.builds(Event, st.floats(NOW - 600, NOW), st.integers(0, 60)), max_size=4).map(tuple)


@st.composite
def drawn_bounds(draw: st.DrawFn) -> Bounds:
    least = draw(st.integers(0, 30))
    behavior = draw(st.none() | st.builds(Behavior, rules, rules))
    return Bounds(draw(st.integers(max(1, least), 60)), least, behavior)


@given(
    st.integers(0, 80),
    st.lists(metrics, min_size=1, max_size=3),
    drawn_bounds(),
    st.builds(History, events, events, events),
)
def test_desired_is_always_within_the_bounds(
    replicas: int, chosen: list[MetricStatus], bounds: Bounds, history: History
) -> None:
    outcome = recommend(ready(replicas), chosen, bounds, NOW, history)
    if replicas == 0 and bounds.min_replicas > 0:
        assert outcome.desired == 0
    else:
        assert bounds.min_replicas <= outcome.desired <= bounds.max_replicas


@given(st.integers(1, 30), st.lists(metrics, min_size=1, max_size=3))
def test_an_unusable_metric_more_never_scales_down(replicas: int, chosen: list[MetricStatus]) -> None:
    outcome = recommend(ready(replicas), [*chosen, refused()], Bounds(30), NOW)
    assert outcome.desired >= replicas


def test_requests_of_a_metric_are_its_own_where_an_hpa_has_several_resources() -> None:
    """CPU of one container beside memory of the pods: each is a share of its own request."""
    workload = Workload(2, tuple(PodState(name, request_milli=4000) for name in ("pod-0", "pod-1")))
    values = {name: PodValue(900) for name in ("pod-0", "pod-1")}
    own = {name: 1000 for name in values}
    cpu = ResourceMetric("cpu", values, 50, requests_milli=own, source=Source.CONTAINER_RESOURCE)
    memory = ResourceMetric("memory", values, 50)
    found = recommend(workload, [cpu, memory], Bounds(8), 1000.0)
    assert [each.replicas for each in found.per_metric] == [4, 1]
    missing = ResourceMetric("cpu", values, 50, requests_milli={}, source=Source.CONTAINER_RESOURCE)
    assert recommend(workload, [missing], Bounds(8), 1000.0).reason is Reason.FAILED_GET_CONTAINER_RESOURCE_METRIC
