"""The gateway in virtual time: asks the router where a request goes, sends it there, and sees its answer through."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from infscale.endpoint import DiscoveryState
from infscale.sim.engine.steps import EngineRequest, FinishedRequest
from infscale.sim.load.virtual_request import VirtualRequest
from infscale.simulate.scenario import Scenario
from infscale.simulate.world.flights import Flight
from infscale.simulate.world.virtual_clock import VirtualClock
from infscale.simulate.world.virtual_server import OK, VirtualServer

EVICTED: Final = "evicted"
"""The failure of a request that the picker took back."""
_NO_UPSTREAM: Final = 503


@dataclass(frozen=True, slots=True)
class Refused:
    """The router's answer instead of a destination: an HTTP status, and why in a word."""

    status: int
    reason: str


Answer = Sequence[str] | Refused
"""Where a request goes: the authorities to try, in order; or that it goes nowhere."""


class Router(Protocol):
    """Says where requests go; told what becomes of them. It acts at the time of its clock."""

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery."""
        ...

    def route(self, flight: Flight) -> Answer | None:
        """Where the request goes; None: it waits, and `flight.resume` is told once that is known."""
        ...

    def abandoned(self, flight: Flight) -> None:
        """The client of a request that waits has left."""
        ...

    def started(self, flight: Flight) -> None:
        """Response headers came."""
        ...

    def ended(self, flight: Flight) -> None:
        """The request is over; called exactly once for each that was routed and not refused."""
        ...


class Gateway:
    """Owner of the requests under way; tells `over` of each at its end, exactly once."""

    def __init__(
        self,
        scenario: Scenario,
        clock: VirtualClock,
        router: Router,
        servers: Mapping[str, VirtualServer],
        over: Callable[[Flight], None],
    ) -> None:
        self._scenario = scenario
        self._delays = scenario.delays
        self._clock = clock
        self._router = router
        self._servers = servers
        self._over = over
        self._count = 0
        self._turn = 0
        self.under_way: dict[int, Flight] = {}

    def receive(self, request: VirtualRequest) -> None:
        """A client sends `request` now."""
        self._count += 1
        flight = Flight(self._count, request, self._clock.now)
        self.under_way[flight.number] = flight
        self._clock.after(self._scenario.patience_seconds, self._lose_patience, flight)
        self._clock.after(self._delays.gateway, self._route, flight)

    # --- the way there ------------------------------------------------------------------------------------------------

    def _route(self, flight: Flight) -> None:
        if flight.over:
            return
        flight.opened_at = self._clock.now
        flight.resume = lambda answer: self._routed(flight, answer)
        flight.evict = lambda refused: self._evicted(flight, refused)
        answer = self._router.route(flight)
        if answer is not None:
            self._routed(flight, answer)

    def _routed(self, flight: Flight, answer: Answer) -> None:
        flight.resume = None
        if isinstance(answer, Refused):
            flight.status, flight.refused = answer.status, True
            flight.failure = f"refused: {answer.reason}"
            self._clock.after(self._delays.picker + self._delays.gateway, self._end, flight)
            return
        flight.destinations = tuple(answer)
        self._clock.after(self._delays.picker + self._delays.network, self._connect, (flight, self._tries(flight)))

    def _tries(self, flight: Flight) -> Iterator[str]:
        """The endpoints to try: those that were chosen, then by turns, as Envoy's override_host policy has it."""
        left = 1 + self._scenario.retries
        for each in flight.destinations[:left]:
            yield each
            left -= 1
        listed = [*self._servers]
        for _ in range(min(left, len(listed))):
            self._turn += 1
            yield listed[self._turn % len(listed)]

    def _connect(self, attempt: tuple[Flight, Iterator[str]]) -> None:
        flight, tries = attempt
        if flight.over:
            return
        authority = next(tries, None)
        if authority is None:
            flight.status, flight.failure = _NO_UPSTREAM, "no connection"
            self._clock.after(self._delays.network, self._answered, flight)
            return
        server = self._servers.get(authority)
        if server is None or not server.listening:
            self._clock.after(self._delays.retry, self._connect, attempt)
            return
        flight.server = server.identity.number
        flight.served = authority
        status = server.submit(flight.number, _engine_request(flight, server))
        if status is None:
            return
        flight.status = status
        self._clock.after(self._delays.network, self._answered, flight)

    def _answered(self, flight: Flight) -> None:
        """Response headers are here."""
        if flight.over:
            return
        flight.started_at = self._clock.now
        self._router.started(flight)
        if flight.status != OK:
            flight.failure = flight.failure or f"status {flight.status}"
            self._end(flight)

    # --- the way back -------------------------------------------------------------------------------------------------

    def whole(self, number: int, done: FinishedRequest) -> None:
        """See `Answering`."""
        flight = self.under_way[number]
        flight.cached_tokens = done.cached_tokens
        flight.first_at = done.first_token_at + self._delays.network + self._delays.gateway
        self._clock.after(self._delays.network, self._end, flight)

    def cut(self, number: int) -> None:
        """See `Answering`."""
        flight = self.under_way[number]
        flight.failure = "stream cut"
        self._clock.after(self._delays.network, self._end, flight)

    def _lose_patience(self, flight: Flight) -> None:
        if not flight.over:
            self._abort(flight, "timeout")

    def _evicted(self, flight: Flight, refused: Refused) -> None:
        """The picker takes the request back: its server is told, and its client, where that has no answer yet."""
        if flight.started_at is None:
            flight.status = refused.status
        self._abort(flight, EVICTED)

    def _abort(self, flight: Flight, failure: str) -> None:
        flight.failure = failure
        server = None if flight.served is None else self._servers.get(flight.served)
        if server is not None:
            server.abort(flight.number)
        self._end(flight)

    def _end(self, flight: Flight) -> None:
        if flight.over:
            return
        flight.over = True
        flight.ended_at = self._clock.now + (0.0 if flight.refused else self._delays.gateway)
        del self.under_way[flight.number]
        if flight.destinations:
            self._router.ended(flight)
        elif flight.resume is not None:
            self._router.abandoned(flight)
        self._over(flight)


def _engine_request(flight: Flight, server: VirtualServer) -> EngineRequest:
    request = flight.request
    block_tokens = server.engine.settings.block_size
    return EngineRequest(
        flight.number, flight.prompt_tokens, request.output_tokens, request.block_hashes(block_tokens), request.lora
    )
