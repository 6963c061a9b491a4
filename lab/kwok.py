"""kwok in the kubelet's place: nodes with GPUs, and pods that live without a container."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from infscale.demo.child_processes import free_ports
from infscale.kube.api.verbs import PatchKind
from lab.controlplane import TOOLS, ControlPlane, Document
from lab.processes import Running, running

STAGES = Path(__file__).parent / "stages.yaml"
NODE = "gpu-0"
_WARM = "warm-up"
_POD_NETWORK = "127.100.0.1/16"
_PODS_PER_NODE = "2000"
_LEASE_SECONDS = 40
_TIMEOUT_SECONDS = 30.0


def node(name: str, gpus: int = 2000) -> Document:
    """A node with GPUs."""
    capacity = {"cpu": "4000", "memory": "64Ti", "pods": _PODS_PER_NODE, "nvidia.com/gpu": str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": capacity, "allocatable": capacity},
    }


@contextlib.asynccontextmanager
async def kubelets(plane: ControlPlane) -> AsyncGenerator[Running, None]:
    """Run kwok with one node until the block ends; pods get addresses of 127.100.0.0/16, each its own."""
    document = node(NODE)
    await plane.client.create("/api/v1/nodes", document)
    await plane.client.patch(f"/api/v1/nodes/{NODE}/status", {"status": document["status"]}, kind=PatchKind.MERGE)
    [port] = free_ports(1)
    command = [
        TOOLS / "kwok",
        f"--kubeconfig={plane.kubeconfig}",
        f"--config={STAGES}",
        "--manage-all-nodes=true",
        f"--cidr={_POD_NETWORK}",
        "--node-ip=127.0.0.1",
        f"--server-address=127.0.0.1:{port}",
        # Without a lease, nodes are found dead after some 40 s and their pods not ready.
        f"--node-lease-duration-seconds={_LEASE_SECONDS}",
        "-v=WARN",
    ]
    async with running("kwok", command, plane.folder) as kwok:
        await _warm_up(plane, kwok)
        yield kwok


async def _warm_up(plane: ControlPlane, kwok: Running) -> None:
    """Have one pod become ready and leave: kwok may give its first two pods one address."""
    pods = "/api/v1/namespaces/default/pods"
    container = {"name": "none", "image": "none"}
    metadata = {"name": _WARM, "annotations": {"lab.infscale/leave-time": "0s"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    await plane.client.create(pods, pod)
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        while not is_ready(await plane.client.get(f"{pods}/{_WARM}")):
            await kwok.check()
            await asyncio.sleep(0.1)
    await plane.client.delete(f"{pods}/{_WARM}")


def is_ready(pod: Document) -> bool:
    """Whether a pod's condition Ready holds."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
