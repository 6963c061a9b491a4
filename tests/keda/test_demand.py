"""Whether a pool is in demand: false only where it is known that nothing is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import Phase
from infscale.keda.demand import KEPT_SECONDS, Loads, asked_for, known_load
from infscale.metrics.sample import HealthSample
from infscale.metrics.snapshot import PoolSnapshot
from infscale.sources.health_source import HEALTH
from tests.keda.pools import CHAT, STALE, WINDOW, Pools, server


def chat(pools: Pools) -> PoolSnapshot:
    snapshot = pools.store.snapshot(CHAT)
    assert snapshot is not None
    return snapshot


def test_a_request_that_found_no_endpoint_is_remembered() -> None:
    pools = Pools()
    assert not asked_for(chat(pools), 0.0)
    pools.ask()
    assert asked_for(chat(pools), pools.now)
    assert not asked_for(chat(pools), pools.now + 0.1)


@given(st.lists(st.floats(0.01, 20.0), max_size=20), st.integers(1, 5), st.floats(0.0, 60.0))
def test_several_requests_have_to_be_of_one_window(gaps: list[float], more_than: int, since: float) -> None:
    pools = Pools(now=0.0)
    times: list[float] = []
    for gap in gaps:
        pools.now += gap
        times.append(pools.now)
        pools.ask()
    expected = any(sum(end - WINDOW <= at <= end for at in times) > more_than for end in times if end >= since)
    found = asked_for(chat(pools), since, more_than)
    # Requests that come within a part of a window are counted as of the last of them.
    assert found == expected or min(gaps, default=1.0) < WINDOW / 16


@pytest.mark.parametrize(
    ("waiting", "running", "load"),
    [(0.0, 0.0, False), (1.0, 0.0, True), (0.0, 1.0, True), (None, 0.0, None), (None, 1.0, True)],
)
def test_load_of_engines(waiting: float | None, running: float | None, load: bool | None) -> None:
    pools = Pools([server(0)])
    pools.scrape(waiting, running)  # type: ignore[arg-type] # what is not reported
    assert known_load(chat(pools), pools.now) is load


def test_requests_in_flight_are_load_whatever_engines_say() -> None:
    pools = Pools([server(0)])
    pools.scrape()
    charge = pools.store.charge(CHAT, 0, "m", 1.0, pools.now)
    assert known_load(chat(pools), pools.now + 100) is True
    pools.store.release(charge, answered=False)
    assert known_load(chat(pools), pools.now) is False


def test_requests_that_wait_in_the_picker_are_load_with_and_without_endpoints() -> None:
    pools = Pools([server(0, phase=Phase.STARTING)])
    book = pools.store.open_queue(CHAT, pools.now)
    assert known_load(chat(pools), pools.now) is False
    place = book.place("m", 1.0, pools.now)
    book.came(place)
    assert known_load(chat(pools), pools.now + 100) is True
    book.left(place, pools.now)
    assert known_load(chat(pools), pools.now) is False


def test_without_a_ready_endpoint_nothing_runs() -> None:
    assert known_load(chat(Pools([server(0, phase=Phase.STARTING)])), 0.0) is False
    assert known_load(chat(Pools()), 0.0) is False


@pytest.mark.parametrize("load", [True, False])
def test_an_unknown_load_is_what_it_was_for_a_while_and_then_load(load: bool) -> None:
    pools, loads = Pools([server(0)]), Loads()
    pools.scrape(running=float(load))
    assert loads.has_load(chat(pools), pools.now) is load
    pools.now += STALE
    assert loads.has_load(chat(pools), pools.now) is load
    pools.now += KEPT_SECONDS
    assert loads.has_load(chat(pools), pools.now) is load
    pools.now += STALE
    assert loads.has_load(chat(pools), pools.now) is True


def test_a_load_that_was_never_known_is_load_where_an_endpoint_is_ready() -> None:
    pools, loads = Pools([server(0)]), Loads()
    assert loads.has_load(chat(pools), pools.now) is True
    pools.discover(server(0, phase=Phase.STARTING))
    assert loads.has_load(chat(pools), pools.now) is False
    # Nothing was known of an endpoint that becomes ready.
    pools.discover(server(0))
    assert loads.has_load(chat(pools), pools.now) is True


def test_a_pool_whose_servers_all_say_no_has_a_load_that_is_unknown_and_never_none() -> None:
    pools = Pools([server(0), server(1)])
    pools.scrape()
    for number in (0, 1):
        pools.store.record_beside(HEALTH, server(number).key, HealthSample(serving=False, good_seconds=1e3), pools.now)
    assert not chat(pools).columns.ready.any()
    assert known_load(chat(pools), pools.now) is None
    assert Loads().has_load(chat(pools), pools.now)
    # Its pods are there: the number of replicas stays.
    assert pools.value({"pool": "chat", "slo": "ttft_p90=1s"}) == 2.0
    assert pools.active({"pool": "chat", "slo": "ttft_p90=1s"})


def test_pools_that_are_gone_are_forgotten() -> None:
    pools, loads = Pools([server(0)]), Loads()
    pools.scrape()
    snapshot = chat(pools)
    loads.observe([snapshot], pools.now)
    pools.now += STALE + 1
    assert loads.has_load(snapshot, pools.now) is False
    loads.observe([], pools.now)
    assert loads.has_load(snapshot, pools.now) is True
