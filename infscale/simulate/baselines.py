"""Routers that know nothing of model servers: what a gateway does without a picker."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from infscale.endpoint import DiscoveryState, Phase
from infscale.simulate.world.flights import Flight
from infscale.simulate.world.gateway import Refused

if TYPE_CHECKING:
    from random import Random

_NO_ENDPOINTS = Refused(503, "no_endpoints")


class _Listed(ABC):
    """The endpoints that may get a request."""

    def __init__(self, rng: "Random") -> None:
        self._rng = rng
        self._ready: tuple[str, ...] = ()

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery."""
        self._ready = tuple(each.authority for each in state.endpoints if each.phase is Phase.READY)

    def route(self, flight: Flight) -> Sequence[str] | Refused:
        """See `Router`."""
        return (self._choose(),) if self._ready else _NO_ENDPOINTS

    def abandoned(self, flight: Flight) -> None:
        """See `Router`: none waits."""
        del flight

    def started(self, flight: Flight) -> None:
        """See `Router`."""
        del flight

    def ended(self, flight: Flight) -> None:
        """See `Router`."""
        del flight

    @abstractmethod
    def _choose(self) -> str:
        """One of the endpoints, of which there are some."""


class RandomChoice(_Listed):
    """Any endpoint."""

    def _choose(self) -> str:
        return self._rng.choice(self._ready)


class RoundRobin(_Listed):
    """One endpoint after the other, from any on."""

    def __init__(self, rng: "Random") -> None:
        super().__init__(rng)
        self._turn = rng.randrange(1 << 16)

    def _choose(self) -> str:
        self._turn += 1
        return self._ready[self._turn % len(self._ready)]


class LeastRequest(_Listed):
    """Of two endpoints at random the one with fewer requests under way: Envoy's LEAST_REQUEST."""

    def __init__(self, rng: "Random") -> None:
        super().__init__(rng)
        self._under_way: dict[str, int] = {}

    def route(self, flight: Flight) -> Sequence[str] | Refused:
        """See `Router`."""
        answer = super().route(flight)
        if not isinstance(answer, Refused):
            self._under_way[answer[0]] = self._under_way.get(answer[0], 0) + 1
        return answer

    def ended(self, flight: Flight) -> None:
        """See `Router`."""
        chosen = flight.destinations[0]
        self._under_way[chosen] -= 1

    def _choose(self) -> str:
        one, other = self._rng.choice(self._ready), self._rng.choice(self._ready)
        return min(one, other, key=lambda each: self._under_way.get(each, 0))


Baseline = RandomChoice | RoundRobin | LeastRequest
BASELINES: dict[str, type[RandomChoice] | type[RoundRobin] | type[LeastRequest]] = {
    "round-robin": RoundRobin,
    "least-request": LeastRequest,
    "random": RandomChoice,
}
