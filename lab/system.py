"""infscale and a gateway in front of it, on a cluster of the lab."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from infscale.demo.child_processes import free_ports
from infscale.endpoint import ObjectKey
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.errors import StartError
from lab.controlplane import ControlPlane
from lab.documents import ADAPTER_HOST, SERVICE, SYSTEM
from lab.processes import Running, running

_READY_SECONDS = 30.0
_PAUSE_SECONDS = 0.05
ACCOUNT = f"system:serviceaccount:{SYSTEM}:infscale"
ACCOUNT_GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{SYSTEM}")
POOL_HEADER = "x-llm-d-inference-pool"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the parts of infscale listen; chosen once, so that a restarted one is found again."""

    picker: int
    adapter: int
    telemetry: int
    gateway: int
    admin: int

    @classmethod
    def free(cls) -> "Ports":
        """Ports that are free now; the adapter's on the address of its Service."""
        picker, telemetry, gateway, admin = free_ports(4)
        with socket.socket() as probe:
            probe.bind((ADAPTER_HOST, 0))
            adapter = int(probe.getsockname()[1])
        return cls(picker, adapter, telemetry, gateway, admin)


def configuration(plane: ControlPlane, ports: Ports, namespace: str, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """What infscale is told: to follow the cluster as its ServiceAccount may; `sections` add to it."""
    document: dict[str, Any] = {
        "kubernetes": {"kubeconfig": str(plane.kubeconfig_of(ACCOUNT, ACCOUNT_GROUPS))},
        "discovery": {"kubernetes": {"namespaces": [namespace]}},
        "scrape": {"interval_seconds": 0.25, "timeout_seconds": 0.2, "staleness_limit_seconds": 2},
        "picker": {"listen": f"127.0.0.1:{ports.picker}", "trusted_headers": [POOL_HEADER]},
        "adapter": {"listen": f"{ADAPTER_HOST}:{ports.adapter}", "service": f"{SYSTEM}/{SERVICE}"},
        "telemetry": {"listen": f"127.0.0.1:{ports.telemetry}"},
    }
    for name, section in sections.items():
        document[name] = {**document.get(name, {}), **section}
    return document


@contextlib.asynccontextmanager
async def infscale(folder: Path, ports: Ports, document: Mapping[str, Any]) -> AsyncGenerator[Running, None]:
    """Run `infscale serve` with the configuration `document` until the block ends."""
    config = folder / "serve.yaml"
    await asyncio.to_thread(config.write_text, yaml.safe_dump(dict(document)))
    command = [sys.executable, "-m", "infscale.cli.main", "serve", "--config", config]
    async with running("infscale", command, folder) as process:
        await _until_serving(process, ports)
        yield process


async def _until_serving(process: Running, ports: Ports) -> None:
    async with asyncio.timeout(_READY_SECONDS), aiohttp.ClientSession() as session:
        while True:
            await process.check()
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{ports.telemetry}/healthz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(_PAUSE_SECONDS)


@contextlib.asynccontextmanager
async def gateway(ports: Ports) -> AsyncGenerator[str, None]:
    """Run Envoy in front of the picker; gives its URL. Requests name their pool in `POOL_HEADER`: the lab's own do."""
    listen = Address("127.0.0.1", ports.gateway)
    route = PickerRoute(listen, Address("127.0.0.1", ports.picker), None, trusted_headers=(POOL_HEADER,))
    async with running_envoy(Address("127.0.0.1", ports.admin), [route]):
        yield f"http://{listen}"


async def until_ready(plane: ControlPlane, workload: ObjectKey, replicas: int) -> None:
    """Wait until a Deployment has so many ready replicas and no other."""
    path = f"/apis/apps/v1/namespaces/{workload.namespace}/deployments/{workload.name}"
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                status = (await plane.client.get(path)).get("status", {})
                if status.get("readyReplicas", 0) == replicas == status.get("replicas", 0):
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
    except TimeoutError:
        raise StartError(f"{workload} did not come to {replicas} ready replicas") from None
