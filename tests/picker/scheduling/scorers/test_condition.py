"""Scorers of what is known of an endpoint itself: how old that is, and its GPU memory."""

import math

import pytest

from infscale.metrics.snapshot import PoolSettings
from picker.scheduling.scorers.condition import GpuMemoryScorer, StalenessDiscountScorer
from tests.fakes.pools import FakePool, context


@pytest.mark.parametrize(
    ("exponent", "expected"), [(1.0, [1.0, 0.75, 0.0, 0.0, 0.0]), (2.0, [1.0, 0.9375, 0.0, 0.0, 0.0])]
)
def test_the_discount_grows_with_age_up_to_the_pools_limit(exponent: float, expected: list[float]) -> None:
    pool = FakePool(5, observed_at=[10.0, 9.0, 6.0, 1.0, None], settings=PoolSettings(staleness_limit_seconds=4.0))
    assert StalenessDiscountScorer(exponent).score(context(pool, now=10.0), pool.rows).tolist() == expected


def test_free_gpu_memory_is_known_only_while_it_is_fresh() -> None:
    pool = FakePool(
        4, gpu_used=[20, 80, 40, None], gpu_total=[80, 80, 0, 80], gpu_observed_at=[100.0, 9.0, 100.0, 100.0]
    )
    found = GpuMemoryScorer().score(context(pool, now=100.0), pool.rows).tolist()
    assert found == pytest.approx([0.75, math.nan, math.nan, math.nan], nan_ok=True)
    assert GpuMemoryScorer(91.0).score(context(pool, now=100.0), pool.rows[:2]).tolist() == [0.75, 0.0]
