"""Scrapes in virtual time: on the product's grid and with its back-off, each as late as in life."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from infscale.endpoint import EndpointKey
from infscale.metrics.sample import EngineSample
from infscale.metrics.store.metrics_store import MetricStore
from infscale.periodic import Pace
from infscale.process.connecting import REFUSED
from infscale.scrape.pool import ScrapeSettings
from infscale.sim.settings import FaultKind
from infscale.simulate.world.virtual_clock import VirtualClock
from infscale.simulate.world.virtual_server import VirtualServer

if TYPE_CHECKING:
    from random import Random

_BACKOFF: Final = ScrapeSettings().backoff


@dataclass(frozen=True, slots=True)
class ScrapePace:
    """Seconds between scrapes of one server, for one at most, and from its start until the store has it."""

    interval: float
    timeout: float
    delay: float


@dataclass(slots=True, eq=False)
class _Target:
    """One server that is scraped; `refusals` in a row were the last answers."""

    key: EndpointKey
    server: VirtualServer
    pace: Pace
    refusals: int = 0
    wanted: bool = True
    started_at: float = 0.0


class VirtualScrapes:
    """Scrapes the servers of `sync` into the store."""

    def __init__(self, clock: VirtualClock, store: MetricStore, pace: ScrapePace, rng: "Random") -> None:
        self._clock = clock
        self._store = store
        self._pace = pace
        self._rng = rng
        self._targets: dict[EndpointKey, _Target] = {}

    def sync(self, servers: Mapping[EndpointKey, VirtualServer]) -> None:
        """Scrape exactly these."""
        for key in [key for key in self._targets if key not in servers]:
            self._targets.pop(key).wanted = False
        for key, server in servers.items():
            if key not in self._targets:
                pace = Pace(self._pace.interval, self._rng.random(), _BACKOFF, self._clock.time, self._rng)
                target = self._targets[key] = _Target(key, server, pace)
                self._wait(target)

    def _wait(self, target: _Target) -> None:
        self._clock.at(target.pace.due(self._clock.now, target.refusals), self._ask, target)

    def _ask(self, target: _Target) -> None:
        if not target.wanted:
            return
        target.started_at = self._clock.now
        if target.server.listening and FaultKind.HANG in target.server.faults:
            self._clock.after(self._pace.timeout, self._time_out, target)
        else:
            self._clock.after(self._pace.delay / 2, self._look, target)

    def _look(self, target: _Target) -> None:
        """The server writes its page now."""
        if not target.server.listening:
            target.refusals += 1
            self._fail(target, REFUSED)
            return
        target.refusals = 0
        self._clock.after(self._pace.delay / 2, self._record, (target, target.server.sample()))

    def _record(self, seen: tuple[_Target, EngineSample]) -> None:
        target, sample = seen
        if target.wanted:
            self._store.record_scrape(target.key, sample, target.started_at)
            self._wait(target)

    def _time_out(self, target: _Target) -> None:
        target.refusals = 0
        self._fail(target, f"timed out after {self._pace.timeout:.3g} s")

    def _fail(self, target: _Target, cause: str) -> None:
        if target.wanted:
            self._store.record_failure(target.key, cause, self._clock.now)
            self._wait(target)
