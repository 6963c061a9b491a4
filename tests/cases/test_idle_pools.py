"""Windows of idle pools: what is known of a pool that answers no request, however seldom its pages are read."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import SGLANG, TRTLLM_SERVE, VLLM
from infscale.metrics.pages.interpreter import Interpreter
from infscale.metrics.published.answers import group_reading, pod_readings
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import EngineSample
from infscale.metrics.snapshot import PoolSettings, PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore

POOL = Pool(ObjectKey("llm", "chat"), {"app": "vllm"})
QUEUE = "queue_latency_p90_seconds"
LATENCIES = (
    QUEUE,
    "time_to_first_token_p90_seconds",
    "time_to_first_token_mean_seconds",
    "inter_token_latency_p50_seconds",
)
HISTOGRAMS = ("request_queue_time_seconds", "time_to_first_token_seconds", "inter_token_latency_seconds")
PACES = ((3.0, 30.0), (5.0, 30.0), (10.0, 30.0), (15.0, 30.0), (0.25, 6.0), (0.5, 8.0), (1.0, 2.0))
VLLM_PAGES = Interpreter(VLLM)


@cache
def answered(requests: int, waiting: int = 0, running: int = 0) -> EngineSample:
    """A page of a server that has answered so many requests."""
    lines = [f'num_requests_waiting{{model_name="m"}} {waiting}', f'num_requests_running{{model_name="m"}} {running}']
    for name in HISTOGRAMS:
        lines += [f'{name}_bucket{{model_name="m",le="{bound}"}} {requests}' for bound in ("1.0", "+Inf")]
        lines.append(f'{name}_sum{{model_name="m"}} {requests / 2}')
    return VLLM_PAGES.interpret("".join(f"vllm:{line}\n" for line in lines).encode())


class Idle:
    """A pool of some endpoints and what is read of it."""

    def __init__(self, count: int, interval: float = 1.0, window: float = 30.0) -> None:
        self.endpoints = [
            Endpoint(EndpointKey("llm", f"vllm-{n}"), f"10.0.0.{n + 1}", 8000, {"app": "vllm"}) for n in range(count)
        ]
        self.store = MetricStore("s", default_pool=PoolSettings(max(2.0, 2.2 * interval), window))
        self.store.sync(DiscoveryState(tuple(self.endpoints), (POOL,)))

    @property
    def view(self) -> PoolSnapshot:
        snapshot = self.store.snapshot(POOL.key)
        assert snapshot is not None
        return snapshot

    def scrape(self, at: float, sample: EngineSample, *numbers: int) -> None:
        for number in numbers or range(len(self.endpoints)):
            self.store.record_scrape(self.endpoints[number].key, sample, at)

    def read(self, metric: str, now: float, model: str | None = None) -> float | str:
        reading = group_reading(BY_NAME[metric], self.view, now, model)
        return reading.reason if isinstance(reading, Unknown) else reading.value

    def pods(self, metric: str, now: float, model: str | None = None) -> list[float]:
        return [reading.value for _, reading in pod_readings(BY_NAME[metric], self.view, now, model)]


@given(
    pace=st.sampled_from(PACES),
    late=st.lists(st.floats(0.0, 0.25), min_size=5, max_size=5),
    busy=st.integers(0, 6),
    lost=st.one_of(st.none(), st.integers(8, 30)),
    model=st.sampled_from([None, "m"]),
)
@settings(max_examples=60)
def test_an_idle_pool_is_known_once_it_was_watched_for_a_window_and_0_once_one_has_passed(
    pace: tuple[float, float], late: list[float], busy: int, lost: int | None, model: str | None
) -> None:
    """Scrapes come late by up to a quarter of their interval, and one of them is lost."""
    interval, window = pace
    pool = Idle(2, interval, window)
    first = last = 0.0
    for number in range(int(2.5 * window / interval) + busy + 2):
        if number == lost:
            continue
        at = (number + late[number % len(late)]) * interval
        pool.scrape(at, answered(min(number, busy)))
        first = first if number else at
        last = at if number <= busy else last
        for metric in LATENCIES:
            for now in (at, at + 0.74 * interval):
                value = pool.read(metric, now, model)
                if at - first >= window:
                    assert isinstance(value, float), (metric, at)
                if at - last >= window:
                    assert value == 0.0, (metric, at)
                    assert pool.pods(metric, now, model) == [0.0, 0.0]


@pytest.mark.parametrize("metric", LATENCIES)
def test_a_lost_page_stays_unknown(metric: str) -> None:
    pool = Idle(1)
    for second in range(40):
        pool.scrape(float(second), answered(3))
    assert pool.read(metric, 40.0) == 0.0
    for second in range(40, 80):
        pool.store.record_failure(pool.endpoints[0].key, "connection refused", float(second))
    assert "connection refused" in str(pool.read(metric, 80.0))
    assert pool.pods(metric, 80.0) == []


@pytest.mark.parametrize("metric", LATENCIES[1:])
def test_a_lost_page_of_one_server_leaves_a_latency_that_nobody_observes_unknown(metric: str) -> None:
    """That server may have been the one that is busy."""
    pool = Idle(3)
    for second in range(40):
        pool.scrape(float(second), answered(3), 0, 1, *((2,) if second < 30 else ()))
    assert isinstance(pool.read(metric, 40.0), str)
    assert pool.pods(metric, 40.0) == [0.0, 0.0]


@pytest.mark.parametrize(("waiting", "running"), [(1, 0), (0, 1)], ids=["waits", "runs"])
@pytest.mark.parametrize("metric", LATENCIES[1:])
def test_a_latency_is_not_0_while_a_request_has_not_shown_its_own(metric: str, waiting: int, running: int) -> None:
    pool = Idle(1)
    for second in range(40):
        pool.scrape(float(second), answered(3, waiting, running))
    assert "nothing of it was observed" in str(pool.read(metric, 40.0))
    assert pool.pods(metric, 40.0) == []


@pytest.mark.parametrize("metric", LATENCIES)
def test_a_server_that_has_just_come_does_not_make_an_idle_pool_unknown(metric: str) -> None:
    pool = Idle(3)
    for second in range(40):
        pool.scrape(float(second), answered(3), 0, 1)
    pool.store.record_failure(pool.endpoints[2].key, "connection refused", 39.0)
    for second in range(40, 43):
        pool.scrape(float(second), answered(3), 0, 1)
        pool.scrape(float(second), answered(0), 2)
    assert pool.read(metric, 43.0) == 0.0


@pytest.mark.parametrize(
    ("dialect", "waiting", "running"),
    [
        (SGLANG, "sglang:num_queue_reqs", "sglang:num_running_reqs"),
        (TRTLLM_SERVE, "trtllm_num_requests_waiting", "trtllm_num_requests_running"),
    ],
    ids=["sglang", "trtllm-serve"],
)
def test_a_server_that_has_answered_nobody_yet_has_no_histograms_and_is_idle(
    dialect: Dialect, waiting: str, running: str
) -> None:
    page = f'{waiting}{{model_name="m"}} 0\n{running}{{model_name="m"}} 0\n'.encode()
    pool = Idle(1)
    for second in range(40):
        pool.scrape(float(second), Interpreter(dialect).interpret(page))
    assert [pool.read(metric, 40.0) for metric in LATENCIES] == [0.0] * 4


def test_a_latency_that_an_engine_does_not_publish_is_unknown_however_idle_it_is() -> None:
    page = (
        b'vllm:num_requests_waiting{model_name="m"} 0\nvllm:num_requests_running{model_name="m"} 0\n'
        b'vllm:request_queue_time_seconds_bucket{model_name="m",le="+Inf"} 0\n'
    )
    pool = Idle(1)
    for second in range(40):
        pool.scrape(float(second), VLLM_PAGES.interpret(page))
    assert pool.read(QUEUE, 40.0) == 0.0
    assert isinstance(pool.read("time_to_first_token_p90_seconds", 40.0), str)
