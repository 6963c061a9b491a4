"""Scorers beyond the reference: age of metrics, GPU memory, LMETRIC, speed and cost."""

import math

import pytest

from infscale.metrics.snapshot import PoolSettings
from picker.scheduling.plugin import RequestFacts
from picker.scheduling.scorers.condition import GpuMemoryScorer, StalenessDiscountScorer
from picker.scheduling.scorers.price import COST_LABEL, SPEED_LABEL, SpeedAndCostScorer
from picker.scheduling.scorers.tokens import LmetricScorer
from tests.fakes.pools import NO_HEADERS, FakePool, context


def facts(prompt: float, output: float = 0.0) -> RequestFacts:
    return RequestFacts("m", NO_HEADERS, prompt, output)


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


def test_lmetric_multiplies_tokens_to_prefill_with_the_batch() -> None:
    """(100 + 50) · 2 = 300, (0 + 50) · 3 = 150 and, the prompt being cached, (100 + 0) · 1 = 100."""
    pool = FakePool(3, in_flight_tokens=[100, 0, 100], in_flight_requests=[1, 2, 0])
    decision = context(pool, matched=[0, 0, 50], total_tokens=50, facts=facts(50))
    assert LmetricScorer().score(decision, pool.rows).tolist() == pytest.approx([0.0, 0.75, 1.0])


def labelled(*pairs: tuple[str | None, str | None]) -> list[dict[str, str]]:
    return [
        {key: value for key, value in ((SPEED_LABEL, speed), (COST_LABEL, cost)) if value is not None}
        for speed, cost in pairs
    ]


def test_speed_and_cost_blend_time_and_price() -> None:
    """100 tokens of work: 100 s at speed 1, 50 s at 2; a token costs 1 here and 3 / 2 there."""
    pool = FakePool(2, labels=labelled(("1", "1"), ("2", "3")))
    decision = context(pool, facts=facts(60, 40))
    assert SpeedAndCostScorer(0.0).score(decision, pool.rows).tolist() == pytest.approx([0.5, 1.0])
    assert SpeedAndCostScorer(1.0).score(decision, pool.rows).tolist() == pytest.approx([1.0, 2 / 3])
    assert SpeedAndCostScorer(0.5).score(decision, pool.rows).tolist() == pytest.approx([0.75, 5 / 6])


def test_a_fast_endpoint_takes_more_work_before_a_slow_one_gets_any() -> None:
    pool = FakePool(2, in_flight_tokens=[0, 150], labels=labelled(("1", None), ("3", None)))
    slow, fast = SpeedAndCostScorer().score(context(pool, facts=facts(100)), pool.rows).tolist()
    assert fast > slow


def test_an_endpoint_without_labels_is_as_fast_as_the_mean_and_its_load_still_counts() -> None:
    labels = labelled(("1", None), ("3", None), (None, None), ("fast", "-1"))
    pool = FakePool(4, in_flight_tokens=[0, 0, 0, 900], labels=labels)
    found = SpeedAndCostScorer(0.0).score(context(pool, facts=facts(100)), pool.rows).tolist()
    assert found == pytest.approx([1 / 3, 1.0, 2 / 3, 1 / 15])


def test_without_any_label_the_least_work_is_best() -> None:
    pool = FakePool(2, in_flight_tokens=[100, 300])
    assert SpeedAndCostScorer(0.3).score(context(pool, facts=facts(100)), pool.rows).tolist() == pytest.approx(
        [1.0, 0.7 * 0.5 + 0.3]
    )
