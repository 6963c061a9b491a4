"""What discovery reads of the objects of an API server, and what it overlooks."""

import json
from typing import Any

import pytest

from infscale.discovery.workloads import WORKLOADS
from infscale.endpoint import Autoscaler, MetricForm, MetricTarget, ObjectKey, Pool, ScaledMetric, TargetType, Workload
from infscale.kube import watched_objects as objects
from infscale.kube.watched_objects import MAX_VALUES, Condition, Container, PodRecord, Standing, read_pod
from infscale.labels import Selector
from tests.kube import cluster_objects as made

KEY = ObjectKey("chat", "vllm-0")
DEPLOYMENT = objects.described_by(WORKLOADS[0])
STARTED_AT = 1769860800.0


def test_a_pod_is_read_for_what_makes_endpoints() -> None:
    item = made.pod(
        annotations={"inference.networking.k8s.io/active-ports": "8002", "llm-d.ai/active-ports": "8000"},
        ownerReferences=made.owner("ReplicaSet", "vllm-7d"),
        deletionTimestamp="2026-01-31T13:00:00Z",
        containers=[made.container("proxy", 8080), made.container("vllm", 8000, 8002)],
        statuses=[made.started("vllm"), made.started("proxy", None)],
    )
    assert read_pod(item) == PodRecord(
        KEY,
        "uid-vllm-0",
        {"app": "vllm"},
        "8000",
        "10.0.0.1",
        finished=False,
        deleting=True,
        ready=True,
        containers=(Container("proxy", (8080,)), Container("vllm", (8000, 8002), STARTED_AT, 90.0)),
        owner=Workload("ReplicaSet", "vllm-7d"),
        node="node",
    )


def test_a_pod_that_was_only_just_created_is_read_too() -> None:
    item = {"metadata": {"namespace": "chat", "name": "vllm-0"}, "spec": {"containers": [{"name": "vllm"}]}}
    assert read_pod(item) == PodRecord(KEY, containers=(Container("vllm"),))


@pytest.mark.parametrize(
    ("ready", "ready_at", "started_at", "seconds"),
    [
        pytest.param("True", made.READY, made.STARTED, 90.0, id="ready after the start"),
        pytest.param("True", made.STARTED, made.STARTED, 0.0, id="within the second that Kubernetes tells"),
        pytest.param("False", made.READY, made.STARTED, None, id="not ready"),
        pytest.param("True", made.STARTED, made.READY, None, id="ready with an earlier start"),
        pytest.param("True", made.READY, None, None, id="not running"),
    ],
)
def test_load_time_is_from_the_containers_start_to_ready(
    ready: str, ready_at: str, started_at: str | None, seconds: float | None
) -> None:
    item = made.pod(ready=ready, ready_at=ready_at, statuses=[made.started("vllm", started_at)])
    assert read_pod(item).containers[0].load_seconds == seconds


def test_versions_of_a_pod_that_mean_the_same_are_equal() -> None:
    first, second = made.pod(), made.pod(resourceVersion="2", managedFields=[{"manager": "kubelet"}])
    second["status"]["conditions"][0]["lastProbeTime"] = made.READY
    assert read_pod(first) == read_pod(second)


def test_a_pool_takes_only_endpoints_on_its_own_ports() -> None:
    record = objects.POOL.read(made.pool("pool", 8000, 8002))
    assert record.value == Pool(ObjectKey("chat", "pool"), {"app": "vllm"}, (8000, 8002), own_ports=True)
    assert record.created == made.STARTED
    legacy = objects.LEGACY_POOL.read(made.legacy_pool("old", 8001))
    assert legacy.value == Pool(ObjectKey("chat", "old"), {"app": "vllm"}, (8001,), own_ports=True)


def test_items_of_lists_need_not_say_their_kind() -> None:
    record = DEPLOYMENT.read(made.workload("Deployment", "vllm"))
    assert record.value is not None
    assert (record.value.kind, record.value.selector) == ("Deployment", Selector.parse("app=vllm"))


def test_a_status_or_a_template_makes_no_other_record_of_a_workload() -> None:
    first, second = made.workload("Deployment", "vllm"), made.workload("Deployment", "vllm", replicas=7, template={})
    second["status"] = {"replicas": 7}
    assert DEPLOYMENT.read(first) == DEPLOYMENT.read(second)


def test_what_a_newer_api_server_adds_is_passed_over() -> None:
    item = made.pool()
    item["spec"]["novelty"] = {"a": 1}
    assert objects.POOL.read(item).problem is None


def test_an_unreadable_version_keeps_what_was_said_before_and_says_why() -> None:
    good = objects.POOL.read(made.pool())
    item = made.pool()
    item["spec"]["targetPorts"] = [{"number": 0}]
    bad = objects.POOL.read(item, good)
    assert bad.value == good.value
    assert bad.problem == "spec.targetPorts[0].number: expected at least 1, got 0"
    assert objects.POOL.read(made.pool(), bad) == good


def test_an_object_created_anew_inherits_nothing() -> None:
    good = objects.POOL.read(made.pool())
    item = made.pool(created=made.READY)
    item["spec"]["targetPorts"] = []
    assert objects.POOL.read(item, good).value is None


def test_conditions_are_read_where_we_write_them() -> None:
    condition = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 3}
    status = {"conditions": [{**condition, "lastTransitionTime": made.READY}]}
    assert objects.OBJECTIVE.read(made.objective(status=status)).standing == Standing(
        3, "1", (Condition("Accepted", "True", "Accepted", "", made.READY, 3),)
    )
    assert objects.OBJECTIVE.read(made.objective()).standing == Standing(3, "1", ())
    assert objects.POOL.read(made.pool()).standing is None


METRICS: list[dict[str, Any]] = [
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
    {
        "type": "Pods",
        "pods": {
            "metric": {"name": "waiting_requests", "selector": {"matchLabels": {"model": "a"}}},
            "target": {"type": "AverageValue", "averageValue": "3"},
        },
    },
    {
        "type": "Object",
        "object": {
            "metric": {"name": "saturation_ratio"},
            "describedObject": {"apiVersion": "v1", "kind": "InferencePool", "name": "pool"},
            "target": {"type": "Value", "value": "1"},
        },
    },
    {
        "type": "External",
        "external": {
            "metric": {
                "name": "queue_latency_p90_seconds",
                "selector": {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["pool"]}]},
            },
            "target": {"type": "Value", "value": "500m"},
        },
    },
]


PER_POD_3 = MetricTarget(TargetType.AVERAGE_VALUE, "3")
VALUE_1, VALUE_500M = MetricTarget(TargetType.VALUE, "1"), MetricTarget(TargetType.VALUE, "500m")


def test_an_autoscaler_is_read_for_the_metrics_of_ours() -> None:
    assert objects.AUTOSCALER.read(made.autoscaler("scale", METRICS)).value == Autoscaler(
        ObjectKey("chat", "scale"),
        Workload("Deployment", "vllm"),
        (
            ScaledMetric(MetricForm.PODS, "waiting_requests", Selector.parse("model=a"), None, PER_POD_3),
            ScaledMetric(MetricForm.OBJECT, "saturation_ratio", Selector(), ("InferencePool", "pool"), VALUE_1),
            ScaledMetric(
                MetricForm.EXTERNAL, "queue_latency_p90_seconds", Selector.parse("pool in (pool)"), None, VALUE_500M
            ),
        ),
        others=1,
        replicas=(1, 4),
    )


def test_an_autoscaler_without_bounds_or_targets_is_read_all_the_same() -> None:
    metrics = [{"type": "Pods", "pods": {"metric": {"name": "waiting_requests"}}}]
    item = made.autoscaler("scale", metrics)
    del item["spec"]["maxReplicas"]
    read = objects.AUTOSCALER.read(item).value
    assert isinstance(read, Autoscaler)
    assert (read.replicas, [metric.target for metric in read.metrics]) == (None, [None])


def test_an_autoscalers_status_makes_no_other_record() -> None:
    assert objects.AUTOSCALER.read(made.autoscaler()) == objects.AUTOSCALER.read(made.autoscaler(currentReplicas=3))
    assert objects.AUTOSCALER.read({**made.autoscaler(), "spec": {}}).problem == "spec: key 'scaleTargetRef' is missing"


LARGE: dict[str, Any] = {
    "labels": {"selector": {"matchLabels": {f"k{each}": "v" for each in range(MAX_VALUES)}}},
    "deep": {"selector": json.loads("[" * 200 + "]" * 200)},
    "expressions": {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}] * MAX_VALUES}},
}


@pytest.mark.parametrize("spec", LARGE.values(), ids=LARGE)
def test_an_object_of_more_values_than_are_read_is_a_problem_and_keeps_what_it_said(spec: dict[str, Any]) -> None:
    item = {"metadata": {"namespace": "a", "name": "b"}, "spec": {"selector": {"matchLabels": {"a": "b"}}}}
    before = DEPLOYMENT.read(item)
    assert before.problem is None
    record = DEPLOYMENT.read({**item, "spec": spec}, before)
    assert record.value == before.value
    assert record.problem == f"it has more than {MAX_VALUES} values, which is more than is read"


def test_an_object_of_almost_as_many_values_is_read() -> None:
    labels = {f"k{each}": "v" for each in range(MAX_VALUES - 10)}
    item = {"metadata": {"namespace": "a", "name": "b"}, "spec": {"selector": {"matchLabels": labels}}}
    assert DEPLOYMENT.read(item).problem is None


def test_of_an_annotation_of_a_quarter_of_a_mebibyte_the_beginning_is_kept() -> None:
    record = read_pod(made.pod(annotations={"llm-d.ai/active-ports": "8000," * 50_000}))
    assert record.active_ports is not None
    assert len(record.active_ports) == 1_024
