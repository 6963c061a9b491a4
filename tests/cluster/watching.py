"""Looking at workloads and autoscalers of the cluster, as a test does."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lab.controlplane import ControlPlane, Document


@dataclass(frozen=True)
class Watched:
    """Deployments of one namespace and the HPAs of the same names."""

    plane: ControlPlane
    namespace: str

    async def replicas(self, name: str) -> int:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"
        return int((await self.plane.client.get(path))["spec"]["replicas"])

    async def condition(self, name: str) -> tuple[str, str]:
        """Whether the HPA is active, and what it says of that."""
        path = f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers/{name}"
        status = (await self.plane.client.get(path)).get("status", {})
        for condition in status.get("conditions", []):
            if condition["type"] == "ScalingActive":
                return condition["status"], condition["message"]
        return "Unknown", ""

    async def is_active(self, name: str) -> bool:
        return (await self.condition(name))[0] == "True"

    async def ready(self, name: str) -> set[str]:
        """The ready pods that are not on their way out."""
        pods = (await self.plane.client.get(f"/api/v1/namespaces/{self.namespace}/pods"))["items"]
        return {each["metadata"]["name"] for each in pods if each["metadata"]["labels"]["app"] == name and _ready(each)}


def _ready(pod: Document) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


async def until(holds: Callable[[], Awaitable[bool]], seconds: float, what: str) -> float:
    """Wait until `holds`; how long that took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not await holds():
        assert loop.time() - started < seconds, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.05)
    return loop.time() - started
