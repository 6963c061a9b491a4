"""Quantiles mean what PromQL means, and histograms add up."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.sample import Histogram
from infscale.metrics.windows import merged_histograms

INF = math.inf


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
    result = merged_histograms.histogram_quantile(q, bounds, counts)
    assert result == pytest.approx(math.nan if expected is None else expected, nan_ok=True)


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=60), st.floats(0.001, 1))
def test_a_quantile_lies_in_the_bucket_that_holds_it(observations: list[float], q: float) -> None:
    bounds = (1.0, 5.0, 10.0, 50.0, 100.0, INF)
    counts = np.array([float(sum(value <= bound for value in observations)) for bound in bounds])
    result = merged_histograms.histogram_quantile(q, bounds, counts.tolist())
    rank = max(1, math.ceil(q * len(observations)))
    exact = sorted(observations)[rank - 1]
    holder = next(i for i, bound in enumerate(bounds) if exact <= bound)
    assert (bounds[holder - 1] if holder else 0.0) <= result <= bounds[holder]


def test_histograms_with_other_bounds_merge_on_those_they_share() -> None:
    one = Histogram((1.0, 2.0, INF), np.array([1.0, 2.0, 3.0]), 4.0)
    other = Histogram((2.0, 4.0, INF), np.array([5.0, 6.0, 7.0]), 8.0)
    merged = merged_histograms.merged([one, other])
    assert merged is not None
    assert merged.bounds == (2.0, INF)
    assert list(merged.counts) == [7.0, 10.0]
    assert merged.sum == 12.0
    assert merged_histograms.merged([]) is None


def test_a_quantile_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match="within 0 to 1"):
        merged_histograms.histogram_quantile(1.5, (1.0, INF), (1.0, 1.0))


def test_a_histogram_without_a_finite_bound_has_no_quantile() -> None:
    assert math.isnan(merged_histograms.histogram_quantile(0.5, (INF,), (1.0,)))
