"""What is known ahead of time of a queue."""

import pytest

from infscale.endpoint import Phase
from picker.flow.band_shares import BandShares
from picker.flow.deadlines import EarliestDeadline
from picker.flow.flow_queue import FlowQueue
from picker.flow.forecasting.forecast import Forecast
from picker.flow.lanes import EVERYWHERE
from picker.flow.tenants import CostFairness
from picker.flow.waiting import Waiting
from tests.fakes.pools import endpoint

READY = 2


class Watched:
    """A queue that is worked off at two GPU seconds per second, for half a minute."""

    def __init__(self, shares: dict[int, float] | None = None) -> None:
        self.queue = FlowQueue(EarliestDeadline(), lambda _: CostFairness(), shares=BandShares(shares or {}))
        self.forecast = Forecast(self.queue)
        self.now, self.number = 0.0, 0
        self.add(-9, due=1e6)
        for _ in range(300):
            self.now += 0.1
            self.forecast.left(self.request(0, cost=0.2), EVERYWHERE, 0.3, self.now)
            self.forecast.watch(READY, self.now)
        self.queue.removed(1, self.now)

    def request(self, priority: int = 0, cost: float = 2.0, due: float = 100.0, flow: str = "a") -> Waiting:
        self.number += 1
        return Waiting(self.number, priority, flow, 0, 0.0, self.now, due_at=due, cost_seconds=cost)

    def add(self, priority: int = 0, cost: float = 2.0, due: float = 50.0, flow: str = "a", lane: str = "") -> None:
        self.queue.add(self.request(priority, cost, due, flow), lane, self.now)
        self.forecast.watch(READY, self.now)


def test_a_request_waits_for_what_certainly_goes_before_it() -> None:
    watched = Watched()
    for _ in range(10):
        watched.add()
        watched.add(priority=5)
        # None of these certainly does: it is due later, of another tenant, of a lower band, for other endpoints.
        watched.add(due=200.0)
        watched.add(flow="b")
        watched.add(priority=-1)
        watched.add(priority=5, lane="\n10.0.0.1:8000")
    wait = watched.forecast.wait_seconds(watched.request(), EVERYWHERE, 0.3, READY)
    assert wait == pytest.approx(20.0, rel=0.05)
    assert watched.forecast.wait_seconds(watched.request(), EVERYWHERE, 0.3, 2 * READY) == pytest.approx(10.0, rel=0.05)
    assert watched.forecast.wait_seconds(watched.request(), "\n10.0.0.1:8000", 0.3, READY) == 0.3


def test_a_band_with_a_share_does_not_wait_for_all_that_higher_ones_have() -> None:
    watched = Watched({0: 0.5})
    for _ in range(10):
        watched.add()
    for _ in range(100):
        watched.add(priority=5)
    wait = watched.forecast.wait_seconds(watched.request(), EVERYWHERE, 0.0, READY)
    assert wait == pytest.approx(20.0, rel=0.05)


def test_no_request_waits_less_than_until_there_may_be_room() -> None:
    forecast = Forecast(FlowQueue(EarliestDeadline(), lambda _: CostFairness()))
    assert forecast.wait_seconds(Waiting(1, 0, "", 0, 0.0, 0.0), EVERYWHERE, 1.5, READY) == 1.5


def test_who_is_refused_comes_back_when_what_is_ahead_has_left() -> None:
    watched = Watched()
    for _ in range(10):
        watched.add()
        watched.add(priority=-1)
    assert watched.forecast.retry_seconds(0, READY, watched.now) == pytest.approx(10.0, rel=0.05)
    assert watched.forecast.retry_seconds(-1, READY, watched.now) == pytest.approx(20.0, rel=0.05)
    assert watched.forecast.retry_seconds(5, READY, watched.now) == 1.0
    for _ in range(2_000):
        watched.add()
    assert watched.forecast.retry_seconds(0, READY, watched.now) == 600.0


def test_without_endpoints_it_is_when_the_next_one_is_ready_and_so_where_that_is_sooner() -> None:
    watched = Watched()
    forecast, began = watched.forecast, watched.now
    assert forecast.retry_seconds(0, 0, began) == 1.0, "nothing is known"
    forecast.follow([], began)
    forecast.follow([endpoint(0, phase=Phase.STARTING)], began)
    forecast.follow([endpoint(0)], began + 40.0)
    assert forecast.retry_seconds(0, 0, began + 40.0) == 40.0
    for _ in range(100):
        watched.add()
    assert forecast.retry_seconds(0, READY, began + 40.0) > 90.0
    forecast.follow([endpoint(0), endpoint(1, phase=Phase.STARTING)], began + 45.0)
    assert forecast.retry_seconds(0, READY, began + 50.0) == 35.0
