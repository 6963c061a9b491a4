"""What waits in the picker as published metrics: known only where requests may wait, of pools and models alone."""

import numpy as np
import pytest

from infscale.endpoint import DiscoveryState, Phase, Pool
from infscale.metrics.published.answers import group_reading, models, pod_readings
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from tests.fakes.pools import POOL, endpoint
from tests.fakes.samples import engine_sample

QUEUED = ("queued_requests", "queued_tokens", "queue_wait_p90_seconds", "queue_refusals_per_second")
LATER = 40.0


def store(phase: Phase = Phase.READY) -> MetricStore:
    made = MetricStore("s")
    made.sync(DiscoveryState((endpoint(0, phase=phase),), (Pool(POOL, {}),)))
    return made


def view(of: MetricStore) -> PoolSnapshot:
    snapshot = of.snapshot(POOL)
    assert snapshot is not None
    return snapshot


def value(of: MetricStore, name: str, now: float, model: str | None = None) -> float | None:
    reading = group_reading(BY_NAME[name], view(of), now, model)
    return None if isinstance(reading, Unknown) else reading.value


@pytest.mark.parametrize("name", QUEUED)
def test_where_requests_do_not_wait_nothing_is_published(name: str) -> None:
    reading = group_reading(BY_NAME[name], view(store()), LATER)
    assert isinstance(reading, Unknown)
    assert "picker.flow_control" in reading.reason


@pytest.mark.parametrize("name", QUEUED)
def test_an_empty_queue_that_was_watched_is_0(name: str) -> None:
    made = store()
    made.open_queue(POOL, 0.0)
    assert value(made, name, LATER) == 0.0
    assert value(made, name, LATER, "m") == 0.0
    assert not len(pod_readings(BY_NAME[name], view(made), LATER)), "no pod has a part of it"


@pytest.mark.parametrize("name", ["queue_wait_p90_seconds", "queue_refusals_per_second"])
def test_silence_is_not_0_before_a_window_was_watched(name: str) -> None:
    made = store()
    made.open_queue(POOL, 0.0)
    assert value(made, name, 20.0) is None
    assert value(made, "queued_requests", 20.0) == 0.0


def test_what_waits_is_told_of_the_pool_and_of_each_model() -> None:
    made = store()
    book = made.open_queue(POOL, 0.0)
    for model, tokens in (("a", 100.0), ("a", 50.0), ("b", 7.0)):
        book.came(book.place(model, tokens, 1.0))
    assert value(made, "queued_requests", 11.0) == 3
    assert value(made, "queued_tokens", 11.0) == 157
    assert value(made, "queued_requests", 11.0, "a") == 2
    assert value(made, "queued_tokens", 11.0, "b") == 7
    assert value(made, "queue_wait_p90_seconds", 11.0) == pytest.approx(10.0, abs=0.13)
    assert set(models(BY_NAME["queued_requests"], view(made))) == {"a", "b"}


def test_refusals_are_a_rate() -> None:
    made = store()
    book = made.open_queue(POOL, 0.0)
    for at in range(3):
        book.turned_off(book.place("a", 1.0, LATER + at))
    assert value(made, "queue_refusals_per_second", LATER + 5) == pytest.approx(0.1)
    assert value(made, "queue_refusals_per_second", LATER + 5, "b") == 0.0
    assert value(made, "queue_refusals_per_second", LATER + 50) == 0.0


def test_outstanding_requests_are_in_flight_or_wait() -> None:
    made = store()
    made.charge(POOL, 0, "a", 10, 1.0)
    assert value(made, "outstanding_requests", 1.0) == 1, "where none waits, those in flight are all"
    book = made.open_queue(POOL, 1.0)
    place = book.place("a", 1.0, 1.0)
    book.came(place)
    assert value(made, "outstanding_requests", 1.0) == value(made, "outstanding_requests", 1.0, "a") == 2
    book.left(place, 2.0)
    assert value(made, "outstanding_requests", 2.0) == 1
    assert value(made, "outstanding_requests", 2.0, "b") == 0


def test_requests_that_wait_for_the_first_endpoint_call_for_it_as_long_as_they_do() -> None:
    made = store(Phase.STARTING)
    book = made.open_queue(POOL, 0.0)
    made.turn_away(POOL, 1.0)
    book.came(book.place("a", 1.0, 1.0))
    assert value(made, "requests_without_endpoint", 1.0) == 1
    assert value(made, "requests_without_endpoint", 50.0) == 1, "its window is over, and it waits"
    made.sync(DiscoveryState((endpoint(0),), (Pool(POOL, {}),)))
    assert value(made, "requests_without_endpoint", 50.0) == 0
    assert value(made, "queued_requests", 50.0) == 1, "the queue is the pool's, whatever endpoints it has"


def test_to_what_waits_in_the_engines_of_a_pool_belongs_what_the_picker_holds_back() -> None:
    made = store()
    sample = engine_sample(2.0, 1.0, 0.0)
    made.record_scrape(view(made).endpoints[0].key, sample, 9.0)
    assert value(made, "waiting_requests", 10.0) == 2.0
    book = made.open_queue(POOL, 0.0)
    for _ in range(3):
        book.came(book.place("m", 100.0, 9.5))
    assert value(made, "waiting_requests", 10.0) == 5.0
    of_pods = pod_readings(BY_NAME["waiting_requests"], view(made), 10.0)
    assert of_pods.values.tolist() == [2.0], "no pod has a part of it"
    members = np.ones(1, dtype=np.bool_)
    of_service = group_reading(BY_NAME["waiting_requests"], view(made), 10.0, None, members)
    assert not isinstance(of_service, Unknown)
    assert of_service.value == 2.0
