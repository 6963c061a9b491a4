"""HPAs as people write them."""

from typing import Any

from infscale.doctor.replay.replayed_hpa import ReplayedHpa, read_hpa
from infscale.documents.strict_document import from_plain

Document = dict[str, Any]


def document(*metrics: Document, **spec: Any) -> Document:
    """An HPA of 1 to 6 replicas; `spec` adds to it."""
    given: Document = {"minReplicas": 1, "maxReplicas": 6, "metrics": list(metrics)}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "vllm", "namespace": "llm"},
        "spec": {**given, **spec},
    }


def hpa(*metrics: Document, **spec: Any) -> ReplayedHpa:
    """The same, read."""
    return read_hpa(from_plain(document(*metrics, **spec), "hpa.yaml"))


def pods(name: str, average: str) -> Document:
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": _target("AverageValue", average)}}


def external(name: str, amount: str, kind: str = "AverageValue") -> Document:
    return {"type": "External", "external": {"metric": {"name": name}, "target": _target(kind, amount)}}


def of_pool(name: str, amount: str) -> Document:
    described = {"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "name": "chat"}
    target = _target("AverageValue", amount)
    return {"type": "Object", "object": {"describedObject": described, "metric": {"name": name}, "target": target}}


def resource(name: str, percent: int) -> Document:
    return {"type": "Resource", "resource": {"name": name, "target": _target("Utilization", percent)}}


def _target(kind: str, amount: object) -> Document:
    keys = {"Value": "value", "AverageValue": "averageValue", "Utilization": "averageUtilization"}
    return {"type": kind, keys[kind]: amount}
