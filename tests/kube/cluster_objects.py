"""Kubernetes objects as an API server sends them, made of the few facts a test is about."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

STARTED = "2026-01-31T12:00:00Z"
READY = "2026-01-31T12:01:30Z"


def metadata(name: str, namespace: str = "chat", **extra: Any) -> Json:
    return {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": "1", **extra}


def owner(kind: str, name: str) -> list[Json]:
    return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": True}]


def container(name: str, *ports: int) -> Json:
    return {"name": name, "image": "vllm", "ports": [{"containerPort": port, "protocol": "TCP"} for port in ports]}


def started(name: str, at: str | None = STARTED) -> Json:
    return {"name": name, "ready": True, "state": {"waiting": {}} if at is None else {"running": {"startedAt": at}}}


def ready_condition(status: str = "True", at: str = READY) -> Json:
    return {"type": "Ready", "status": status, "lastTransitionTime": at}


def pod(
    name: str = "vllm-0",
    address: str = "10.0.0.1",
    *,
    labels: Mapping[str, str] | None = None,
    ready: str = "True",
    ready_at: str = READY,
    phase: str = "Running",
    containers: Sequence[Json] = (),
    statuses: Sequence[Json] | None = None,
    node: str = "node",
    **meta: Any,
) -> Json:
    spec_containers = list(containers) or [container("vllm", 8000)]
    return {
        "metadata": metadata(name, labels=dict(labels or {"app": "vllm"}), **meta),
        "spec": {"containers": spec_containers, "nodeName": node},
        "status": {
            "phase": phase,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "PodScheduled", "status": "True"}, ready_condition(ready, ready_at)],
            "containerStatuses": [started(each["name"]) for each in spec_containers] if statuses is None else statuses,
        },
    }


def pool(name: str = "pool", *ports: int, created: str = STARTED, app: str = "vllm", namespace: str = "chat") -> Json:
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": metadata(name, namespace, creationTimestamp=created, generation=1),
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "targetPorts": [{"number": port} for port in ports or (8000,)],
            "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
        },
    }


def legacy_pool(name: str = "pool", port: int = 8000) -> Json:
    return {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha2",
        "kind": "InferencePool",
        "metadata": metadata(name, creationTimestamp=STARTED),
        "spec": {"selector": {"app": "vllm"}, "targetPortNumber": port, "extensionRef": {"name": "epp"}},
    }


def inference(kind: str, name: str, spec: Json, *, created: str = STARTED, status: Json | None = None) -> Json:
    item = {"kind": kind, "metadata": metadata(name, creationTimestamp=created, generation=3), "spec": spec}
    return item if status is None else {**item, "status": status}


def objective(name: str = "batch", pool: str = "pool", priority: int = -1, **extra: Any) -> Json:
    return inference("InferenceObjective", name, {"poolRef": {"name": pool}, "priority": priority}, **extra)


def rewrite(name: str = "canary", pool: str = "pool", **extra: Any) -> Json:
    rules = [{"matches": [{"model": {"value": "a"}}], "targets": [{"modelRewrite": "b"}]}]
    return inference("InferenceModelRewrite", name, {"poolRef": {"name": pool}, "rules": rules}, **extra)


def rollout(name: str = "v2", pool: str = "pool", new: str = "", **extra: Any) -> Json:
    spec = {
        "poolRef": {"name": pool},
        "new": {"poolRef": {"name": new}} if new else {"podLabels": {"version": "v2"}},
        "canary": {"steps": [{"weightPercent": 10, "seconds": 60}]},
    }
    return {**inference("ModelRollout", name, spec, **extra), "apiVersion": "infscale.dev/v1alpha1"}


def model(name: str = "llama", model_name: str = "llama", pool: str = "pool", **extra: Any) -> Json:
    spec = {
        "modelName": model_name,
        "criticality": "Critical",
        "poolRef": {"name": pool},
        "targetModels": [{"name": f"{model_name}-8b"}],
    }
    return inference("InferenceModel", name, spec, **extra)


def workload(kind: str, name: str, **spec: Any) -> Json:
    return {
        "metadata": metadata(name),
        "spec": {"selector": {"matchLabels": {"app": "vllm"}}, "template": {"spec": {}}, **spec},
        "status": {"replicas": 1},
    }


def autoscaler(name: str = "scale", metrics: Sequence[Json] = (), **status: Any) -> Json:
    return {
        "metadata": metadata(name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm"},
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": list(metrics),
        },
        "status": status,
    }
