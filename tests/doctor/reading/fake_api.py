"""An API server of documents by path, as the doctor asks it."""

from collections.abc import Mapping
from typing import Any

from infscale.kube.api.errors import Forbidden, NotFound

Document = dict[str, Any]


class FakeApi:
    """Answers documents by path; lists in pages of one where there is more than one item; `forbidden` paths are 403."""

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self.documents = dict(documents)
        self.forbidden: set[str] = set()
        self.denied: set[str] = set()
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.reviewed: list[Document] = []

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Document:
        self.asked.append((path, params or {}))
        if path in self.forbidden:
            raise Forbidden(f"{path} is forbidden")
        found = self.documents.get(path)
        if found is None:
            raise NotFound("not found")
        if params and "limit" in params and len(found.get("items", [])) > 1:
            start = int(params.get("continue", "0"))
            more = {"continue": str(start + 1)} if start + 1 < len(found["items"]) else {}
            return {"metadata": more, "items": found["items"][start : start + 1]}
        return found

    async def create(self, path: str, body: Document) -> Document:
        assert path.endswith("/subjectaccessreviews")
        self.reviewed.append(body["spec"])
        return {"status": {"allowed": body["spec"]["resourceAttributes"]["resource"] not in self.denied}}


def listed(*items: Document) -> Document:
    return {"metadata": {}, "items": [*items]}


LABELS = {"app": "vllm"}
METADATA = {"namespace": "llm", "name": "vllm"}
AUTOSCALER: Document = {
    "metadata": METADATA,
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm"},
        "minReplicas": 1,
        "maxReplicas": 8,
        "metrics": [
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "waiting_requests", "selector": {"matchLabels": {"model_key": "llama"}}},
                    "target": {"type": "AverageValue", "averageValue": "4"},
                },
            }
        ],
        "behavior": {
            "scaleDown": {
                "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
                "tolerance": "200m",
                "stabilizationWindowSeconds": 120,
            }
        },
    },
    "status": {
        "desiredReplicas": 3,
        "currentMetrics": [],
        "conditions": [{"type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale", "message": "ready"}],
    },
}
DEPLOYMENT: Document = {
    "metadata": METADATA,
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "terminationGracePeriodSeconds": 45,
                "serviceAccountName": "vllm",
                "volumes": [{"name": "c", "configMap": {"name": "settings"}}],
                "containers": [
                    {
                        "name": "server",
                        "command": ["sh", "-c", "vllm serve --max-num-seqs 32"],
                        "ports": [{"containerPort": 8000}],
                        "readinessProbe": {},
                        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "sleep 20; true"]}}},
                        "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "500m"}},
                    }
                ],
            },
        },
    },
}
POD: Document = {
    "metadata": {
        "namespace": "llm",
        "name": "vllm-0",
        "labels": LABELS,
        "ownerReferences": [{"kind": "ReplicaSet", "name": "vllm-abc", "controller": True}],
    },
    "spec": {
        "containers": [
            {"name": "server", "resources": {"requests": {"cpu": "500m"}}, "ports": [{"containerPort": 8000}]}
        ]
    },
    "status": {
        "phase": "Running",
        "startTime": "2026-11-30T10:00:00Z",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-30T10:01:00Z"}],
    },
}
REPLICA_SET: Document = {
    "metadata": {
        "namespace": "llm",
        "name": "vllm-abc",
        "ownerReferences": [{"kind": "Deployment", "name": "vllm", "controller": True}],
    }
}
POOL: Document = {
    "metadata": {"namespace": "llm", "name": "chat"},
    "spec": {
        "selector": {"matchLabels": LABELS},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {"name": "epp", "port": {"number": 9002}},
    },
}
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/llm"
CLUSTER: Mapping[str, Document] = {
    "/version": {"major": "1", "minor": "36+"},
    "/apis": {
        "groups": [
            {
                "name": "custom.metrics.k8s.io",
                "preferredVersion": {"version": "v1beta2"},
                "versions": [{"groupVersion": "custom.metrics.k8s.io/v1beta2"}],
            },
            {"name": "apps", "versions": [{"groupVersion": "apps/v1"}]},
        ]
    },
    "/api/v1": {"groupVersion": "v1", "resources": [{"name": "services", "kind": "Service"}]},
    "/apis/apps/v1": {
        "groupVersion": "apps/v1",
        "resources": [
            {"name": "deployments", "kind": "Deployment"},
            {"name": "deployments/scale", "kind": "Scale"},
        ],
    },
    "/apis/autoscaling/v2/horizontalpodautoscalers": listed(AUTOSCALER),
    "/apis/apps/v1/deployments": listed(DEPLOYMENT),
    "/apis/apps/v1/replicasets": listed(REPLICA_SET),
    "/api/v1/pods": listed(POD, {**POD, "metadata": {**POD["metadata"], "name": "vllm-1"}}),
    "/apis/inference.networking.k8s.io/v1/inferencepools": listed(POOL),
    "/apis/apps/v1/namespaces/llm/deployments/vllm/scale": {
        "spec": {"replicas": 2},
        "status": {"replicas": 2, "selector": "app=vllm"},
    },
    f"{CUSTOM}/pods/%2A/waiting_requests": listed(
        *(
            {
                "describedObject": {"name": name},
                "value": value,
                "timestamp": "2026-11-30T12:00:00Z",
                "windowSeconds": 30,
            }
            for name, value in (("vllm-0", "9"), ("vllm-1", "7"))
        )
    ),
}
