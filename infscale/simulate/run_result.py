"""What one run gave: every request as a row of numbers, the servers, and how replicas changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infscale.simulate.world.flights import Flight
from infscale.simulate.world.gateway import EVICTED
from infscale.simulate.world.virtual_server import VirtualServer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RequestTable:
    """One row per request that counts, in the order in which they arrived.

    `classes` and `failures` are names, `request_class` and `failure` places in them; a `failure` of -1 is none.
    `arrived`, `first` and `ended` are seconds of the run, `first` NaN without a first token. `server` is -1 where none
    took it. `refused` are those that the picker did. `tenant` is a place in `tenants`, -1 without one, `session` the
    number of the conversation, -1 without one.
    """

    classes: tuple[str, ...]
    failures: tuple[str, ...]
    arrived: Floats
    first: Floats
    ended: Floats
    prompt_tokens: Ints
    cached_tokens: Ints
    output_tokens: Ints
    server: Ints
    request_class: Ints
    failure: Ints
    refused: NDArray[np.bool_]
    tenants: tuple[str, ...]
    tenant: Ints
    session: Ints

    def __len__(self) -> int:
        return len(self.arrived)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Those that got their whole answer."""
        return self.failure < 0

    @property
    def evicted(self) -> NDArray[np.bool_]:
        """Those that the picker took back in flight."""
        found: NDArray[np.bool_] = self.failure == (self.failures.index(EVICTED) if EVICTED in self.failures else -2)
        return found

    @property
    def ttft(self) -> Floats:
        """Seconds until the first token; NaN without one."""
        return self.first - self.arrived

    @property
    def e2e(self) -> Floats:
        """Seconds until the end."""
        return self.ended - self.arrived

    @property
    def tpot(self) -> Floats:
        """Seconds per token after the first; NaN with fewer than two."""
        gaps = np.where(self.output_tokens > 1, self.output_tokens - 1, np.nan)
        return (self.ended - self.first) / gaps

    @classmethod
    def of(cls, flights: Iterable[Flight]) -> "RequestTable":
        """The table of flights that are over."""
        rows = sorted(flights, key=lambda flight: flight.number)
        classes = sorted({str(each.request.request_class) for each in rows})
        failures = sorted({each.failure for each in rows if each.failure is not None})
        tenants = sorted({each.request.tenant for each in rows if each.request.tenant is not None})
        tenant = {name: place for place, name in enumerate(tenants)}
        return cls(
            tuple(classes),
            tuple(failures),
            np.array([each.arrived_at for each in rows], dtype=np.float64),
            np.array([np.nan if each.first_at is None else each.first_at for each in rows], dtype=np.float64),
            np.array([each.ended_at for each in rows], dtype=np.float64),
            np.array([each.prompt_tokens for each in rows], dtype=np.int64),
            np.array([each.cached_tokens for each in rows], dtype=np.int64),
            np.array([each.request.output_tokens for each in rows], dtype=np.int64),
            np.array([-1 if each.server is None else each.server for each in rows], dtype=np.int64),
            np.array([classes.index(str(each.request.request_class)) for each in rows], dtype=np.int64),
            np.array([-1 if each.failure is None else failures.index(each.failure) for each in rows], dtype=np.int64),
            np.array([each.refused for each in rows], dtype=np.bool_),
            tuple(tenants),
            np.array([tenant.get(each.request.tenant or "", -1) for each in rows], dtype=np.int64),
            np.array([-1 if each.request.session is None else each.request.session for each in rows], dtype=np.int64),
        )


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """One server of a run: when it began, when it ended (None: with the run), how long its GPUs worked."""

    name: str
    coefficients: str
    speed: float
    gpus: int
    started_at: float
    ended_at: float | None
    busy_seconds: float
    preemptions: int

    @classmethod
    def of(cls, server: VirtualServer) -> "ServerRecord":
        """The record of `server` now."""
        identity = server.identity
        chosen = identity.kind.coefficients
        return cls(
            identity.name,
            chosen.name,
            identity.kind.speed,
            chosen.gpus,
            server.started_at,
            server.ended_at,
            server.total_busy_seconds,
            server.recorder.preemptions,
        )

    def alive_seconds(self, end: float) -> float:
        """How long it was there from second 0 on, in a run that ended at second `end`."""
        return max(0.0, (end if self.ended_at is None else self.ended_at) - max(0.0, self.started_at))


@dataclass(frozen=True, slots=True)
class ScalingStep:
    """The HPA wanted another number of replicas `at_seconds`: from, to, and why in the controller's words."""

    at_seconds: float
    before: int
    after: int
    explanation: str


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """One run of one policy on one seed, `seconds` of virtual time long; `wall_seconds` is how long it took.

    `counts` are the picker's own, where there is one: what it believes and what it refused.
    """

    policy: str
    seed: int
    requests: RequestTable
    servers: tuple[ServerRecord, ...]
    scaling: tuple[ScalingStep, ...]
    seconds: float
    events: int
    wall_seconds: float
    counts: Mapping[str, float]

    def gpu_seconds(self) -> float:
        """Of all GPUs that servers held, whether they worked or not."""
        return sum(each.gpus * each.alive_seconds(self.seconds) for each in self.servers)

    def utilization(self) -> float:
        """Share of the servers' time in which their GPUs worked."""
        alive = sum(each.alive_seconds(self.seconds) for each in self.servers)
        return sum(each.busy_seconds for each in self.servers) / alive if alive else 0.0


def servers_of(servers: Sequence[VirtualServer]) -> tuple[ServerRecord, ...]:
    """The records of `servers` now."""
    return tuple(ServerRecord.of(each) for each in servers)
