"""The servers of one run: which there are, what discovery says of them, and how they come and go."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, Objective, ObjectKey, Phase, Pool
from infscale.metrics.store.described_engine import GPU_LABELS, GPUS_LABEL
from infscale.sim.pages.engine_pages import PageSubject
from infscale.simulate.scenario import PlannedFault, PlannedScale, Scenario, ServerKind
from infscale.simulate.world.engine_sampling import SampledServer
from infscale.simulate.world.virtual_clock import VirtualClock
from infscale.simulate.world.virtual_server import Answering, ServerIdentity, VirtualServer

if TYPE_CHECKING:
    from random import Random

_PORT = 8000
_FIRST_ADDRESS = 10 << 24
_POOL_LABEL = "pool"
APP = "simulated"
"""The value of the label ``app`` that all pods have."""


class Fleet:
    """Owner of the servers; `changed` is told whenever discovery would say something else of them."""

    def __init__(
        self,
        scenario: Scenario,
        clock: VirtualClock,
        rng: "Random",
        tell: Answering,
        changed: Callable[[DiscoveryState], None],
    ) -> None:
        self.scenario = scenario
        self.listed: dict[str, VirtualServer] = {}
        """The servers that discovery lists, by authority."""
        self.everyone: list[VirtualServer] = []
        """All there ever were, in the order in which they began."""
        self._clock = clock
        self._rng = rng
        self._tell = tell
        self._changed = changed
        self._draining: set[str] = set()
        self._forms: dict[tuple[ServerKind, float], SampledServer] = {}

    def start(self) -> None:
        """Have the scenario's servers, ready as if they had been there for long, and plan what becomes of them."""
        for kind in self.scenario.servers[: self.scenario.at_first]:
            self._add(kind, 0.0)
        for scale in self.scenario.scales:
            self._clock.at(scale.at_seconds, self._scale, scale)
        for planned in self.scenario.faults:
            self._clock.at(planned.at_seconds, self._strike, planned)
        self.tell()

    def add(self, kind: ServerKind, seconds: float) -> None:
        """Start a server that is ready after `seconds`."""
        server = self._add(kind, seconds)
        self._clock.after(seconds, lambda _: self.tell(), server)
        self.tell()

    def drain(self, server: VirtualServer, grace_seconds: float) -> None:
        """Have nothing new go to `server`, and end it when it is done or has had `grace_seconds`."""
        authority = server.identity.authority
        if authority in self._draining or authority not in self.listed:
            return
        self._draining.add(authority)
        self.tell()
        self._clock.after(grace_seconds, self._remove, server)
        if not server.under_way:
            self._remove(server)

    def idle(self, server: VirtualServer) -> None:
        """`server` has ended a request: one that drains may be done."""
        if server.identity.authority in self._draining and not server.under_way:
            self._remove(server)

    @property
    def replicas(self) -> list[VirtualServer]:
        """The servers that are meant to stay."""
        return [each for authority, each in self.listed.items() if authority not in self._draining]

    def state(self) -> DiscoveryState:
        """What discovery says now."""
        pool = self.scenario.pool
        endpoints = tuple(self._endpoint(each) for each in self.listed.values())
        objectives = tuple(
            Objective(ObjectKey(pool.namespace, name), priority, pool.name)
            for name, priority in self.scenario.priorities.items()
        )
        if not self.scenario.standby:
            return DiscoveryState(endpoints, (Pool(pool, {}),), objectives)
        pools = tuple(Pool(each, {_POOL_LABEL: each.name}) for each in (pool, self.scenario.standby_pool))
        return DiscoveryState(endpoints, pools, objectives)

    def tell(self) -> None:
        """Say what discovery says now."""
        self._changed(self.state())

    def _scale(self, planned: PlannedScale) -> None:
        for _ in range(planned.added):
            self.add(self.scenario.servers[0], planned.start_seconds)
        staying = [each for each in self.replicas if each.ready]
        leaving = staying[: planned.oldest] + (staying[-planned.newest :] if planned.newest else [])
        for each in leaving:
            self.drain(each, planned.grace_seconds)

    def _endpoint(self, server: VirtualServer) -> Endpoint:
        identity = server.identity
        phase = Phase.READY if server.ready else Phase.STARTING
        if identity.authority in self._draining:
            phase = Phase.DRAINING
        address, _, _ = identity.authority.rpartition(":")
        labels = {"app": APP}
        if self.scenario.standby:
            own = self.scenario.standby_pool if self.scenario.is_standby(identity.number) else self.scenario.pool
            labels[_POOL_LABEL] = own.name
        if self.scenario.known_gpus:
            chosen = identity.kind.coefficients
            labels |= {GPU_LABELS[0]: chosen.gpu_model, GPUS_LABEL: str(chosen.gpus)}
        return Endpoint(self.key(server), address, _PORT, labels, phase)

    def key(self, server: VirtualServer) -> EndpointKey:
        """How the product calls `server`."""
        return EndpointKey(self.scenario.pool.namespace, server.identity.name)

    def _add(self, kind: ServerKind, seconds: float) -> VirtualServer:
        number = len(self.everyone)
        address = _FIRST_ADDRESS + number + 1
        dotted = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
        identity = ServerIdentity(number, f"server-{number}", f"{dotted}:{_PORT}", kind)
        server = VirtualServer(identity, self._clock, self._rng, self._tell, self._form)
        if seconds:
            server.start(seconds)
        self.everyone.append(server)
        self.listed[identity.authority] = server
        return server

    def _form(self, kind: ServerKind, started_at: float) -> SampledServer:
        known = self._forms.get((kind, started_at))
        if known is None:
            known = self._forms[kind, started_at] = _sampled(self.scenario.model, kind, started_at)
        return known

    def _remove(self, server: VirtualServer) -> None:
        authority = server.identity.authority
        if self.listed.get(authority) is not server:
            return
        server.cut_all()
        server.ended_at = self._clock.now
        self._draining.discard(authority)
        del self.listed[authority]
        self.tell()

    def _strike(self, planned: PlannedFault) -> None:
        server = self.everyone[planned.server]
        server.add_fault(planned.fault)
        if planned.fault.seconds is not None:
            self._clock.after(planned.fault.seconds, server.remove_fault, planned.fault)


def _sampled(model: str, kind: ServerKind, started_at: float) -> SampledServer:
    settings = kind.settings(0.0)
    subject = PageSubject(
        model=model,
        ranks=1,
        block_size=settings.block_size,
        num_blocks=settings.num_blocks,
        token_limit=settings.capacity_tokens,
        max_loras=settings.max_loras,
        started_at=started_at,
    )
    return SampledServer(subject)


Servers = Mapping[str, VirtualServer]
