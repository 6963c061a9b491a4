"""HPAs on workloads that no InferencePool selects: annotated ones, and kinds that are not Kubernetes' own."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import NotFound, Unreachable
from lab import documents
from lab.controlplane import ControlPlane
from lab.pods import PodServers
from lab.system import Ports, configuration, infscale, until_ready
from tests.cluster.watching import Watched, until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

NAMESPACE = "workloads"
MODEL = "meta-llama/Llama-3.1-8B"
GROUPS = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/workloads/leaderworkersets"
LEADERS = {"leaderworkerset.sigs.k8s.io/name": "group", "leaderworkerset.sigs.k8s.io/worker-index": "0"}
POOL = {"infscale.dev/pool": "true"}

_OPEN: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
LEADER_WORKER_SETS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "leaderworkersets.leaderworkerset.x-k8s.io"},
    "spec": {
        "group": "leaderworkerset.x-k8s.io",
        "names": {"kind": "LeaderWorkerSet", "plural": "leaderworkersets", "singular": "leaderworkerset"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _OPEN, "status": _OPEN}}},
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.hpaPodSelector",
                    },
                },
            }
        ],
    },
}


def annotated(name: str, **notes: str) -> dict[str, Any]:
    found = documents.deployment(NAMESPACE, name, MODEL, 1, **notes)
    found["metadata"]["annotations"] = POOL
    return found


def described(kind: str, version: str, name: str, metric: str, value: str) -> dict[str, Any]:
    target = {"type": "Value", "value": value}
    described = {"apiVersion": version, "kind": kind, "name": name}
    return {"type": "Object", "object": {"describedObject": described, "metric": {"name": metric}, "target": target}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def seen(
    plane: ControlPlane, servers: PodServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Watched, None]:
    """Three workloads without an InferencePool."""
    del servers
    ports = Ports.free()
    await plane.apply(documents.new_namespace(NAMESPACE), *documents.registration(ports.adapter))
    exporters = {"namespace": NAMESPACE, "labels": {"app": "exporter"}, "port": 9400}
    config = configuration(plane, ports, NAMESPACE, dcgm={"pods": exporters, "interval_seconds": 1})
    folder = tmp_path_factory.mktemp("workloads")
    await plane.apply(LEADER_WORKER_SETS)

    async def served() -> bool:
        try:
            await plane.client.get(GROUPS)
        except (NotFound, Unreachable):
            return False
        return True

    await until(served, 20, "the kind is served")
    async with infscale(folder, ports, config):
        leaders = documents.deployment(NAMESPACE, "group", MODEL)
        leaders["spec"]["template"]["metadata"]["labels"] |= LEADERS
        await plane.apply(
            annotated("gpu"), annotated("loaded", load_time="3s"), leaders, documents.exporter(NAMESPACE, "exporter")
        )
        for name in ("gpu", "loaded", "group"):
            await until_ready(plane, ObjectKey(NAMESPACE, name), 1)
        yield Watched(plane, NAMESPACE)


async def test_an_hpa_scales_an_annotated_deployment_on_gpu_memory(seen: Watched) -> None:
    metric = documents.pods_metric("gpu_memory_used_bytes", "1k")
    await seen.plane.apply(documents.autoscaler(NAMESPACE, "gpu", metric, maximum=2))

    async def scaled() -> bool:
        return await seen.replicas("gpu") == 2

    await until(scaled, 60, f"two replicas: {await seen.condition('gpu')}")


async def test_an_hpa_scales_a_deployment_on_the_time_its_model_takes_to_load(seen: Watched) -> None:
    metric = described("Deployment", "apps/v1", "loaded", "model_load_seconds", "1")
    await seen.plane.apply(documents.autoscaler(NAMESPACE, "loaded", metric, maximum=2))

    async def scaled() -> bool:
        return await seen.replicas("loaded") == 2

    await until(scaled, 60, f"two replicas: {await seen.condition('loaded')}")


async def test_an_hpa_scales_a_kind_of_another_project_by_its_scale_subresource(seen: Watched) -> None:
    """As LeaderWorkerSet's: the selector is in the status, and the pool is declared by annotation."""
    plane = seen.plane
    container = {"name": "server", "ports": [{"containerPort": 8000}]}
    group = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "group", "namespace": NAMESPACE, "annotations": POOL},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"workerTemplate": {"spec": {"containers": [container]}}}},
    }
    await plane.apply(group)
    selector = ",".join(f"{key}={value}" for key, value in LEADERS.items())
    status = {"status": {"replicas": 1, "hpaPodSelector": selector}}
    await plane.client.patch(f"{GROUPS}/group/status", status)
    metric = described("LeaderWorkerSet", "leaderworkerset.x-k8s.io/v1", "group", "gpu_memory_used_bytes", "1k")
    autoscaler = documents.autoscaler(NAMESPACE, "group", metric, maximum=2)
    autoscaler["spec"]["scaleTargetRef"] = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "name": "group",
    }
    await plane.apply(autoscaler)

    async def scaled() -> bool:
        return (await plane.client.get(f"{GROUPS}/group"))["spec"]["replicas"] == 2

    await until(scaled, 60, f"two groups: {await seen.condition('group')}")
