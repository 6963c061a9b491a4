"""The store: what is known ages, nothing is invented, and what was dispatched is accounted for."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.metrics.published.gpu_readers import GPU, GPU_STALENESS_SECONDS, NODE_AGENT_GPU
from infscale.metrics.sample import EngineSample, GpuSample, HealthSample, LoraState, SourceSample
from infscale.metrics.snapshot import PoolSettings, PoolSnapshot
from infscale.metrics.store.dispatch import Charge
from infscale.metrics.store.metrics_store import MetricStore, StoreSettings
from infscale.sources.health_source import HEALTH
from tests.fakes.counts import counts_of
from tests.fakes.samples import engine_sample

POOL = Pool(ObjectKey("llm", "chat"), {"app": "vllm"})


def endpoint(number: int, phase: Phase = Phase.READY) -> Endpoint:
    return Endpoint(EndpointKey("llm", f"vllm-{number}"), f"10.0.0.{number + 1}", 8000, {"app": "vllm"}, phase)


def sample(waiting: float = 0.0, running: float = 0.0, kv: float = 0.1, page: int = 0) -> EngineSample:
    return engine_sample(
        waiting, running, kv, counts=counts_of(counters={("requests_finished", "m"): float(page)}), fingerprint=page
    )


def store(endpoints: int = 3) -> MetricStore:
    made = MetricStore("s", StoreSettings(reconcile_after_seconds=1.0, probation_seconds=60.0))
    made.sync(DiscoveryState(tuple(endpoint(number) for number in range(endpoints)), (POOL,)))
    return made


def view(of: MetricStore) -> PoolSnapshot:
    snapshot = of.snapshot(POOL.key)
    assert snapshot is not None
    return snapshot


def test_an_endpoint_nobody_scraped_is_unknown_not_idle() -> None:
    snapshot = view(store())
    assert np.isnan(snapshot.columns.gauges.waiting).all()
    assert np.isnan(snapshot.saturation(0.0)).all()
    assert not snapshot.saturated(0.0).any()
    assert not snapshot.eligible(0.0).any()
    assert not snapshot.columns.settled.any()


def test_a_value_ages_and_is_unusable_beyond_the_limit() -> None:
    made = store()
    made.record_scrape(endpoint(0).key, sample(waiting=10), at=5.0)
    assert view(made).saturated(7.0)[0]
    assert np.isnan(view(made).saturation(7.01)[0])
    assert not view(made).eligible(7.01)[0]


def test_a_failed_scrape_replaces_nothing_and_is_remembered_with_its_cause() -> None:
    made = store()
    made.record_scrape(endpoint(0).key, sample(waiting=3), at=5.0)
    made.record_failure(endpoint(0).key, "connection refused", at=6.0)
    made.record_failure(endpoint(0).key, "connection refused", at=7.0)
    columns = view(made).columns
    assert columns.gauges.waiting[0] == 3
    assert columns.observed_at[0] == 5.0
    failure = columns.failures[0]
    assert failure is not None
    assert (failure.cause, failure.consecutive) == ("connection refused", 2)
    made.record_scrape(endpoint(0).key, sample(), at=8.0)
    assert view(made).columns.failures[0] is None


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING])
def test_only_ready_endpoints_are_eligible(phase: Phase) -> None:
    made = MetricStore("s")
    made.sync(DiscoveryState((endpoint(0), endpoint(1, phase)), (POOL,)))
    for number in (0, 1):
        made.record_scrape(endpoint(number).key, sample(), at=0.0)
    assert list(view(made).eligible(0.1)) == [True, False]


def test_sync_keeps_what_is_known_and_forgets_what_is_gone() -> None:
    made = store()
    made.record_scrape(endpoint(2).key, sample(waiting=4), at=1.0)
    made.charge(POOL.key, 2, "m", 10, 1.0)
    made.sync(DiscoveryState((endpoint(2), endpoint(7)), (POOL,)))
    snapshot = view(made)
    assert next(iter(snapshot.columns.gauges.waiting)) == 4
    assert np.isnan(snapshot.columns.gauges.waiting[1])
    assert list(snapshot.in_flight_requests) == [1, 0]
    assert snapshot.in_flight_models == {"m": (1.0, 10.0)}
    assert tuple(snapshot.in_flight_by_model) == ({"m": (1.0, 10.0)}, {})
    made.sync(DiscoveryState((endpoint(7),), (POOL,)))
    made.sync(DiscoveryState((endpoint(2), endpoint(7)), (POOL,)))
    assert np.isnan(view(made).columns.gauges.waiting[0])
    assert not view(made).in_flight_requests.any()


def test_a_pod_that_comes_back_at_another_address_is_another_endpoint() -> None:
    made = store(1)
    made.record_scrape(endpoint(0).key, sample(waiting=4), at=1.0)
    moved = Endpoint(endpoint(0).key, "10.9.9.9", 8000, {"app": "vllm"})
    made.sync(DiscoveryState((moved,), (POOL,)))
    assert np.isnan(view(made).columns.gauges.waiting[0])


def test_every_change_publishes_a_new_revision_and_leaves_old_snapshots_alone() -> None:
    made = store()
    seen = [view(made)]
    changes: list[Callable[[], object]] = [
        lambda: made.record_scrape(endpoint(0).key, sample(waiting=1), at=1.0),
        lambda: made.record_failure(endpoint(1).key, "timed out", at=1.0),
        lambda: made.record_beside(GPU, endpoint(1).key, GpuSample(1.0, 2.0, 0.5), at=1.0),
        lambda: made.charge(POOL.key, 0, "m", 5, 1.0),
        lambda: made.configure(POOL.key, PoolSettings(staleness_limit_seconds=9)),
    ]
    for change in changes:
        change()
        seen.append(view(made))
    numbers = [snapshot.number for snapshot in seen]
    assert numbers == sorted(set(numbers))
    assert seen[0].in_flight_requests[0] == 0
    assert seen[-1].in_flight_requests[0] == 1
    assert np.isnan(seen[0].columns.gauges.waiting[0])
    assert seen[-1].revision == f"s.{seen[-1].number}"
    with pytest.raises(ValueError, match="read-only"):
        seen[-1].in_flight_requests[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        seen[-1].columns.gauges.waiting[0] = 7


def test_a_charge_shares_every_observed_column_with_the_snapshot_before() -> None:
    made = store()
    before = view(made)
    made.charge(POOL.key, 1, "m", 5, 1.0)
    assert view(made).state is before.state


def test_a_booking_shares_the_models_of_every_other_endpoint_with_the_snapshot_before() -> None:
    made = store()
    for row in range(3):
        made.charge(POOL.key, row, "m", 5, 1.0)
    before = view(made).in_flight_by_model
    charge = made.charge(POOL.key, 1, "lora", 7, 1.0)
    after = view(made).in_flight_by_model
    assert after[1] == {"m": (1.0, 5.0), "lora": (1.0, 7.0)}
    assert before[1] == {"m": (1.0, 5.0)}, "a snapshot that was read does not change"
    assert all(after[row] is before[row] for row in (0, 2))
    made.release(charge, answered=True)
    assert view(made).in_flight_by_model[1] == {"m": (1.0, 5.0)}


def test_how_long_a_model_took_to_load_is_known_from_discovery_alone() -> None:
    made = store(2)
    assert np.isnan(view(made).columns.pod.load_seconds).all()
    made.record_scrape(endpoint(0).key, sample(waiting=4), at=1.0)
    loaded = replace(endpoint(0), load_seconds=90.0)
    made.sync(DiscoveryState((loaded, endpoint(1)), (POOL,)))
    assert view(made).columns.pod.load_seconds[0] == 90
    assert np.isnan(view(made).columns.pod.load_seconds[1])
    made.record_scrape(endpoint(0).key, sample(waiting=5), at=2.0)
    assert (view(made).columns.pod.load_seconds[0], view(made).columns.gauges.waiting[0]) == (90, 5)


def test_an_endpoint_in_two_pools_shows_its_dispatches_in_both() -> None:
    other = Pool(ObjectKey("llm", "all"), {})
    made = MetricStore("s")
    made.sync(DiscoveryState((endpoint(0), endpoint(1)), (POOL, other)))
    charge = made.charge(POOL.key, 1, "m", 5, 1.0)
    assert [snapshot.in_flight_tokens[1] for snapshot in made.snapshots()] == [5, 5]
    made.release(charge, answered=True)
    assert [snapshot.in_flight_tokens[1] for snapshot in made.snapshots()] == [0, 0]


def test_each_pool_looks_back_its_own_window_also_when_that_changes() -> None:
    other = Pool(ObjectKey("llm", "all"), {})
    made = MetricStore(
        "s", pools={POOL.key: PoolSettings(window_seconds=4), other.key: PoolSettings(window_seconds=20)}
    )

    def averages() -> list[float | None]:
        windows = [snapshot.columns.windows[0] for snapshot in made.snapshots()]
        return [None if window is None else window.waiting_average for window in windows]

    made.sync(DiscoveryState((endpoint(0),), (POOL, other)))
    assert averages() == [None, None]
    for at in range(0, 22, 2):
        made.record_scrape(endpoint(0).key, sample(waiting=at), at=at)
    assert averages() == [18, 10]
    made.configure(POOL.key, PoolSettings(window_seconds=8))
    assert averages() == [16, 10]
    made.sync(DiscoveryState((endpoint(0),), (POOL,)))
    assert averages() == [16]
    assert view(made).state.settings.window_seconds == 8


def test_settings_that_are_the_same_publish_nothing() -> None:
    made = store()
    before = view(made)
    made.configure(POOL.key, PoolSettings())
    assert view(made) is before


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["charge", "release", "scrape", "sync"]), st.integers(0, 2), st.floats(0, 9999.9)),
        max_size=80,
    )
)
def test_whatever_happens_in_flight_returns_to_exactly_zero(steps: list[tuple[str, int, float]]) -> None:
    made, now = store(), 0.0
    charges: list[Charge] = []
    for action, number, amount in steps:
        now += 0.3
        if action == "charge" and view(made).endpoints:
            charges.append(made.charge(POOL.key, number % len(view(made)), f"m{number}", amount, now))
        elif action == "release" and charges:
            made.release(charges.pop(number % len(charges)), answered=bool(number))
        elif action == "scrape":
            made.record_scrape(endpoint(number).key, sample(running=number, page=int(amount)), at=now)
        elif action == "sync":
            present = tuple(endpoint(other) for other in range(3) if other != number)
            made.sync(DiscoveryState(present, (POOL,)))
        booked = view(made)
        assert (booked.in_flight_requests >= 0).all()
        for row, of_row in enumerate(booked.in_flight_by_model):
            assert booked.in_flight_requests[row] == sum(requests for requests, _ in of_row.values())
            assert booked.in_flight_tokens[row] == sum(tokens for _, tokens in of_row.values())
        assert booked.in_flight_requests.sum() == sum(requests for requests, _ in booked.in_flight_models.values())
        assert booked.in_flight_tokens.sum() == sum(tokens for _, tokens in booked.in_flight_models.values())
    for charge in charges:
        made.release(charge, answered=False)
        made.release(charge, answered=False)
    assert not view(made).in_flight_requests.any()
    assert not view(made).in_flight_tokens.any()
    assert view(made).in_flight_models == {}
    assert not any(view(made).in_flight_by_model)


def test_an_endpoint_that_keeps_reporting_less_than_was_charged_is_corrected() -> None:
    made = store(1)
    charges = [made.charge(POOL.key, 0, "m", 10, now=0.0) for _ in range(4)]
    for page, at in enumerate((0.5, 1.5, 2.0), start=1):
        made.record_scrape(endpoint(0).key, sample(running=1, page=page), at=at)
        assert view(made).in_flight_requests[0] == 4, "not before it has lasted"
    made.record_scrape(endpoint(0).key, sample(running=1, page=9), at=2.6)
    assert view(made).in_flight_requests[0] == 1
    assert made.written_off == 3
    for charge in charges:
        made.release(charge, answered=True)
    assert view(made).in_flight_requests[0] == 0


def test_a_page_that_stands_still_while_requests_are_answered_is_frozen_and_goes_stale() -> None:
    made = store(1)
    made.record_scrape(endpoint(0).key, sample(page=7), at=0.0)
    charge = made.charge(POOL.key, 0, "m", 10, now=1.0)
    made.release(charge, answered=True)
    for at in (1.5, 2.0, 2.9, 3.5):
        made.record_scrape(endpoint(0).key, sample(page=7), at=at)
    assert view(made).fresh(2.9)[0]
    assert not view(made).fresh(3.5)[0], "nothing is vouched for since the request at 1.0"
    [failure] = view(made).columns.failures
    assert failure is not None
    assert failure.cause == "its page stands still although requests were answered"
    made.record_scrape(endpoint(0).key, sample(page=8), at=4.0)
    assert view(made).fresh(4.0)[0], "the page moved"
    assert list(view(made).columns.failures) == [None]


def test_a_frozen_page_is_held_against_an_endpoint_only_for_its_probation() -> None:
    made = store(1)
    made.record_scrape(endpoint(0).key, sample(page=7), at=0.0)
    made.release(made.charge(POOL.key, 0, "m", 10, now=1.0), answered=True)
    made.record_scrape(endpoint(0).key, sample(page=7), at=61.0)
    assert not view(made).fresh(61.0)[0]
    made.record_scrape(endpoint(0).key, sample(page=7), at=61.5)
    assert view(made).fresh(61.5)[0]


@pytest.mark.parametrize(
    ("charged_at", "answered"),
    [pytest.param(1.0, False, id="a request that was not answered"), pytest.param(-1.0, True, id="it moved since")],
)
def test_an_idle_page_is_fresh(charged_at: float, answered: bool) -> None:
    made = store(1)
    charge = made.charge(POOL.key, 0, "m", 10, now=charged_at)
    made.record_scrape(endpoint(0).key, sample(page=7), at=0.0)
    made.release(charge, answered=answered)
    for at in (2.0, 30.0, 300.0):
        made.record_scrape(endpoint(0).key, sample(page=7), at=at)
        assert view(made).fresh(at)[0]


def test_a_page_of_gauges_alone_may_stand_still() -> None:
    made = store(1)
    made.record_scrape(endpoint(0).key, engine_sample(0.0, 0.0, 0.1, fingerprint=7), at=0.0)
    made.release(made.charge(POOL.key, 0, "m", 10, now=1.0), answered=True)
    made.record_scrape(endpoint(0).key, engine_sample(0.0, 0.0, 0.1, fingerprint=7), at=9.0)
    assert view(made).fresh(9.0)[0]


def test_observations_of_endpoints_that_are_gone_are_ignored() -> None:
    made = store(1)
    before = view(made).number
    made.record_scrape(endpoint(9).key, sample(), at=1.0)
    made.record_failure(endpoint(9).key, "timed out", at=1.0)
    made.record_beside(GPU, endpoint(9).key, GpuSample(1.0, 1.0, 1.0), at=1.0)
    assert view(made).number == before
    assert made.snapshot(ObjectKey("llm", "other")) is None


def said(serving: bool | None, *names: str) -> HealthSample:
    return HealthSample(serving, frozenset(names), good_seconds=15.0)


@pytest.mark.parametrize(
    ("phase", "serving", "ready"),
    [
        (Phase.READY, True, True),
        (Phase.READY, None, True),
        (Phase.READY, False, False),
        (Phase.STARTING, True, False),
        (Phase.DRAINING, True, False),
    ],
)
def test_a_server_can_say_no_and_only_discovery_yes(phase: Phase, serving: bool | None, ready: bool) -> None:
    made = store()
    made.sync(DiscoveryState((endpoint(0, phase), endpoint(1)), (POOL,)))
    for number in (0, 1):
        made.record_scrape(endpoint(number).key, sample(), at=1.0)
    made.record_beside(HEALTH, endpoint(0).key, said(serving), at=1.0)
    assert view(made).columns.ready.tolist() == [ready, True]
    assert view(made).candidates(1.0).tolist() == ([0, 1] if ready else [1])
    made.sync(DiscoveryState((endpoint(0, phase), endpoint(1)), (POOL,)))
    assert view(made).columns.ready.tolist() == [ready, True], "discovery does not forget it"


@pytest.mark.parametrize("scrape_works", [True, False])
def test_what_a_server_said_is_unknown_when_it_holds_no_more(scrape_works: bool) -> None:
    made = store(1)
    made.record_beside(HEALTH, endpoint(0).key, said(False, "a"), at=1.0)

    def look(at: float) -> tuple[bool, LoraState | None, HealthSample | None]:
        if scrape_works:
            made.record_scrape(endpoint(0).key, sample(), at)
        else:
            made.record_failure(endpoint(0).key, "connection refused", at)
        columns = view(made).columns
        return bool(columns.ready[0]), columns.lora[0], columns.health[0]

    assert look(16.0) == (False, LoraState(frozenset(), frozenset(), None, frozenset({"a"})), said(False, "a"))
    assert look(16.01) == (True, None, None)


def test_names_of_a_server_are_beside_those_of_its_page() -> None:
    made, key = store(1), endpoint(0).key
    page = LoraState(frozenset({"runs"}), frozenset({"waits"}), 4, frozenset({"idle"}))
    made.record_scrape(key, replace(sample(), lora=page), at=1.0)
    made.record_beside(HEALTH, key, said(True, "told", "runs"), at=1.0)
    merged = replace(page, loaded=frozenset({"idle", "told", "runs"}))
    before = view(made).columns.lora[0]
    assert before == merged
    made.record_scrape(key, replace(sample(page=1), lora=page), at=1.5)
    assert view(made).columns.lora[0] is before, "one that is the same is not written again"
    made.record_beside(HEALTH, key, said(True), at=2.0)
    assert view(made).columns.lora[0] is page, "what a server does not serve, its page may still run"
    made.record_scrape(key, sample(page=2), at=2.5)
    assert view(made).columns.lora[0] is None


def test_of_two_sources_of_the_same_values_the_first_counts_while_it_is_heard() -> None:
    made, key = store(1), endpoint(0).key
    exporter: SourceSample = GpuSample(1.0, 10.0, 0.5)
    agent: SourceSample = GpuSample(2.0, 10.0, None, {"gpu_utilization": "unpublished"})

    def shown() -> tuple[float, float, dict[str, str]]:
        columns = view(made).columns
        return float(columns.pod.gpu_memory_used_bytes[0]), float(columns.gpu_observed_at[0]), dict(columns.refused[0])

    made.record_beside(GPU, key, exporter, at=1.0)
    assert shown() == (1.0, 1.0, {})
    made.record_beside(NODE_AGENT_GPU, key, agent, at=2.0)
    assert shown() == (2.0, 2.0, {"gpu_utilization": "unpublished"})
    number = view(made).number
    made.record_beside(GPU, key, exporter, at=2.0 + GPU_STALENESS_SECONDS / 2)
    assert shown() == (2.0, 2.0, {"gpu_utilization": "unpublished"})
    assert view(made).number == number
    made.record_beside(GPU, key, exporter, at=2.5 + GPU_STALENESS_SECONDS / 2)
    assert shown() == (1.0, 2.5 + GPU_STALENESS_SECONDS / 2, {})
    made.record_beside(HEALTH, key, said(True), at=60.0)
    assert shown()[0] == 1.0, "sources of other values have nothing to do with it"


def test_a_request_that_finds_no_endpoint_is_told_at_once_and_in_the_snapshot() -> None:
    store, told = MetricStore("s"), list[ObjectKey]()
    pool = Pool(ObjectKey("llm", "empty"), {"app": "none"})
    store.sync(DiscoveryState((), (pool,)))
    end = store.on_request_without_endpoint(told.append)
    store.turn_away(pool.key, 5.0)
    store.turn_away(ObjectKey("llm", "unknown"), 5.0)
    assert told == [pool.key]
    snapshot = store.snapshot(pool.key)
    assert snapshot is not None
    assert snapshot.turned_away == ((5.0, 1),)
    end()
    store.turn_away(pool.key, 6.0)
    assert told == [pool.key]
