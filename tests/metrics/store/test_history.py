"""A history sums up its window: restarts taken out, changes of what is published noticed."""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.sample import CounterName, EngineSample, Histogram, HistogramName
from infscale.metrics.store.history import EndpointHistory
from tests.fakes.counts import counts_of
from tests.fakes.samples import engine_sample

BOUNDS = (1.0, math.inf)
TTFT: tuple[HistogramName, str] = ("time_to_first_token", "m")
FINISHED: tuple[CounterName, str] = ("requests_finished", "m")


def sample(count: float, waiting: float | None = 0.0, bounds: tuple[float, ...] = BOUNDS) -> EngineSample:
    histogram = Histogram(bounds, np.full(len(bounds), count), count * 0.5)
    return engine_sample(waiting, 1.0, 0.5, counts=counts_of({TTFT: histogram}, {FINISHED: count}))


def observed(*pairs: tuple[float, float], window: float = 10.0) -> EndpointHistory:
    history = EndpointHistory((window,))
    for at, count in pairs:
        history.observe(sample(count), at)
    return history


def test_growth_over_the_window_is_taken_from_its_oldest_sample() -> None:
    summary = observed((0, 0), (5, 50), (10, 100), (15, 150)).summaries()[10.0]
    assert summary.covered_seconds == 10
    assert summary.histograms[TTFT].total == 100
    assert summary.histograms[TTFT].sum == 50
    assert summary.rates[FINISHED] == 10


def test_a_restart_counts_from_zero() -> None:
    summary = observed((0, 100), (5, 110), (8, 4), (10, 6)).summaries()[10.0]
    assert summary.histograms[TTFT].total == 16
    assert summary.rates[FINISHED] == pytest.approx(1.6)


def test_a_counter_that_falls_alone_restarts_alone() -> None:
    history = EndpointHistory((10.0,))
    for at, (finished, count) in enumerate([(100, 5000), (110, 5010), (3, 5020), (5, 5030)]):
        histograms = sample(count).counts.histograms
        history.observe(engine_sample(0.0, 1.0, 0.5, counts=counts_of(histograms, {FINISHED: finished})), at)
    summary = history.summaries()[10.0]
    assert summary.rates[FINISHED] == pytest.approx((10 + 3 + 2) / 3)
    assert summary.histograms[TTFT].total == 30


def test_of_two_histograms_only_the_one_that_fell_restarts() -> None:
    queue: tuple[HistogramName, str] = ("queue_time", "m")
    history = EndpointHistory((10.0,))
    for at, (steady, falling, finished) in enumerate([(100, 50, 7), (110, 60, 8), (120, 4, 9)]):
        histograms = {
            TTFT: Histogram(BOUNDS, np.array([steady / 2, steady]), steady * 0.5),
            queue: Histogram(BOUNDS, np.array([falling / 2, falling]), falling * 3.0),
        }
        history.observe(engine_sample(0.0, 1.0, 0.5, counts=counts_of(histograms, {FINISHED: finished})), at)
    summary = history.summaries()[10.0]
    first, second = summary.histograms[TTFT], summary.histograms[queue]
    assert (first.counts.tolist(), first.sum) == ([10, 20], 10)
    assert (second.counts.tolist(), second.sum) == ([7, 14], 42)
    assert summary.rates[FINISHED] == 1


def test_a_restart_is_seen_although_a_sum_is_not_published() -> None:
    history = EndpointHistory((10.0,))
    for at, count in enumerate((100.0, 110.0, 4.0)):
        histogram = Histogram(BOUNDS, np.full(2, count), math.nan)
        history.observe(engine_sample(0.0, 1.0, 0.5, counts=counts_of({TTFT: histogram})), at)
    grown = history.summaries()[10.0].histograms[TTFT]
    assert grown.total == 14
    assert math.isnan(grown.sum)


def test_a_shorter_window_is_summed_up_beside_a_longer_one() -> None:
    history = EndpointHistory((4.0, 20.0))
    for at in range(0, 22, 2):
        history.observe(sample(at if at < 16 else 10 * at, waiting=float(at)), at)
    short, long = history.summaries()[4.0], history.summaries()[20.0]
    assert (short.covered_seconds, long.covered_seconds) == (4, 20)
    assert (short.histograms[TTFT].total, long.histograms[TTFT].total) == (40, 200)
    assert (short.waiting_average, long.waiting_average) == (18, 10)


def test_other_windows_keep_what_they_reach() -> None:
    history = observed(*((float(at), float(at)) for at in range(30)))
    history.look_back((5.0, 60.0))
    summaries = history.summaries()
    assert {window: summary.covered_seconds for window, summary in summaries.items()} == {5.0: 5, 60.0: 10}
    history.observe(sample(35), 31)
    assert history.summaries()[60.0].histograms[TTFT].total == 16


def test_one_sample_says_nothing_about_growth() -> None:
    summary = observed((0, 100)).summaries()[10.0]
    assert summary.covered_seconds == 0
    assert summary.histograms == {}
    assert summary.rates == {}
    assert set(summary.models) == {None}
    assert summary.models[None].waiting_since == math.inf
    assert summary.waiting_average is None


def test_other_buckets_start_over() -> None:
    history = observed((0, 0), (5, 50))
    history.observe(sample(60, bounds=(2.0, math.inf)), 6)
    history.observe(sample(70, bounds=(2.0, math.inf)), 8)
    summary = history.summaries()[10.0]
    assert summary.histograms[TTFT].total == 10
    assert summary.covered_seconds == 2


def test_gauges_are_averaged_until_the_engine_stops_publishing_them() -> None:
    history = EndpointHistory((10.0,))
    for at, waiting in ((0, 4.0), (1, 8.0)):
        history.observe(sample(0, waiting), at)
    assert (history.summaries()[10.0].waiting_average, history.summaries()[10.0].waiting_maximum) == (6.0, 8.0)
    history.observe(sample(0, None), 2)
    assert history.summaries()[10.0].waiting_average is None


def test_scrapes_that_follow_closely_are_summed_up_together_and_the_window_says_where_it_ends() -> None:
    history = observed((0, 0), (1, 10))
    first = history.summaries()[10.0]
    assert (first.at, first.rates[FINISHED]) == (1, 10)
    history.observe(sample(1000), 1.2)
    assert history.summaries()[10.0] is first
    history.observe(sample(26), 1.3)
    last = history.summaries()[10.0]
    assert (last.at, last.rates[FINISHED]) == (1.3, pytest.approx((1000 + 26) / 1.3))


def test_a_queue_that_fills_or_empties_is_seen_at_once() -> None:
    history = observed((0, 0), (1, 10))
    for at, waiting, since in ((1.1, 3.0, 1.1), (1.15, 4.0, 1.1), (1.2, 0.0, math.inf)):
        history.observe(sample(10, waiting), at)
        assert history.summaries()[10.0].models[None].waiting_since == since


@pytest.mark.parametrize(
    ("latencies", "seconds"),
    [
        # 400 tokens a request, three quarters of them cached.
        pytest.param({"prefill_time": 0.3, "queue_time": 9.0}, 0.3 / 100, id="prefill times are published"),
        pytest.param({"queue_time": 0.1}, 0.4 / 100, id="what is left of the first token's time without the queue"),
        pytest.param({}, math.nan, id="queue times are not published either"),
        pytest.param({"queue_time": 0.7}, math.nan, id="longer queued than until the first token"),
    ],
)
def test_prefill_is_the_time_for_each_token_that_was_not_cached(
    latencies: Mapping[HistogramName, float], seconds: float
) -> None:
    history = EndpointHistory((30.0,))
    for at, requests in ((0.0, 0.0), (10.0, 20.0)):
        means: dict[HistogramName, float] = {"time_to_first_token": 0.5, **latencies}
        counts = np.full(2, requests)
        histograms: dict[tuple[HistogramName, str], Histogram] = {
            (name, "m"): Histogram(BOUNDS, counts, requests * mean) for name, mean in means.items()
        }
        counters: dict[tuple[CounterName, str], float] = {
            ("prompt_tokens", "m"): requests * 400,
            ("prefix_queries", "m"): requests * 400,
            ("prefix_hits", "m"): requests * 300,
        }
        history.observe(engine_sample(0.0, 1.0, 0.5, counts=counts_of(histograms, counters)), at)
    for model in ("m", None):
        found = history.summaries()[30.0].models[model].prefill_seconds_per_token
        assert found == pytest.approx(seconds, nan_ok=True)


def test_who_finishes_is_not_known_where_nothing_says_so() -> None:
    history = EndpointHistory((10.0,))
    for at in (0.0, 1.0):
        history.observe(engine_sample(3.0, 1.0, 0.5), at)
    assert math.isnan(history.summaries()[10.0].models[None].leaving)
    assert math.isnan(observed((0, 5)).summaries()[10.0].models[None].leaving)
    assert observed((0, 5), (1, 5)).summaries()[10.0].models[None].leaving == 0


def test_queues_that_flicker_do_not_have_the_window_summed_up() -> None:
    history = observed((0, 0), (1, 10))
    first = history.summaries()[10.0]
    for number, at in enumerate((1.05, 1.1, 1.15)):
        history.observe(sample(10, float(number % 2 == 0)), at)
        summary = history.summaries()[10.0]
        assert summary.histograms is first.histograms
        assert (summary.at, summary.models["m"].leaving) == (1, first.models["m"].leaving)
        assert summary.models[None].waiting_since == (at if number % 2 == 0 else math.inf)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=60))
def test_growth_is_the_sum_of_steps_whatever_restarts(counts: list[int]) -> None:
    pairs = [(float(at), float(count)) for at, count in enumerate(counts)]
    summary = observed(*pairs, window=100.0).summaries()[100.0]
    expected = sum(after - before if after >= before else after for before, after in itertools.pairwise(counts))
    assert summary.histograms[TTFT].total == expected
