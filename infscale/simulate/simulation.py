"""One run: the traffic of one seed, routed by one policy, in virtual time."""

import random
from collections.abc import Callable, Iterator
from time import perf_counter

from infscale.demo.scenarios.scenario_plan import ZeroScaling
from infscale.endpoint import DiscoveryState
from infscale.sim.engine.steps import FinishedRequest
from infscale.sim.load.virtual_request import RequestStream, VirtualRequest
from infscale.simulate.baselines import BASELINES
from infscale.simulate.policy import Policy
from infscale.simulate.product import PickerRouter, Product, serve_config
from infscale.simulate.run_result import RequestTable, RunResult, servers_of
from infscale.simulate.scaling import VirtualController
from infscale.simulate.scenario import Scenario
from infscale.simulate.surroundings import Surroundings
from infscale.simulate.world.fleet import Fleet
from infscale.simulate.world.flights import Flight
from infscale.simulate.world.gateway import Gateway, Router
from infscale.simulate.world.virtual_clock import VirtualClock
from infscale.simulate.zero_scaling import VirtualZeroScaler
from picker.epp_config.loader import preset

_PROGRESS_EVERY = 100
# The product has read every server before the first request comes, as one that has run for long.
_LEAD_SECONDS = 2.0
_JUDGING = "infscale"
"""The preset whose pool settings hold where no picker routes."""

Progress = Callable[[int], None]
"""Told how many requests have ended."""


def simulate(scenario: Scenario, policy: Policy, seed: int, progress: Progress | None = None) -> RunResult:
    """Play the scenario's traffic of `seed` once, routed by `policy`. Raises `ConfigError`.

    The same arguments give the same result; all policies get the same traffic for one seed.
    """
    return Simulation(scenario, policy, seed, progress).run()


class Simulation:
    """One run, for one use; its parts can be looked at."""

    def __init__(self, scenario: Scenario, policy: Policy, seed: int, progress: Progress | None = None) -> None:
        self.scenario = scenario
        self.policy = policy
        self.seed = seed
        self.clock = clock = VirtualClock(-_LEAD_SECONDS)
        self.controller: VirtualController | VirtualZeroScaler | None = None
        self.fleet = Fleet(scenario, clock, self._rng("servers"), self, self._discovered)
        self.product, self.picker = self._deciding()
        self.router = self._router()
        self.gateway = Gateway(scenario, clock, self.router, self.fleet.listed, self._over)
        self._stream: RequestStream = scenario.traffic.stream(self._rng("traffic"))
        self._arriving: Iterator[VirtualRequest] = self._stream.arriving()
        self._to_come = 0
        self._ended: list[Flight] = []
        self._progress = progress

    def run(self) -> RunResult:
        """Everything from the first request to the last end."""
        began = perf_counter()
        self.fleet.start()
        scaling = self.scenario.scaling
        if scaling is not None and self.product is not None:
            store = self.product.store
            if isinstance(scaling, ZeroScaling):
                self.controller = VirtualZeroScaler(scaling, self.fleet, store, self.clock)
            else:
                self.controller = VirtualController(scaling, self.fleet, store, self.clock)
            self.controller.start()
        self._await_next()
        # Scrapes would go on for ever.
        if self._to_come:
            self.clock.run()
        warmup = self.scenario.warmup_seconds
        return RunResult(
            self.policy.name,
            self.seed,
            RequestTable.of(each for each in self._ended if each.arrived_at >= warmup),
            servers_of(self.fleet.everyone),
            () if self.controller is None else tuple(self.controller.steps),
            self.clock.now,
            self.clock.events,
            perf_counter() - began,
            self._counts(),
        )

    def _rng(self, of: str) -> random.Random:
        return random.Random(f"{self.seed}/{of}")

    def _deciding(self) -> tuple[Product | None, PickerRouter | None]:
        scenario, policy = self.scenario, self.policy
        if not policy.picks and scenario.scaling is None:
            return None, None
        # What scales reads the store, also where no picker does.
        scheduling = policy.scheduling() if policy.picks else preset(_JUDGING)
        config = serve_config(
            scenario,
            policy.scrape_seconds,
            queued=policy.queued,
            preempts=policy.preempts,
            falls_back=policy.falls_back,
        )
        product = Product(config, scheduling, scenario, self.clock, self._rng("scrapes"))
        if not policy.picks:
            return product, None
        return product, PickerRouter(config, scheduling, scenario, product.store, self.clock, self._rng("router"))

    def _router(self) -> Router:
        policy, picker = self.policy, self.picker
        if policy.router is not None:
            rng = self._rng("own router")
            return policy.router(Surroundings(self.scenario, self.clock, self.fleet.listed, rng, self.product, picker))
        return BASELINES[policy.name](self._rng("router")) if picker is None else picker

    def _discovered(self, state: DiscoveryState) -> None:
        # The store first: directors read it.
        if self.product is not None:
            self.product.sync(state, self.fleet.listed)
        self.router.sync(state)

    # --- traffic ------------------------------------------------------------------------------------------------------

    def _await_next(self) -> None:
        request = next(self._arriving, None)
        if request is not None:
            self._to_come += 1
            self.clock.at(request.at_seconds, self._arrive, request)

    def _arrive(self, request: VirtualRequest) -> None:
        self._to_come -= 1
        self._await_next()
        self.gateway.receive(request)

    def _follow_up(self, request: VirtualRequest) -> None:
        self._to_come -= 1
        self.gateway.receive(request)

    # --- what servers tell --------------------------------------------------------------------------------------------

    def whole(self, number: int, done: FinishedRequest) -> None:
        """See `Answering`."""
        self.gateway.whole(number, done)

    def cut(self, number: int) -> None:
        """See `Answering`."""
        self.gateway.cut(number)

    def _over(self, flight: Flight) -> None:
        self._ended.append(flight)
        if flight.served is not None and flight.served in self.fleet.listed:
            self.fleet.idle(self.fleet.listed[flight.served])
        following = self._stream.next(flight.request, flight.ended_at)
        if following is not None:
            self._to_come += 1
            self.clock.at(following.at_seconds, self._follow_up, following)
        if not self._to_come and not self.gateway.under_way:
            self.clock.stop()
        if self._progress is not None and len(self._ended) % _PROGRESS_EVERY == 0:
            self._progress(len(self._ended))

    def _counts(self) -> dict[str, float]:
        if self.picker is None or self.product is None:
            return {}
        stats = next(iter(self.picker.deciding.directors.stats().values()))
        return {
            "prompt_tokens": stats.prompt_tokens,
            "matched_tokens": stats.matched_tokens,
            "unknown_load": stats.unknown_load,
            "session_moves": sum(stats.session_moves.values()),
            "written_off": self.product.store.written_off,
            "evictions": stats.outcomes.get("evicted", 0),
        }
