"""The file that tells `serve` of a scenario's servers, and the order in which they stop."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from infscale.config.settings import DiscoverySettings
from infscale.demo.scenarios.scenario_plan import PRIORITIES
from infscale.metrics.store.described_engine import GPU_LABELS, GPUS_LABEL
from infscale.sim.engine.coefficients import CoefficientSet

POOL = DiscoverySettings().default_pool
_OBJECTS: tuple[Mapping[str, object], ...] = tuple(
    {
        "apiVersion": "llm-d.ai/v1alpha2",
        "kind": "InferenceObjective",
        "metadata": {"name": name, "namespace": POOL.namespace},
        "spec": {"priority": priority, "poolRef": {"name": POOL.name}},
    }
    for name, priority in PRIORITIES.items()
)

State = Literal["starting", "ready", "draining"]


@dataclass(slots=True)
class PoolServer:
    """One server: where it listens, once it does."""

    name: str
    state: State = "starting"
    address: str = ""
    port: int = 0


@dataclass(slots=True)
class PoolServers:
    """Owner of which servers there are; names count on, so that none comes back. All are like `kind`."""

    kind: CoefficientSet
    servers: dict[str, PoolServer] = field(default_factory=dict[str, PoolServer])
    _count: int = 0

    def begin(self) -> str:
        """The name of a server that starts now."""
        name = f"server-{self._count}"
        self._count += 1
        self.servers[name] = PoolServer(name)
        return name

    def started(self, name: str, address: str, port: int) -> None:
        """The server listens and may have requests."""
        server = self.servers[name]
        server.state, server.address, server.port = "ready", address, port

    def drain(self, *, oldest: int = 0, newest: int = 0) -> list[str]:
        """The servers that get nothing new from now on: so many of those that are ready."""
        ready = [each for each in self.servers.values() if each.state == "ready"]
        leaving = ready[:oldest] + (ready[-newest:] if newest else [])
        for each in leaving:
            each.state = "draining"
        return [each.name for each in leaving]

    def stopped(self, name: str) -> None:
        """The server is gone."""
        del self.servers[name]

    @property
    def staying(self) -> int:
        """How many are meant to stay, those that start among them."""
        return sum(each.state != "draining" for each in self.servers.values())

    @property
    def ready(self) -> int:
        """How many may have requests."""
        return sum(each.state == "ready" for each in self.servers.values())

    def document(self) -> Mapping[str, object]:
        """What discovery reads."""
        endpoints = [
            {
                "name": each.name,
                "address": each.address,
                "port": str(each.port),
                "labels": {GPU_LABELS[0]: self.kind.gpu_model.replace(" ", "-"), GPUS_LABEL: str(self.kind.gpus)},
                "phase": each.state,
            }
            for each in self.servers.values()
            if each.state != "starting"
        ]
        return {"endpoints": endpoints, "objects": list(_OBJECTS)}
