"""Simulated model servers on the addresses of a cluster's pods, for as long as the pods are there.

``python -m lab.pods KUBECONFIG NAMESPACE`` runs them in a process of their own, `PodServers` in this one. What a server
is, its pod says in annotations: ``lab.infscale/model``, ``lab.infscale/max-num-seqs`` (the largest batch),
``lab.infscale/speed`` (below 1: slower by that factor), ``lab.infscale/coefficients``.
"""

import asyncio
import logging
import random
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Set
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import uvloop
from aiohttp import web

from infscale.endpoint import ObjectKey
from infscale.errors import StartError
from infscale.kube.api.client import KubeClient
from infscale.kube.api.cluster_access import cluster
from infscale.kube.api.resources import PODS
from infscale.kube.reflector import Reflector
from infscale.kube.watching import ReflectorSettings
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.engine.steps import EngineSettings
from infscale.sim.http.simulated_servers import SimServer, SimServerSettings

CONTAINER = "server"
"""The container of a pod that is a model server."""
EXPORTER = "dcgm-exporter"
"""The container of a pod that tells of the GPUs of all model servers, as a node's exporter does."""

_PREFIX = "lab.infscale/"
_DEFAULTS = MappingProxyType({"coefficients": "llama-3.1-8b-h100", "max-num-seqs": "8", "speed": "1"})
_LEAVE_SECONDS = 60.0
_PAUSE_SECONDS = 0.05

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PodServer:
    """What server a pod is, and where."""

    key: ObjectKey
    address: str
    port: int
    model: str | None
    max_num_seqs: int
    speed: float
    coefficients: str

    def settings(self) -> SimServerSettings:
        """The simulated server."""
        coefficients = coefficient_set(self.coefficients)
        engine = EngineSettings(
            num_blocks=coefficients.num_blocks,
            block_size=coefficients.block_size,
            max_num_seqs=self.max_num_seqs,
            speed=self.speed,
        )
        return SimServerSettings(
            self.key.name,
            coefficients,
            engine,
            namespace=self.key.namespace,
            model=self.model,
            address=self.address,
            port=self.port,
        )


def read_pod(pod: Mapping[str, Any]) -> PodServer | None:
    """The server that `pod` is; None where it is none, or has no address yet."""
    containers = [each for each in pod["spec"]["containers"] if each["name"] == CONTAINER]
    address = pod.get("status", {}).get("podIP")
    if not containers or not address:
        return None
    metadata = pod["metadata"]
    notes = _DEFAULTS | {key.removeprefix(_PREFIX): value for key, value in (metadata.get("annotations") or {}).items()}
    [port] = [each["containerPort"] for each in containers[0]["ports"]][:1]
    return PodServer(
        ObjectKey(metadata["namespace"], metadata["name"]),
        address,
        port,
        notes.get("model"),
        int(notes["max-num-seqs"]),
        float(notes["speed"]),
        notes["coefficients"],
    )


def read_exporter(pod: Mapping[str, Any]) -> tuple[ObjectKey, str, int] | None:
    """Key, address and port of the exporter that `pod` is; None where it is none, or has no address yet."""
    containers = [each for each in pod["spec"]["containers"] if each["name"] == EXPORTER]
    address = pod.get("status", {}).get("podIP")
    if not containers or not address:
        return None
    metadata = pod["metadata"]
    return ObjectKey(metadata["namespace"], metadata["name"]), address, containers[0]["ports"][0]["containerPort"]


class PodServers:
    """A server for every pod of `namespace` (None: of all) that is one, while its ``async with`` block runs.

    A server whose pod is gone ends once its requests have, as one that is told to terminate does.
    """

    def __init__(self, client: KubeClient, namespace: str | None, rng: random.Random) -> None:
        self._rng = rng
        self._servers: dict[ObjectKey, SimServer] = {}
        self._leaving: dict[ObjectKey, asyncio.Event] = {}
        self._reflector = Reflector(
            client, PODS, self, lambda: asyncio.get_running_loop().time(), rng, ReflectorSettings(namespace=namespace)
        )
        self._tasks = asyncio.TaskGroup()
        self._stack = AsyncExitStack()

    @property
    def servers(self) -> Mapping[ObjectKey, SimServer]:
        """The servers that run, by their pods."""
        return dict(self._servers)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        following = self._tasks.create_task(self._reflector.run())
        self._stack.callback(following.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        for leaving in self._leaving.values():
            leaving.set()
        for server in self._servers.values():
            # The end of the block waits for no request.
            server.replica.stop()
        await self._tasks.__aexit__(None, None, None)

    # The cache that the reflector fills

    def retain(self, keys: Set[ObjectKey]) -> None:
        """Let the servers of all pods but these end."""
        for key in self._leaving.keys() - keys:
            self._leaving.pop(key).set()

    def put(self, item: dict[str, Any]) -> None:
        """Have a server for this pod, once it has an address."""
        server = read_pod(item)
        if server is not None:
            self._run(server.key, lambda leaving: self._serve(server, leaving))
        exporter = read_exporter(item)
        if exporter is not None:
            key, address, port = exporter
            self._run(key, lambda leaving: self._export(address, port, leaving))

    def remove(self, item: dict[str, Any]) -> None:
        """Let this pod's server end."""
        leaving = self._leaving.pop(ObjectKey(item["metadata"]["namespace"], item["metadata"]["name"]), None)
        if leaving is not None:
            leaving.set()

    def _run(self, key: ObjectKey, serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        if key not in self._leaving:
            leaving = self._leaving[key] = asyncio.Event()
            self._tasks.create_task(serve(leaving))

    async def _export(self, address: str, port: int, leaving: asyncio.Event) -> None:
        runner = web.ServerRunner(web.Server(self._gpu_page, access_log=None))
        await runner.setup()
        try:
            await web.TCPSite(runner, address, port).start()
            await leaving.wait()
        finally:
            await runner.cleanup()

    async def _gpu_page(self, _: web.BaseRequest) -> web.Response:
        pages = "".join(server.replica.gpu_page() for server in self._servers.values())
        return web.Response(text=pages, content_type="text/plain")

    async def _serve(self, wanted: PodServer, leaving: asyncio.Event) -> None:
        try:
            async with SimServer(wanted.settings(), self._rng, lambda: datetime.now(UTC).timestamp()) as server:
                self._servers[wanted.key] = server
                await leaving.wait()
                async with asyncio.timeout(_LEAVE_SECONDS):
                    while server.waiting or server.running:
                        await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            _log.warning("%s: requests were still running %g s after its pod had gone", wanted.key, _LEAVE_SECONDS)
        except StartError as error:
            _log.error("%s: %s", wanted.key, error)
        finally:
            self._servers.pop(wanted.key, None)


async def _main(kubeconfig: Path, namespace: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with cluster(kubeconfig) as client, PodServers(client, namespace, random.Random(1)):
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(_main(Path(sys.argv[1]), sys.argv[2]))
