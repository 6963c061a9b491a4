"""The questions are those of the controller, byte for byte, and answers are read as it reads them."""

import pytest

from infscale.doctor.reading.metric_answers import items, question
from infscale.doctor.reading.plain_json import Json
from infscale.doctor.view.seen_scalers import ObjectRef, SeenMetric
from tests.doctor import healthy as made

PLURALS = {
    ("inference.networking.k8s.io/v1", "InferencePool"): "inferencepools",
    ("v1", "Service"): "services",
    ("apps/v1", "Deployment"): "deployments",
}
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/llm"


def described(version: str, kind: str, name: str) -> SeenMetric:
    return made.object_metric("waiting_requests", "Value", 1, described=ObjectRef(version, kind, name))


@pytest.mark.parametrize(
    ("metric", "path"),
    [
        (made.pods_metric(), f"{CUSTOM}/pods/%2A/waiting_requests?labelSelector=app%3Dvllm"),
        (
            made.pods_metric("vllm:num_requests_waiting"),
            f"{CUSTOM}/pods/%2A/vllm:num_requests_waiting?labelSelector=app%3Dvllm",
        ),
        (
            described("inference.networking.k8s.io/v1", "InferencePool", "chat"),
            f"{CUSTOM}/inferencepools.inference.networking.k8s.io/chat/waiting_requests",
        ),
        (described("v1", "Service", "web"), f"{CUSTOM}/services/web/waiting_requests"),
        (described("", "Service", "web"), f"{CUSTOM}/services/web/waiting_requests"),
        (described("v1", "Namespace", "whatever"), f"{CUSTOM}/metrics/waiting_requests"),
        (
            made.external_metric("waiting_requests", "Value", 1, pool="chat"),
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/llm/waiting_requests?labelSelector=pool%3Dchat",
        ),
        (
            SeenMetric(0, "Resource", "cpu", "Utilization"),
            "/apis/metrics.k8s.io/v1beta1/namespaces/llm/pods?labelSelector=app%3Dvllm",
        ),
    ],
)
def test_each_form_is_asked_as_the_controller_asks_it(metric: SeenMetric, path: str) -> None:
    assert str(question(made.autoscaler().key.namespace, metric, "app=vllm", PLURALS, "v1beta1")) == path


@pytest.mark.parametrize("metric", [described("x/v1", "Pool", "a"), SeenMetric(0, "Strange", "a", "Value")])
def test_what_cannot_be_asked_is_not(metric: SeenMetric) -> None:
    assert question(made.autoscaler().key.namespace, metric, "app=vllm", PLURALS, "v1beta1") is None


USAGE = {
    "metadata": {"name": "vllm-0"},
    "timestamp": "2026-11-30T12:00:00Z",
    "window": "1m30s",
    "containers": [
        {"name": "server", "usage": {"cpu": "1500m", "memory": "1Gi"}},
        {"name": "sidecar", "usage": {"cpu": "100m"}},
    ],
}


def test_a_resource_is_added_up_over_containers_and_left_out_where_one_has_none() -> None:
    document = Json({"items": [USAGE]})
    [cpu] = items(document, SeenMetric(0, "Resource", "cpu", "Utilization"))
    assert (cpu.name, cpu.milli, cpu.window_seconds) == ("vllm-0", 1600, 90.0)
    assert items(document, SeenMetric(0, "Resource", "memory", "Utilization")) == ()
    [one] = items(document, SeenMetric(0, "ContainerResource", "memory", "Utilization", container="server"))
    assert one.milli == 2**30 * 1000


def test_values_that_are_none_are_left_out() -> None:
    document = Json({"items": [{"value": "1500m"}, {"value": "x"}, {}, 7]})
    assert [(each.milli, each.at) for each in items(document, made.pods_metric())] == [(1500, None)]
