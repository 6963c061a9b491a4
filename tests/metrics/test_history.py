"""A history sums up its window: restarts taken out, changes of what is published noticed."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.history import EndpointHistory
from infscale.metrics.sample import CounterName, EngineSample, Histogram, HistogramName
from infscale.metrics.window import ModelWindow

BOUNDS = (1.0, math.inf)
TTFT: tuple[HistogramName, str] = ("time_to_first_token", "m")
FINISHED: tuple[CounterName, str] = ("requests_finished", "m")


def sample(count: float, waiting: float | None = 0.0, bounds: tuple[float, ...] = BOUNDS) -> EngineSample:
    histogram = Histogram(bounds, np.full(len(bounds), count), count * 0.5)
    return EngineSample(waiting, 1.0, 0.5, histograms={TTFT: histogram}, counters={FINISHED: count})


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
        counts = sample(count).histograms
        history.observe(EngineSample(0.0, 1.0, 0.5, histograms=counts, counters={FINISHED: finished}), at)
    summary = history.summaries()[10.0]
    assert summary.rates[FINISHED] == pytest.approx((10 + 3 + 2) / 3)
    assert summary.histograms[TTFT].total == 30


def test_a_restart_is_seen_although_a_sum_is_not_published() -> None:
    history = EndpointHistory((10.0,))
    for at, count in enumerate((100.0, 110.0, 4.0)):
        histogram = Histogram(BOUNDS, np.full(2, count), math.nan)
        history.observe(EngineSample(0.0, 1.0, 0.5, histograms={TTFT: histogram}), at)
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
    assert summary.models == {None: ModelWindow()}
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


def test_prefill_is_the_time_behind_the_queue_for_each_token_that_was_not_cached() -> None:
    history = EndpointHistory((30.0,))
    for at, requests in ((0.0, 0.0), (10.0, 20.0)):
        counts = np.full(2, requests)
        history.observe(
            EngineSample(
                0.0,
                1.0,
                0.5,
                histograms={
                    ("time_to_first_token", "m"): Histogram(BOUNDS, counts, requests * 0.5),
                    ("queue_time", "m"): Histogram(BOUNDS, counts, requests * 0.1),
                },
                counters={
                    ("prompt_tokens", "m"): requests * 400,
                    ("prefix_queries", "m"): requests * 400,
                    ("prefix_hits", "m"): requests * 300,
                },
            ),
            at,
        )
    models = history.summaries()[30.0].models
    assert models["m"].prefill_seconds_per_token == pytest.approx(0.4 / 100)
    assert models[None].prefill_seconds_per_token == pytest.approx(0.4 / 100)
    assert math.isnan(observed((0, 0), (5, 50)).summaries()[10.0].models["m"].prefill_seconds_per_token)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=60))
def test_growth_is_the_sum_of_steps_whatever_restarts(counts: list[int]) -> None:
    pairs = [(float(at), float(count)) for at, count in enumerate(counts)]
    summary = observed(*pairs, window=100.0).summaries()[100.0]
    expected = sum(after - before if after >= before else after for before, after in itertools.pairwise(counts))
    assert summary.histograms[TTFT].total == expected
