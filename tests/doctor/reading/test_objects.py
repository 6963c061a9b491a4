"""Objects as the API server sends them, read into what rules look at."""

import base64

import pytest

from infscale.doctor.reading import api_objects, routing_objects, scaler_objects, workload_objects
from infscale.doctor.reading.plain_json import Json
from infscale.endpoint import ObjectKey
from infscale.planner.hpa_rules import DEFAULT_SCALE_UP, PolicyType
from tests.doctor.reading.fake_api import AUTOSCALER, DEPLOYMENT, POD


def test_an_hpa_has_its_metrics_behaviour_and_conditions() -> None:
    found = scaler_objects.autoscaler(Json(AUTOSCALER))
    [metric] = found.metrics
    assert (metric.form, metric.name, metric.target_type, metric.target_milli) == (
        "Pods",
        "waiting_requests",
        "AverageValue",
        4000,
    )
    assert (metric.selector, dict(metric.labels), metric.field) == (
        "model_key=llama",
        {"model_key": "llama"},
        "spec.metrics[0]",
    )
    assert found.behavior is not None
    assert found.behavior.scale_up == DEFAULT_SCALE_UP
    down = found.behavior.scale_down
    assert (down.tolerance, down.stabilization_window_seconds, down.policies[0].type) == (
        0.2,
        120.0,
        PolicyType.PERCENT,
    )
    assert found.status_desired == 3
    condition = found.condition("AbleToScale")
    assert condition is not None
    assert condition.reason == "ReadyForNewScale"


def test_of_a_scaled_object_only_what_rules_read_is_kept() -> None:
    metadata = {
        "scalerAddress": "a:1",
        "serverAddress": "https://me:secret@prometheus:9090",
        "password": "secret",
        "awsSecretAccessKey": "secret",
    }
    spec = {"scaleTargetRef": {"name": "vllm"}, "triggers": [{"type": "external", "metadata": metadata}]}
    found = scaler_objects.scaled_object(Json({"metadata": {"name": "a", "namespace": "llm"}, "spec": spec}))
    assert (found.target.kind, found.min_replicas, found.max_replicas) == ("Deployment", 0, 100)
    assert (found.hpa_name, found.has_fallback) == ("keda-hpa-a", False)
    assert dict(found.triggers[0].metadata) == {"scalerAddress": "a:1", "serverAddress": "https://prometheus:9090"}
    assert "secret" not in repr(found)
    assert (found.triggers[0].metric_type, found.is_composed) == ("AverageValue", False), "KEDA's defaults"


def test_what_the_hpa_makes_of_a_trigger_is_read() -> None:
    triggers = [{"type": "prometheus", "metricType": "Value"}]
    advanced = {"scalingModifiers": {"formula": "a + b", "target": "1"}}
    spec = {"scaleTargetRef": {"name": "vllm"}, "triggers": triggers, "advanced": advanced}
    found = scaler_objects.scaled_object(Json({"metadata": {"name": "a", "namespace": "llm"}, "spec": spec}))
    assert (found.triggers[0].metric_type, found.is_composed) == ("Value", True)


def test_a_workload_has_its_template() -> None:
    found = workload_objects.workload(Json(DEPLOYMENT), "Deployment")
    [container] = found.containers
    assert (found.replicas, found.grace_seconds, found.account, found.config_maps) == (2, 45.0, "vllm", ("settings",))
    assert (container.ports, container.pre_stop_seconds, container.number(["--max-num-seqs"])) == ((8000,), 20.0, 32)
    assert (container.has_readiness, container.has_liveness, container.has_startup) == (True, False, False)
    assert container.requests == {"cpu", "nvidia.com/gpu"}
    assert found.selector is not None
    assert found.selector.matches({"app": "vllm"})


@pytest.mark.parametrize(
    ("hook", "seconds"),
    [
        ({"sleep": {"seconds": 7}}, 7.0),
        ({"exec": {"command": ["/bin/sleep", "1.5"]}}, 1.5),
        ({"exec": {"command": ["sh", "-c", "sleep 5 && sleep 6"]}}, 11.0),
        ({"httpGet": {"path": "/drain"}}, None),
        (None, None),
    ],
)
def test_how_long_a_hook_waits_is_read_where_it_can_be(hook: object, seconds: float | None) -> None:
    container = {"name": "a", "lifecycle": {"preStop": hook}}
    item = {"spec": {"template": {"spec": {"containers": [container]}}}}
    [found] = workload_objects.workload(Json(item), "Deployment").containers
    assert (found.pre_stop_seconds, found.has_pre_stop) == (seconds, hook is not None)


@pytest.mark.parametrize(
    ("timeouts", "seconds"),
    [({"request": "10m"}, 600.0), ({"request": "0s"}, None), ({}, None), ({"request": "x"}, None)],
)
def test_how_long_requests_of_a_route_may_take_is_read(timeouts: object, seconds: float | None) -> None:
    rule = {"backendRefs": [{"name": "chat"}], "timeouts": timeouts}
    item = {"metadata": {"name": "a", "namespace": "llm"}, "spec": {"rules": [rule]}}
    assert routing_objects.route(Json(item)).timeouts == (seconds,)


def test_a_pod_belongs_to_what_owns_its_replica_set() -> None:
    owners = {ObjectKey("llm", "vllm-abc"): ("Deployment", "vllm")}
    found = workload_objects.pod(Json(POD), owners)
    assert (found.owner, found.ready, found.is_usable) == (("Deployment", "vllm"), True, True)
    assert dict(found.requests_milli)["cpu", ""] == 500
    assert workload_objects.pod(Json(POD), {}).owner == ("ReplicaSet", "vllm-abc")


def test_an_older_pool_is_read_in_its_own_form() -> None:
    spec = {"selector": {"app": "vllm"}, "targetPortNumber": 8000, "extensionRef": {"name": "epp"}}
    found = routing_objects.legacy_pool(Json({"metadata": {"name": "a"}, "spec": spec}))
    assert (dict(found.selector), found.ports, found.version) == ({"app": "vllm"}, (8000,), "v1alpha2")
    assert found.picker is not None
    assert (found.picker.port, found.picker.failure_mode) == (9002, "FailClose")


def test_services_count_their_ready_addresses() -> None:
    service = {"metadata": {"name": "epp", "namespace": "llm"}, "spec": {"ports": [{"port": 9002}]}}
    addresses = [{"conditions": {"ready": True}}, {"conditions": {"ready": False}}, {}]
    slices = {
        "metadata": {"namespace": "llm", "labels": {"kubernetes.io/service-name": "epp"}},
        "endpoints": addresses,
    }
    [found] = routing_objects.services([Json(service)], [Json(slices)])
    assert (found.ports, found.ready_addresses, found.is_plain) == ((9002,), 2, False)
    [unseen] = routing_objects.services([Json(service)], None)
    assert unseen.ready_addresses is None


def test_texts_keep_their_old_names_and_places_alone() -> None:
    rule = {"spec": {"groups": [{"rules": [{"expr": "up"}, {"expr": "avg(vllm:gpu_cache_usage_perc)"}]}]}}
    found = routing_objects.rule_text(Json(rule))
    assert dict(found.names) == {"spec.groups[0].rules[1].expr": ("vllm:gpu_cache_usage_perc",)}
    board = {"data": {"a.json": "x" * 100_000 + ' "inference_pool_ready_pods{name=1}"', "b.json": "up"}}
    assert dict(routing_objects.dashboard_text(Json(board)).names) == {"data[a.json]": ("inference_pool_ready_pods",)}


@pytest.mark.parametrize(
    ("bundle", "problem"),
    [(None, None), (base64.b64encode(b"no").decode(), "it is no certificate in PEM form"), ("%", "it is no")],
)
def test_a_ca_bundle_that_is_none_is_found_out(bundle: str | None, problem: str | None) -> None:
    spec = {"service": {"namespace": "a", "name": "b"}, "caBundle": bundle}
    found = api_objects.api_service("v1beta1.custom.metrics.k8s.io", Json({"spec": spec}))
    assert (found.ca_problem or "").startswith(problem or "")
    assert (found.ca_problem is None) == (problem is None)
    assert (found.group, found.version, found.available) == ("custom.metrics.k8s.io", "v1beta1", False)
