"""Scrapes come on the product's grid, say what was so a moment ago, and fail as in life."""

import random

import pytest

from infscale.config.settings import ScrapeSettings
from infscale.endpoint import DiscoveryState, EndpointKey
from infscale.process.connecting import REFUSED
from infscale.serving.scraping import new_store
from infscale.sim.engine.steps import EngineRequest, FinishedRequest
from infscale.sim.settings import Fault, FaultKind
from infscale.simulate.world.fleet import Fleet
from infscale.simulate.world.virtual_clock import VirtualClock
from infscale.simulate.world.virtual_scrapes import ScrapePace, VirtualScrapes
from tests.simulate.scenarios import scenario

PACE = ScrapePace(interval=0.5, timeout=0.4, delay=0.02)


class Silent:
    """Whom servers tell that do not matter here."""

    def whole(self, number: int, done: FinishedRequest) -> None:
        return

    def cut(self, number: int) -> None:
        return


class Scraped:
    """One server that is scraped into a store."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = new_store("test", ScrapeSettings())
        scrapes = VirtualScrapes(self.clock, self.store, PACE, random.Random(1))
        self.synced: list[DiscoveryState] = []

        def discovered(state: DiscoveryState) -> None:
            self.synced.append(state)
            self.store.sync(state)
            scrapes.sync({each.key: self.fleet.listed[each.authority] for each in state.endpoints})

        self.fleet = Fleet(scenario(1), self.clock, random.Random(1), Silent(), discovered)
        self.fleet.start()
        (self.server,) = self.fleet.everyone
        self.seen: list[tuple[float, float, float]] = []

    def run(self, seconds: float) -> None:
        self.clock.at(self.clock.now + seconds, lambda _: self.clock.stop(), None)
        self.clock.run()

    @property
    def columns(self) -> tuple[float, float, str | None]:
        """When the server was observed, how many requests it had, and why the last scrape failed."""
        (snapshot,) = self.store.snapshots()
        failure = snapshot.columns.failures[0]
        gauges = snapshot.columns.gauges
        return (
            float(snapshot.columns.observed_at[0]),
            float(gauges.running[0] + gauges.waiting[0]),
            None if failure is None else failure.cause,
        )


def test_an_observation_is_dated_by_the_start_of_its_scrape_and_shows_the_page_of_its_middle() -> None:
    scraped = Scraped()
    scraped.run(2.0)
    at, load, cause = scraped.columns
    assert 1.4 < at <= 2.0
    assert (load, cause) == (0.0, None)
    scraped.server.submit(1, EngineRequest(1, 5000, 300))
    # Nothing is known of it until a scrape that began later is over.
    assert scraped.columns[1] == 0.0
    while scraped.columns[0] == at:
        scraped.run(0.01)
    assert scraped.columns[0] == pytest.approx(at + PACE.interval)
    assert scraped.clock.now >= scraped.columns[0] + PACE.delay
    assert scraped.columns[1] == 1.0


@pytest.mark.parametrize(
    ("kind", "cause"), [(FaultKind.REFUSE, REFUSED), (FaultKind.HANG, "timed out after 0.4 s")], ids=["refuse", "hang"]
)
def test_a_server_that_does_not_answer_grows_old(kind: FaultKind, cause: str) -> None:
    scraped = Scraped()
    scraped.run(2.0)
    before = scraped.columns[0]
    scraped.server.add_fault(fault := Fault(kind))
    scraped.run(3.0)
    assert scraped.columns == (before, 0.0, cause)
    scraped.server.remove_fault(fault)
    scraped.run(5.0)
    assert scraped.columns[0] > before + 3.0
    assert scraped.columns[2] is None


def test_a_server_that_is_gone_is_scraped_no_more() -> None:
    scraped = Scraped()
    scraped.run(2.0)
    scraped.fleet.drain(scraped.server, 0.0)
    scraped.run(1.0)
    events = scraped.clock.events
    scraped.run(5.0)
    assert scraped.clock.events <= events + 1
    assert scraped.synced[-1].endpoints == ()
    assert EndpointKey("default", "server-0") not in {each.key for each in scraped.synced[-1].endpoints}
