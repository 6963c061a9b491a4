"""The product's side of a run: the store that serves, fed by late scrapes, and the directors that serve, on it."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from infscale.config.fallback_settings import FallbackSettings
from infscale.config.flow_control_settings import FlowControlSettings
from infscale.config.settings import DiscoverySettings, PickerSettings, ScrapeSettings, ServeConfig
from infscale.endpoint import DiscoveryState
from infscale.metrics.store.metrics_store import MetricStore
from infscale.serving.deciding import Deciding
from infscale.serving.scheduling import pool_settings
from infscale.serving.scraping import new_store
from infscale.sim.load.virtual_request import VirtualRequest
from infscale.simulate.parsed_requests import inference_request
from infscale.simulate.scenario import Scenario
from infscale.simulate.world.fleet import Servers
from infscale.simulate.world.flights import Flight
from infscale.simulate.world.gateway import EVICTED, Answer, Refused
from infscale.simulate.world.virtual_clock import VirtualClock
from infscale.simulate.world.virtual_scrapes import ScrapePace, VirtualScrapes
from infscale.simulate.world.virtual_server import EPOCH
from picker.directing.admission import OBJECTIVE_HEADERS
from picker.directing.falling_back.fallback_director import FallbackDirector
from picker.directing.holding.flow_director import FlowDirector
from picker.directing.reference.reference_flow_director import ReferenceFlowDirector
from picker.epp_config.loader import PickerConfig
from picker.flow.tenants import FAIRNESS_HEADERS
from picker.request import Decision, Headers, Held, InferenceRequest, Outcome, Rejection, Verdict
from picker.scheduling.prediction import TPOT_HEADERS, TTFT_HEADERS
from picker.sessions.session_tokens import TokenKeys

if TYPE_CHECKING:
    from random import Random

_LONGEST_TIMEOUT_RATIO: Final = 0.8


def serve_config(
    scenario: Scenario,
    scrape_seconds: float | None,
    *,
    queued: bool | None = None,
    preempts: bool = True,
    falls_back: bool = True,
) -> ServeConfig:
    """The configuration of a `serve` in this scenario; what it does not say is at its defaults.

    Requests wait where they are to be `queued`, or, where that is None, by the scheduling's own flow control. With
    `preempts` our own flow control takes sheddable requests back for others. Where the scenario has another pool,
    requests go there if it `falls_back`.
    """
    scrape = ScrapeSettings()
    interval = scrape_seconds or scenario.scrape_seconds
    if interval is not None:
        timeout = min(scrape.timeout_seconds, _LONGEST_TIMEOUT_RATIO * interval)
        scrape = replace(scrape, interval_seconds=interval, timeout_seconds=timeout)
    flow_control = FlowControlSettings(enabled=queued, weights=scenario.weights, preempt=preempts)
    if scenario.no_endpoint_seconds is not None:
        flow_control = replace(flow_control, no_endpoint_seconds=scenario.no_endpoint_seconds)
    picker = PickerSettings(pool=scenario.pool, destinations=scenario.destinations, flow_control=flow_control)
    if scenario.standby and falls_back:
        other = FallbackSettings(scenario.standby_pool, after_seconds=scenario.fallback_seconds)
        picker = replace(picker, fallback={scenario.pool: (other,)})
    return ServeConfig(DiscoverySettings(default_pool=scenario.pool), scrape=scrape, picker=picker)


class Product:
    """The store and what brings values into it; judged by the scheduling that is in force."""

    def __init__(
        self, config: ServeConfig, scheduling: PickerConfig, scenario: Scenario, clock: VirtualClock, rng: "Random"
    ) -> None:
        self.store = new_store("sim", config.scrape)
        for pool in (scenario.pool, *((scenario.standby_pool,) if scenario.standby else ())):
            self.store.configure(pool, pool_settings(config, scheduling, pool))
        scrape = config.scrape
        pace = ScrapePace(scrape.interval_seconds, scrape.timeout_seconds, scenario.delays.scrape)
        self._scrapes = VirtualScrapes(clock, self.store, pace, rng)

    def sync(self, state: DiscoveryState, servers: Servers) -> None:
        """Follow discovery."""
        self.store.sync(state)
        self._scrapes.sync({each.key: servers[each.authority] for each in state.endpoints})


class _Waking:
    """The alarm of a director in virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._number = 0
        self.flow: FlowDirector | ReferenceFlowDirector | FallbackDirector | None = None

    def set(self, at: float) -> None:
        """See `picker.directing.holding.flow_director.Alarm`."""
        self._number += 1
        if at != math.inf:
            self._clock.at(at, self._ring, self._number)

    def _ring(self, number: int) -> None:
        if number == self._number and self.flow is not None:
            self.flow.ring(self._clock.now)


class PickerRouter:
    """The `Router` that is the picker: directors as they serve, asked as an exchange would ask them."""

    def __init__(
        self,
        config: ServeConfig,
        scheduling: PickerConfig,
        scenario: Scenario,
        store: MetricStore,
        clock: VirtualClock,
        rng: "Random",
    ) -> None:
        self.deciding = Deciding(config, _with_keys(scheduling, rng), store, clock.time, rng)
        self.deciding.tell_time_by(lambda: EPOCH + clock.now)
        self._clock = clock
        self._scenario = scenario
        self._waking = _Waking(clock)
        if self.deciding.may_hold:
            self._waking.flow = self.deciding.hold(self._waking.set)
        late = _Waking(clock)
        late.flow = self.deciding.fall_back(late.set)
        self._director = self.deciding.director
        self._headers: dict[tuple[str, str | None], Headers] = {}
        # What answers gave the clients of sessions to send with their next turns.
        self._carried: dict[int, tuple[tuple[str, bytes], ...]] = {}

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery."""
        self.deciding.sync(state)

    def route(self, flight: Flight) -> Answer | None:
        """See `Router`."""
        request = flight.request
        asked = inference_request(request, flight.number, self._headers_of(request))
        verdict = self._director.direct(asked, self._clock.now)
        if not isinstance(verdict, Held):
            return self._answer(flight, asked, verdict)
        flight.held = verdict
        verdict.listen(lambda told: self._resume(flight, asked, told))
        return None

    def abandoned(self, flight: Flight) -> None:
        """See `Router`."""
        if flight.held is not None:
            flight.held.give_up()

    def _resume(self, flight: Flight, asked: InferenceRequest, verdict: Verdict) -> None:
        flight.held = None
        if flight.resume is not None:
            flight.resume(self._answer(flight, asked, verdict))

    def _answer(self, flight: Flight, asked: InferenceRequest, verdict: Verdict) -> Answer:
        if isinstance(verdict, Rejection):
            self._director.refused(asked.headers, asked.body, verdict)
            return Refused(verdict.status, verdict.reason.value)
        flight.asked, flight.decision = asked.remembered(), verdict
        if verdict.recall is not None and flight.evict is not None:
            evict = flight.evict
            verdict.recall.listen(lambda told: evict(Refused(told.status, told.reason.value)))
        return verdict.destinations[: self._scenario.destinations]

    def started(self, flight: Flight) -> None:
        """See `Router`."""
        _, decision = _open(flight)
        flight.decision = self._director.response_started(decision, flight.status, flight.served, self._clock.now)
        session, given = flight.request.session, flight.decision.response_headers
        if session is not None and given:
            self._carried[session] = given

    def ended(self, flight: Flight) -> None:
        """See `Router`."""
        asked, decision = _open(flight)
        now, started_at = self._clock.now, flight.started_at
        evicted = flight.failure == EVICTED
        shown = self._scenario.response_bodies and flight.failure is None
        # Where bodies are withheld, an end and an abort after the response headers look the same.
        answered = started_at is not None and (flight.failure is None or not self._scenario.response_bodies)
        outcome = Outcome(
            kind="evicted" if evicted else "completed" if answered else "aborted",
            status=flight.status if started_at is not None else None,
            prompt_tokens=flight.prompt_tokens if shown else None,
            completion_tokens=flight.request.output_tokens if shown else None,
            cached_tokens=flight.cached_tokens if shown else None,
            served=flight.served if started_at is not None else None,
            first_byte_seconds=None if started_at is None else started_at - flight.opened_at,
            duration_seconds=now - flight.opened_at,
            streamed=True,
        )
        if decision.recall is not None:
            decision.recall.close()
        self._director.finished(asked, decision, outcome, now)
        flight.asked = flight.decision = None

    def _headers_of(self, request: VirtualRequest) -> Headers:
        key = request.request_class, request.tenant
        headers = self._headers.get(key)
        if headers is None:
            headers = self._headers[key] = Headers(self._items(*key))
        carried = () if request.session is None else self._carried.get(request.session, ())
        return Headers([*headers, *carried]) if carried else headers

    def _items(self, request_class: str, tenant: str | None) -> list[tuple[str, bytes]]:
        goal = self._scenario.goal
        items: list[tuple[str, bytes]] = []
        if request_class in self._scenario.priorities:
            items.append((OBJECTIVE_HEADERS[0], request_class.encode()))
        if tenant is not None:
            items.append((FAIRNESS_HEADERS[0], tenant.encode()))
        if self._scenario.goal_headers:
            wanted = ((TTFT_HEADERS[0], goal.ttft), (TPOT_HEADERS[0], goal.tpot))
            items += [(name, f"{seconds * 1000:g}".encode()) for name, seconds in wanted if seconds is not None]
        return items


def _with_keys(scheduling: PickerConfig, rng: "Random") -> PickerConfig:
    """`scheduling` with keys of this run for the tokens of its sessions."""
    files = {kind.keys for kind in scheduling.sessions if kind.keys}
    return replace(scheduling, session_keys={each: TokenKeys((rng.randbytes(32),)) for each in sorted(files)})


def _open(flight: Flight) -> tuple[InferenceRequest, Decision]:
    if flight.asked is None or flight.decision is None:
        raise ValueError("the director did not decide about this request, or was told its end")
    return flight.asked, flight.decision
