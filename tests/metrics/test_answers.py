"""Published values: unknown is never 0, a lost scrape never scales down, silence is known only when it was watched."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.metrics.answers import GPU_STALENESS_SECONDS, group_reading, models, pod_readings
from infscale.metrics.latency import statistic_of
from infscale.metrics.published import BY_NAME, PUBLISHED
from infscale.metrics.sample import EngineSample, GpuSample, Histogram, LoraState, ModelLoad, Reading, Statistic
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store import MetricStore
from infscale.metrics.windowed import Unknown

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
    return EngineSample(waiting, 2.0, 0.5, {"m": ModelLoad(waiting, 2.0)}, histograms=histograms)  # type: ignore[arg-type]


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
    made.record_scrape(endpoint(3).key, EngineSample(None, None, 0.5), at=5.0)
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
        engine = EngineSample(30.0, 2.0, 0.5, load, counters={("requests_finished", "m"): finished})
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


def test_gpu_values_have_their_own_limit_and_their_ratio() -> None:
    made = store(endpoint(0))
    made.record_gpu(endpoint(0).key, GpuSample(60e9, 80e9, 0.9), at=0.0)
    assert read(made, "gpu_memory_used_ratio", GPU_STALENESS_SECONDS) == 0.75
    assert read(made, "gpu_memory_used_bytes", GPU_STALENESS_SECONDS) == 60e9
    said = reason(made, "gpu_utilization_ratio", GPU_STALENESS_SECONDS + 1)
    assert "91.0 s old" in said


def test_a_gpu_without_memory_has_no_ratio() -> None:
    made = store(endpoint(0))
    made.record_gpu(endpoint(0).key, GpuSample(1.0, 0.0, 0.9), at=0.0)
    assert "do not report it" in reason(made, "gpu_memory_used_ratio", 1.0)
    assert pod_readings(BY_NAME["gpu_memory_used_ratio"], view(made), 1.0) == []


def test_ranks_of_one_pod_share_its_gpus_which_count_once() -> None:
    made = store(endpoint(0), endpoint(0, rank=1), endpoint(1))
    for shared in (endpoint(0), endpoint(0, rank=1), endpoint(1)):
        made.record_gpu(shared.key, GpuSample(60e9, 80e9, 0.9), at=0.0)
    assert read(made, "gpu_memory_used_bytes", 1.0) == 120e9
    readings = pod_readings(BY_NAME["gpu_memory_used_bytes"], view(made), 1.0)
    assert [reading.value for _, reading in readings] == [60e9, 60e9]


def test_models_are_those_the_engines_name() -> None:
    made = store(endpoint(0), endpoint(1))
    loaded = EngineSample(0.0, 0.0, 0.0, {"m": ModelLoad(0, 0)}, LoraState(frozenset({"b"}), frozenset({"a"}), 4))
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
            made.record_scrape(endpoint(number).key, EngineSample(waiting, waiting, kv), at=now - age)
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
