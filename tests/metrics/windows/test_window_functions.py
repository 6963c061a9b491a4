"""Window functions mean what PromQL means."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.sample import Histogram
from infscale.metrics.windows import window_functions as functions

INF = math.inf


def series(*pairs: tuple[float, float]) -> tuple[functions.FloatArray, functions.FloatArray]:
    times, values = zip(*pairs, strict=True)
    return np.array(times, dtype=np.float64), np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([(0, 0.0), (10, 10.0), (20, 20.0), (30, 30.0)], 1.0, id="steady growth over the whole window"),
        pytest.param([(0, 0.0), (10, 10.0), (20, 3.0), (30, 13.0)], 23 / 30, id="restart counts from zero"),
        pytest.param([(0, 7.0), (10, 7.0), (20, 7.0), (30, 7.0)], 0.0, id="no growth"),
        pytest.param([(10, 10.0), (20, 20.0)], 1.0, id="gaps of one interval are extrapolated to both edges"),
        pytest.param([(14, 100.0), (16, 102.0)], 4 / 30, id="wide gaps are extrapolated by half an interval"),
        pytest.param([(10, 1.0), (20, 101.0)], (100 * (10 + 0.1 + 10) / 10) / 30, id="never below the counter's zero"),
    ],
)
def test_rate_follows_promql(pairs: list[tuple[float, float]], expected: float) -> None:
    assert functions.rate(*series(*pairs), 0, 30) == pytest.approx(expected)


@pytest.mark.parametrize("pairs", [[], [(5.0, 1.0)]], ids=["no sample", "one sample"])
def test_too_few_samples_are_unknown(pairs: list[tuple[float, float]]) -> None:
    times, values = np.array([t for t, _ in pairs]), np.array([v for _, v in pairs])
    assert functions.rate(times, values, 0, 30) is None
    assert functions.increase(times, values, 0, 30) is None
    assert functions.coverage(times, 0, 30) == 0


def test_gauge_functions_look_only_at_the_window() -> None:
    times, values = series((0, 100.0), (10, 2.0), (20, 4.0), (40, 100.0))
    assert functions.avg_over_time(times, values, 5, 30) == 3.0
    assert functions.max_over_time(times, values, 5, 30) == 4.0
    assert functions.avg_over_time(times, values, 41, 50) is None
    assert functions.max_over_time(times, values, 41, 50) is None
    assert functions.coverage(times, 5, 30) == 10.0


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40))
def test_raw_increase_counts_every_fall_as_a_restart_from_zero(samples: list[int]) -> None:
    times = np.arange(float(len(samples)))
    expected = sum(after - before if after >= before else after for before, after in itertools.pairwise(samples))
    both = np.array([[float(value), 2.0 * value] for value in samples])
    grown = functions.raw_increase(times, both, 0, len(samples))
    assert grown is not None
    assert list(grown) == [expected, 2 * expected]


@pytest.mark.parametrize(
    ("q", "bounds", "counts", "expected"),
    [
        pytest.param(0.5, (1.0, 2.0, INF), (10, 20, 20), 1.0, id="on a bucket's edge"),
        pytest.param(0.75, (1.0, 2.0, INF), (10, 20, 20), 1.5, id="linear within the bucket"),
        pytest.param(0.25, (1.0, 2.0, INF), (10, 20, 20), 0.5, id="the first bucket starts at zero"),
        pytest.param(0.99, (1.0, 2.0, INF), (10, 20, 40), 2.0, id="beyond the last finite bound is that bound"),
        pytest.param(0.5, (-1.0, 2.0, INF), (10, 10, 10), -1.0, id="a non-positive first bucket is its bound"),
        pytest.param(0.5, (1.0, 2.0, INF), (0, 0, 0), None, id="nothing observed"),
        pytest.param(1.0, (1.0, 2.0, INF), (5, 10, 10), 2.0, id="the largest"),
    ],
)
def test_histogram_quantile_follows_promql(
    q: float, bounds: tuple[float, ...], counts: tuple[float, ...], expected: float | None
) -> None:
    result = functions.histogram_quantile(q, bounds, counts)
    assert result == pytest.approx(math.nan if expected is None else expected, nan_ok=True)


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60), st.floats(0.001, 1))
def test_a_quantile_lies_in_the_bucket_that_holds_it(observations: list[float], q: float) -> None:
    bounds = (1.0, 5.0, 10.0, 50.0, 100.0, INF)
    counts = np.array([float(sum(value <= bound for value in observations)) for bound in bounds])
    result = functions.histogram_quantile(q, bounds, counts.tolist())
    rank = max(1, math.ceil(q * len(observations)))
    exact = sorted(observations)[rank - 1]
    holder = next(i for i, bound in enumerate(bounds) if exact <= bound)
    assert (bounds[holder - 1] if holder else 0.0) <= result <= bounds[holder]


def test_histograms_with_other_bounds_merge_on_those_they_share() -> None:
    one = Histogram((1.0, 2.0, INF), np.array([1.0, 2.0, 3.0]), 4.0)
    other = Histogram((2.0, 4.0, INF), np.array([5.0, 6.0, 7.0]), 8.0)
    merged = functions.merged([one, other])
    assert merged is not None
    assert merged.bounds == (2.0, INF)
    assert list(merged.counts) == [7.0, 10.0]
    assert merged.sum == 12.0
    assert functions.merged([]) is None


def test_a_quantile_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match="within 0 to 1"):
        functions.histogram_quantile(1.5, (1.0, INF), (1.0, 1.0))


def test_a_histogram_without_a_finite_bound_has_no_quantile() -> None:
    assert math.isnan(functions.histogram_quantile(0.5, (INF,), (1.0,)))
