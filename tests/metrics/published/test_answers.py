"""Published values: unknown is never 0, a lost scrape never scales down, silence is known only when it was watched."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.metrics.published.answers import group_reading, models, pod_readings
from infscale.metrics.published.catalogue import BY_NAME, PUBLISHED
from infscale.metrics.published.gpu_readers import GPU, GPU_STALENESS_SECONDS
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import EngineSample, GpuSample, Histogram, LoraState, ModelLoad, Reading, Statistic
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.metrics.windows.latency_statistics import statistic_of
from tests.fakes.counts import counts_of
from tests.fakes.samples import engine_sample

POOL = Pool(ObjectKey("llm", "chat"), {"app": "vllm"})
BOUNDS = (0.3, 1.0, 5.0, math.inf)
WINDOW = 30.0


def endpoint(number: int, rank: int = 0, phase: Phase = Phase.READY) -> Endpoint:
    key = EndpointKey("llm", f"vllm-{number}", rank)
    return Endpoint(key, f"10.0.0.{number + 1}", 8000 + rank, {"app": "vllm"}, phase)


def store(*endpoints: Endpoint) -> MetricStore:
    made = MetricStore("s")
    made.sync(DiscoveryState(endpoints, (POOL,)))
    return made


def view(of: MetricStore) -> PoolSnapshot:
    snapshot = of.snapshot(POOL.key)
    assert snapshot is not None
    return snapshot


def sample(waiting: float = 0.0, queue_counts: tuple[float, ...] = (), queue_sum: float = 0.0) -> EngineSample:
    histograms = {("queue_time", "m"): Histogram(BOUNDS, np.array(queue_counts), queue_sum)} if queue_counts else {}
    return engine_sample(waiting, 2.0, 0.5, {"m": ModelLoad(waiting, 2.0)}, counts=counts_of(histograms))  # type: ignore[arg-type]


def read(of: MetricStore, name: str, now: float, model: str | None = None) -> float:
    reading = group_reading(BY_NAME[name], view(of), now, model)
    assert isinstance(reading, Reading), reading
    return reading.value


def reason(of: MetricStore, name: str, now: float, model: str | None = None) -> str:
    reading = group_reading(BY_NAME[name], view(of), now, model)
    assert isinstance(reading, Unknown), reading
    return reading.reason


def test_names_carry_their_units_and_are_unique() -> None:
    assert len(BY_NAME) == len(PUBLISHED)
    for metric in PUBLISHED:
        suffix = {"1/second": "per_second"}.get(metric.unit, metric.unit)
        assert suffix in metric.name, metric.name


def test_a_group_sums_its_members() -> None:
    made = store(endpoint(0), endpoint(1))
    made.record_scrape(endpoint(0).key, sample(3), at=1.0)
    made.record_scrape(endpoint(1).key, sample(5), at=1.5)
    reading = group_reading(BY_NAME["waiting_requests"], view(made), 2.0)
    assert reading == Reading(8.0, 1.0), "as old as its oldest part"
    assert read(made, "waiting_requests", 2.0, "m") == 8.0
    assert read(made, "kv_cache_utilization_ratio", 2.0) == 0.5
    assert read(made, "saturation_ratio", 2.0) == pytest.approx(0.8125)


def test_a_member_that_went_stale_counts_as_the_highest_fresh_one() -> None:
    made = store(endpoint(0), endpoint(1), endpoint(2))
    for number, waiting in enumerate((9, 4, 1)):
        made.record_scrape(endpoint(number).key, sample(waiting), at=1.0)
    for number, waiting in enumerate((4, 1), start=1):
        made.record_scrape(endpoint(number).key, sample(waiting), at=9.0)
    assert read(made, "waiting_requests", 10.0) == 4 + 1 + 4
    assert read(made, "kv_cache_utilization_ratio", 10.0) == 0.5


def test_below_half_coverage_a_group_is_unknown_with_age_and_cause() -> None:
    made = store(endpoint(0), endpoint(1), endpoint(2))
    for number in range(3):
        made.record_scrape(endpoint(number).key, sample(1), at=1.0)
    made.record_scrape(endpoint(0).key, sample(1), at=9.0)
    made.record_failure(endpoint(1).key, "connection refused", at=9.0)
    said = reason(made, "waiting_requests", 10.0)
    assert "only 1 of 3 ready endpoints of llm/chat" in said
    assert "9.0 s old" in said
    assert "connection refused" in said


def test_until_every_ready_member_was_scraped_or_failed_once_a_group_is_unknown() -> None:
    made = store(endpoint(0), endpoint(1), endpoint(2))
    made.record_scrape(endpoint(0).key, sample(1), at=1.0)
    made.record_scrape(endpoint(1).key, sample(1), at=1.0)
    assert "not scraped yet" in reason(made, "waiting_requests", 1.0)
    made.record_failure(endpoint(2).key, "timed out", at=1.0)
    assert read(made, "waiting_requests", 1.0) == 3


def test_a_group_without_a_ready_member_is_unknown_but_in_flight_is_known() -> None:
    made = store(endpoint(0, phase=Phase.STARTING))
    assert "no ready endpoint" in reason(made, "waiting_requests", 0.0)
    assert read(made, "in_flight_requests", 0.0) == 0


def test_in_flight_is_known_per_model_and_always_fresh() -> None:
    made = store(endpoint(0), endpoint(1))
    made.charge(POOL.key, 0, "m", 10, 0.0)
    made.charge(POOL.key, 1, "lora-a", 7, 0.0)
    assert read(made, "in_flight_requests", 99.0) == 2
    assert read(made, "in_flight_tokens", 99.0, "lora-a") == 7
    assert read(made, "in_flight_tokens", 99.0, "other") == 0
    only = np.array([True, False])
    assert group_reading(BY_NAME["in_flight_tokens"], view(made), 99.0, None, only) == Reading(10.0, 99.0)
    assert group_reading(BY_NAME["in_flight_tokens"], view(made), 99.0, "m", only) == Reading(10.0, 99.0)
    assert group_reading(BY_NAME["in_flight_tokens"], view(made), 99.0, "lora-a", only) == Reading(0.0, 99.0)
    pods = pod_readings(BY_NAME["in_flight_tokens"], view(made), 99.0, "lora-a")
    assert [(pod.name, reading.value) for pod, reading in pods] == [("vllm-0", 0.0), ("vllm-1", 7.0)]


def test_pods_leave_out_what_is_stale_starting_or_unknown() -> None:
    made = store(endpoint(0), endpoint(1), endpoint(2, phase=Phase.STARTING), endpoint(3))
    made.record_scrape(endpoint(0).key, sample(3), at=5.0)
    made.record_scrape(endpoint(1).key, sample(4), at=1.0)
    made.record_scrape(endpoint(2).key, sample(5), at=5.0)
    made.record_scrape(endpoint(3).key, engine_sample(None, None, 0.5), at=5.0)
    readings = pod_readings(BY_NAME["waiting_requests"], view(made), 5.5)
    assert [(pod.name, reading.value) for pod, reading in readings] == [("vllm-0", 3.0)]


def test_ranks_of_one_pod_are_one_item_and_one_stale_rank_hides_it() -> None:
    made = store(endpoint(0), endpoint(0, rank=1), endpoint(1), endpoint(1, rank=1))
    for rank in (0, 1):
        made.record_scrape(endpoint(0, rank).key, sample(3), at=5.0 + rank / 10)
    made.record_scrape(endpoint(1).key, sample(3), at=5.0)
    readings = pod_readings(BY_NAME["waiting_requests"], view(made), 6.0)
    assert [(pod.name, reading) for pod, reading in readings] == [("vllm-0", Reading(6.0, 5.0))]


def watched(made: MetricStore, until: float, waiting: float = 0.0) -> None:
    """Scrape endpoint 0 every second with an empty queue-time histogram."""
    at = 0.0
    while at <= until:
        made.record_scrape(endpoint(0).key, sample(waiting, (0.0, 0.0, 0.0, 0.0)), at=at)
        at += 1.0


def test_silence_is_zero_only_in_a_fully_covered_window() -> None:
    made = store(endpoint(0))
    watched(made, until=10.0)
    assert "nothing of it was observed" in reason(made, "queue_latency_p90_seconds", 10.0)
    watched(made, until=WINDOW + 1)
    assert read(made, "queue_latency_p90_seconds", WINDOW + 1) == 0.0


def test_a_queue_nobody_leaves_is_as_late_as_it_is_old() -> None:
    made = store(endpoint(0))
    watched(made, until=3.0)
    for at in (4.0, 5.0, 6.0):
        made.record_scrape(endpoint(0).key, sample(7, (0.0, 0.0, 0.0, 0.0)), at=at)
    assert read(made, "queue_latency_p50_seconds", 6.5) == pytest.approx(2.5)
    assert read(made, "queue_latency_p50_seconds", 6.5, "m") == pytest.approx(2.5)


def test_queue_latency_is_the_larger_of_past_waits_and_the_present_queue() -> None:
    made = store(endpoint(0))
    made.record_scrape(endpoint(0).key, sample(0, (0.0, 0.0, 0.0, 0.0)), at=0.0)
    made.record_scrape(endpoint(0).key, sample(0, (0.0, 10.0, 10.0, 10.0), queue_sum=8.0), at=10.0)
    past = read(made, "queue_latency_p50_seconds", 10.0)
    assert past == pytest.approx(0.65)
    made.record_scrape(endpoint(0).key, sample(20, (0.0, 10.0, 10.0, 10.0), queue_sum=8.0), at=10.5)
    assert read(made, "queue_latency_p50_seconds", 10.5) == pytest.approx(20 / (10 / 10.5))


def test_rates_of_leaving_are_added_over_endpoints_seen_for_different_times() -> None:
    made = store(endpoint(0), endpoint(1), endpoint(2))
    for number, since in enumerate((0.0, 25.0)):
        made.record_scrape(endpoint(number).key, sample(0, (0.0, 0.0, 0.0, 0.0)), at=since)
        left = 10 * (30.0 - since)
        made.record_scrape(endpoint(number).key, sample(30, (left,) * 4, queue_sum=1.0), at=30.0)
    for finished, at in ((0.0, 20.0), (50.0, 30.0)):
        load = {"m": ModelLoad(30.0, 2.0)}
        engine = engine_sample(30.0, 2.0, 0.5, load, counts=counts_of(counters={("requests_finished", "m"): finished}))
        made.record_scrape(endpoint(2).key, engine, at=at)
    assert read(made, "queue_latency_p50_seconds", 30.0) == pytest.approx(90 / (10 + 10 + 5))
    assert read(made, "queue_latency_p50_seconds", 30.0, "m") == pytest.approx(90 / (10 + 10 + 5))


def test_waits_far_below_the_first_bucket_are_not_reported_as_its_width() -> None:
    waits_of_a_millisecond = Histogram(BOUNDS, np.array([100.0, 100.0, 100.0, 100.0]), 0.1)
    assert statistic_of(waits_of_a_millisecond, "p90") == pytest.approx(0.01)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99]))
def test_the_bound_is_above_every_true_quantile(waits: list[float], q: float) -> None:
    counts = np.array([float(sum(wait <= bound for wait in waits)) for bound in BOUNDS])
    statistic: Statistic = {0.5: "p50", 0.9: "p90", 0.99: "p99"}[q]  # type: ignore[assignment]
    interpolated, value = (statistic_of(Histogram(BOUNDS, counts, each), statistic) for each in (1e9, sum(waits)))
    below = sorted(waits)[math.ceil(q * len(waits)) - 1]
    assert value == interpolated or value >= below * (1 - 1e-9)


def test_means_are_exact_sums_over_counts() -> None:
    made = store(endpoint(0), endpoint(1))
    for number, (count, total) in enumerate(((10.0, 8.0), (30.0, 4.0))):
        for at, share in ((0.0, 0.0), (10.0, 1.0)):
            histogram = Histogram(BOUNDS, np.full(4, count * share), total * share)
            histograms = {("time_to_first_token", "m"): histogram, ("queue_time", "m"): histogram}
            engine = engine_sample(0.0, 2.0, 0.5, {"m": ModelLoad(0.0, 2.0)}, counts=counts_of(histograms))  # type: ignore[arg-type]
            made.record_scrape(endpoint(number).key, engine, at=at)
    for name in ("time_to_first_token_mean_seconds", "queue_latency_mean_seconds"):
        assert read(made, name, 10.0) == read(made, name, 10.0, "m") == pytest.approx(12 / 40)
        pods = pod_readings(BY_NAME[name], view(made), 10.0)
        assert [reading.value for _, reading in pods] == pytest.approx([0.8, 4 / 30])


def test_the_mean_wait_is_the_present_queue_where_that_is_longer_and_zero_in_silence() -> None:
    made = store(endpoint(0))
    watched(made, until=WINDOW + 1)
    assert read(made, "queue_latency_mean_seconds", WINDOW + 1) == 0.0
    made.record_scrape(endpoint(0).key, sample(20, (10.0, 10.0, 10.0, 10.0), queue_sum=1.0), at=WINDOW + 2)
    leaving = 10 / 30
    assert read(made, "queue_latency_mean_seconds", WINDOW + 2) == pytest.approx(20 / leaving)


def test_a_mean_without_published_sums_is_unknown_and_a_quantile_is_not() -> None:
    made = store(endpoint(0))
    for at, count in ((0.0, 0.0), (10.0, 10.0)):
        made.record_scrape(endpoint(0).key, sample(0, (count,) * 4, queue_sum=math.nan), at=at)
    assert read(made, "queue_latency_p50_seconds", 10.0) == pytest.approx(0.15)
    assert "observed" in reason(made, "queue_latency_mean_seconds", 10.0)


def ttft(count: float, seconds_each: float) -> EngineSample:
    """An engine that has answered `count` requests, all in one bucket."""
    counts = np.array([count if seconds_each <= bound else 0.0 for bound in BOUNDS])
    histogram = Histogram(BOUNDS, counts, count * seconds_each)
    counts = counts_of({("time_to_first_token", "m"): histogram})
    return engine_sample(0.0, 2.0, 0.5, {"m": ModelLoad(0.0, 2.0)}, counts=counts)


TTFT = "time_to_first_token_mean_seconds"


def test_a_value_over_a_window_takes_two_scrapes_and_says_what_it_is_made_of() -> None:
    made = store(endpoint(0))
    made.record_scrape(endpoint(0).key, ttft(5, 1.0), at=0.0)
    for name in (TTFT, "requests_finished_per_second", "waiting_requests_average"):
        assert "scraped twice" in reason(made, name, 0.0)
        assert not len(pod_readings(BY_NAME[name], view(made), 0.0))
    made.record_scrape(endpoint(0).key, ttft(7, 1.0), at=4.0)
    assert group_reading(BY_NAME[TTFT], view(made), 4.0) == Reading(1.0, 4.0, 4.0)
    assert pod_readings(BY_NAME[TTFT], view(made), 4.0)[0][1] == Reading(1.0, 4.0, 4.0)
    made.record_scrape(endpoint(0).key, ttft(9, 1.0), at=50.0)
    made.record_scrape(endpoint(0).key, ttft(11, 1.0), at=60.0)
    assert group_reading(BY_NAME[TTFT], view(made), 60.0) == Reading(1.0, 60.0, 10.0), "a gap covers nothing"
    assert group_reading(BY_NAME["waiting_requests"], view(made), 60.0) == Reading(0.0, 60.0, None)


def covered(*members: tuple[float, float, float]) -> MetricStore:
    """Endpoints that were watched for some seconds up to second 30, answering so many requests, so fast."""
    made = store(*(endpoint(number) for number in range(len(members))))
    for number, (seconds, count, each) in enumerate(members):
        if seconds:
            made.record_scrape(endpoint(number).key, ttft(0, each), at=30.0 - seconds)
        made.record_scrape(endpoint(number).key, ttft(count, each), at=30.0)
    return made


def test_a_value_over_a_window_is_as_old_as_the_end_of_its_window() -> None:
    made = store(endpoint(0))
    for at, count in ((0.0, 0), (1.0, 5), (1.1, 6)):
        made.record_scrape(endpoint(0).key, sample(1.0, (count,) * 4, count * 0.1), at)
    window = group_reading(BY_NAME["queue_latency_mean_seconds"], view(made), 1.2)
    moment = group_reading(BY_NAME["waiting_requests"], view(made), 1.2)
    assert isinstance(window, Reading)
    assert isinstance(moment, Reading)
    assert (window.at, moment.at) == (1.0, 1.1)


def test_observations_count_as_they_are_however_much_of_the_window_they_cover() -> None:
    made = covered((30, 30, 0.2), (2, 10, 0.6))
    assert group_reading(BY_NAME[TTFT], view(made), 30.0) == pytest.approx(Reading(0.3, 30.0, 30.0))


def test_a_member_that_was_not_watched_yet_counts_as_the_one_with_the_highest_value() -> None:
    made = covered((30, 30, 0.2), (30, 10, 0.6), (0, 5, 9.0))
    assert read(made, TTFT, 30.0) == pytest.approx((30 * 0.2 + 10 * 0.6 + 10 * 0.6) / 50)


def test_a_member_that_went_stale_counts_in_a_merged_value_as_the_one_with_the_highest() -> None:
    made = covered((25, 30, 0.2), (25, 10, 0.6), (25, 100, 0.1))
    before = read(made, TTFT, 30.0)
    for number, (count, each) in enumerate(((30, 0.2), (10, 0.6))):
        made.record_scrape(endpoint(number).key, ttft(count, each), at=33.0)
    assert read(made, TTFT, 33.0) > before
    assert read(made, TTFT, 33.0) == pytest.approx((30 * 0.2 + 10 * 0.6 + 10 * 0.6) / 50)


def test_when_most_members_were_not_watched_yet_there_is_no_value() -> None:
    made = covered((30, 30, 0.2), (0, 10, 0.6), (0, 5, 9.0))
    assert "only 1 of 3 ready endpoints of llm/chat were scraped twice" in reason(made, TTFT, 30.0)


@given(
    st.lists(st.tuples(st.sampled_from([0, 2, 25]), st.integers(0, 50), st.floats(0.01, 9)), min_size=1, max_size=5),
    st.integers(0, 4),
)
def test_a_lost_member_never_lowers_a_merged_mean_below_that_of_the_others(
    members: list[tuple[float, float, float]], lost: int
) -> None:
    made = covered(*members)
    kept = [number for number in range(len(members)) if number != lost]
    for number in kept:
        _, count, each = members[number]
        made.record_scrape(endpoint(number).key, ttft(count, each), at=33.0)
    reading = group_reading(BY_NAME[TTFT], view(made), 33.0)
    mask = np.array([number in kept for number in range(len(members))])
    others = group_reading(BY_NAME[TTFT], view(made), 33.0, None, mask)
    if isinstance(reading, Reading) and isinstance(others, Reading):
        assert reading.value >= others.value * (1 - 1e-9)


@given(
    st.lists(st.tuples(st.sampled_from([0, 2, 30]), st.integers(0, 50), st.floats(0.01, 9)), min_size=1, max_size=4),
    st.lists(st.integers(0, 9), min_size=4, max_size=4),
    st.sampled_from([None, "m"]),
)
def test_a_pods_value_is_that_of_the_group_it_makes_alone(
    members: list[tuple[float, float, float]], queued: list[int], model: str | None
) -> None:
    made = covered(*members)
    for number, (_, count, each) in enumerate(members):
        engine = ttft(count, each)
        seen = engine.counts.histograms
        histograms = {**seen, ("queue_time", "m"): seen["time_to_first_token", "m"]}
        waiting = float(queued[number])
        models_of = {"m": ModelLoad(waiting, 2.0, 10.0)}
        engine = engine_sample(waiting, 2.0, 0.5, models_of, counts=counts_of(histograms), waiting_tokens=10.0)  # type: ignore[arg-type]
        made.record_scrape(endpoint(number).key, engine, at=31.0)
        made.charge(POOL.key, number, "m", 3, 31.0)
    for metric in PUBLISHED:
        pods = dict(pod_readings(metric, view(made), 32.0, model))
        for number in range(len(members)):
            alone = np.arange(len(members)) == number
            reading = group_reading(metric, view(made), 32.0, model, alone)
            pod = pods.get(endpoint(number).key.pod)
            assert (pod is None) == isinstance(reading, Unknown), metric.name
            if isinstance(reading, Reading) and pod is not None:
                assert pod == pytest.approx(reading), metric.name


def test_how_long_models_took_to_load_is_the_longest_there_is() -> None:
    made = MetricStore("s")
    loads = (60.0, 90.0, None)
    made.sync(DiscoveryState(tuple(replace(endpoint(n), load_seconds=each) for n, each in enumerate(loads)), (POOL,)))
    metric = BY_NAME["model_load_seconds"]
    assert group_reading(metric, view(made), 1e6) == Reading(90.0, 1e6), "never stale, nothing was scraped"
    pods = pod_readings(metric, view(made), 1e6)
    assert [(pod.name, reading.value) for pod, reading in pods] == [("vllm-0", 60.0), ("vllm-1", 90.0)]
    last = np.array([False, False, True])
    unknown = group_reading(metric, view(made), 1e6, None, last)
    assert isinstance(unknown, Unknown)
    assert "discovery does not say it" in unknown.reason


def test_gpu_values_have_their_own_limit_and_their_ratio() -> None:
    made = store(endpoint(0))
    made.record_beside(GPU, endpoint(0).key, GpuSample(60e9, 80e9, 0.9), at=0.0)
    assert read(made, "gpu_memory_used_ratio", GPU_STALENESS_SECONDS) == 0.75
    assert read(made, "gpu_memory_used_bytes", GPU_STALENESS_SECONDS) == 60e9
    said = reason(made, "gpu_utilization_ratio", GPU_STALENESS_SECONDS + 1)
    assert "91.0 s old" in said


def test_a_gpu_without_memory_has_no_ratio() -> None:
    made = store(endpoint(0))
    made.record_beside(GPU, endpoint(0).key, GpuSample(1.0, 0.0, 0.9), at=0.0)
    assert "do not report it" in reason(made, "gpu_memory_used_ratio", 1.0)
    assert not len(pod_readings(BY_NAME["gpu_memory_used_ratio"], view(made), 1.0))


def test_ranks_of_one_pod_share_its_gpus_which_count_once() -> None:
    made = store(endpoint(0), endpoint(0, rank=1), endpoint(1))
    for shared in (endpoint(0), endpoint(0, rank=1), endpoint(1)):
        made.record_beside(GPU, shared.key, GpuSample(60e9, 80e9, 0.9), at=0.0)
    assert read(made, "gpu_memory_used_bytes", 1.0) == 120e9
    readings = pod_readings(BY_NAME["gpu_memory_used_bytes"], view(made), 1.0)
    assert [reading.value for _, reading in readings] == [60e9, 60e9]
    made.record_beside(GPU, endpoint(1).key, GpuSample(20e9, 80e9, 0.3), at=0.0)
    assert read(made, "gpu_memory_used_ratio", 1.0) == pytest.approx((0.75 + 0.25) / 2)
    assert read(made, "gpu_utilization_ratio", 1.0) == pytest.approx((0.9 + 0.3) / 2)
    of_second_rank = group_reading(
        BY_NAME["gpu_memory_used_bytes"], view(made), 1.0, None, np.array([False, True, False])
    )
    assert of_second_rank == Reading(60e9, 0.0)


def test_models_are_those_the_engines_name() -> None:
    made = store(endpoint(0), endpoint(1))
    loaded = engine_sample(0.0, 0.0, 0.0, {"m": ModelLoad(0, 0)}, LoraState(frozenset({"b"}), frozenset({"a"}), 4))
    made.record_scrape(endpoint(0).key, loaded, at=0.0)
    made.charge(POOL.key, 0, "invented-by-a-client", 1, 0.0)
    assert models(BY_NAME["waiting_requests"], view(made)) == ("m",)
    assert models(BY_NAME["in_flight_requests"], view(made)) == ("m", "a", "b")
    assert models(BY_NAME["saturation_ratio"], view(made)) == (None,)


ages = st.one_of(st.none(), st.floats(0, 6))
rows = st.lists(
    st.tuples(ages, st.one_of(st.none(), st.floats(0, 50)), st.one_of(st.none(), st.floats(0, 1)), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(rows)
def test_a_lost_scrape_may_raise_a_sum_but_never_lowers_it(
    members: list[tuple[float | None, float | None, float | None, bool]],
) -> None:
    now = 100.0
    made = store(
        *(endpoint(n, phase=Phase.READY if ready else Phase.DRAINING) for n, (*_, ready) in enumerate(members))
    )
    for number, (age, waiting, kv, _) in enumerate(members):
        if age is None:
            made.record_failure(endpoint(number).key, "timed out", at=now)
        else:
            made.record_scrape(endpoint(number).key, engine_sample(waiting, waiting, kv), at=now - age)
    reading = group_reading(BY_NAME["waiting_requests"], view(made), now)
    fresh = [
        waiting for age, waiting, _, ready in members if ready and age is not None and age <= 2 and waiting is not None
    ]
    ready_members = sum(ready for *_, ready in members)
    if isinstance(reading, Unknown):
        assert 2 * len(fresh) < ready_members or not fresh
    else:
        assert reading.value >= sum(fresh) - 1e-9
        assert reading.value == pytest.approx(sum(fresh) + max(fresh) * (ready_members - len(fresh)))
