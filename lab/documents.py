"""What is applied to the cluster: workloads with pools, autoscalers, and the adapter's registration."""

from typing import Any

Document = dict[str, Any]

SYSTEM = "infscale-system"
SERVICE = "infscale-adapter"
ADAPTER_HOST = "127.96.0.10"
"""The Service's cluster IP, on which the adapter listens: the API server dials it as it would in a cluster."""
SYNC_SECONDS = 2
GRACE_SECONDS = 2


def new_namespace(name: str) -> Document:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def deployment(namespace: str, name: str, model: str, replicas: int = 1, **notes: str) -> Document:
    """A Deployment of simulated model servers, one GPU each; `notes` are annotations of the lab on its pods."""
    labels = {"app": name}
    container = {
        "name": "server",
        "image": "simulated",
        "ports": [{"containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    template = {
        "metadata": {"labels": labels, "annotations": {"lab.infscale/model": model, **_annotations(notes)}},
        "spec": {"terminationGracePeriodSeconds": GRACE_SECONDS, "containers": [container]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def exporter(namespace: str, name: str, port: int = 9400) -> Document:
    """A pod that exports the GPUs of all simulated model servers, as dcgm-exporter does for those of its node."""
    container = {"name": "dcgm-exporter", "image": "simulated", "ports": [{"containerPort": port}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"containers": [container]},
    }


def service(namespace: str, name: str) -> Document:
    """A Service of the Deployment of the same name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8000}]},
    }


def _annotations(notes: dict[str, str]) -> dict[str, str]:
    return {f"lab.infscale/{key.replace('_', '-')}": value for key, value in notes.items()}


def pool(namespace: str, name: str) -> Document:
    """An InferencePool of the Deployment of the same name."""
    spec: Document = {"selector": {"matchLabels": {"app": name}}, "targetPorts": [{"number": 8000}]}
    spec["endpointPickerRef"] = {"name": "infscale-picker", "port": {"number": 9002}, "failureMode": "FailClose"}
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def autoscaler(namespace: str, name: str, metric: Document, maximum: int = 4, calm_seconds: int = 6) -> Document:
    """An HPA of the Deployment of the same name: up at once, down after `calm_seconds`."""
    policies = [{"type": "Pods", "value": 8, "periodSeconds": 1}]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1,
            "maxReplicas": maximum,
            "metrics": [metric],
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0, "policies": policies},
                "scaleDown": {"stabilizationWindowSeconds": calm_seconds, "policies": policies},
            },
        },
    }


def pods_metric(name: str, average: str) -> Document:
    """A metric of every pod of the HPA's target."""
    target = {"type": "AverageValue", "averageValue": average}
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}


def pool_metric(pool_name: str, name: str, average: str) -> Document:
    """A metric of an InferencePool, divided by the replicas."""
    described = {"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "name": pool_name}
    target = {"type": "AverageValue", "averageValue": average}
    return {"type": "Object", "object": {"describedObject": described, "metric": {"name": name}, "target": target}}


def external_metric(name: str, average: str, **labels: str) -> Document:
    """A metric of the label set with `labels`, divided by the replicas."""
    metric = {"name": name, "selector": {"matchLabels": labels}}
    return {
        "type": "External",
        "external": {"metric": metric, "target": {"type": "AverageValue", "averageValue": average}},
    }


def registration(port: int) -> tuple[Document, ...]:
    """The adapter's Service at `ADAPTER_HOST`, and the APIs it answers; it writes its CA into them itself."""
    metadata = {"name": SERVICE, "namespace": SYSTEM}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"clusterIP": ADAPTER_HOST, "ports": [{**ports[0], "targetPort": port}]},
    }
    # The API server wants a ready address behind the Service, takes no loopback one, and dials the Service's own.
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return (
        service,
        slice_,
        _api("custom.metrics.k8s.io", "v1beta1", 100, port),
        _api("custom.metrics.k8s.io", "v1beta2", 200, port),
        _api("external.metrics.k8s.io", "v1beta1", 100, port),
    )


def _api(group: str, version: str, priority: int, port: int) -> Document:
    service = {"name": SERVICE, "namespace": SYSTEM, "port": port}
    spec = {"group": group, "version": version, "service": service}
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.{group}"},
        "spec": {**spec, "groupPriorityMinimum": 100, "versionPriority": priority},
    }
