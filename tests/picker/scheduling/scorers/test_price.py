"""Speed and cost of endpoints."""

import pytest

from picker.scheduling.scorers.price import COST_LABEL, SPEED_LABEL, SpeedAndCostScorer
from tests.fakes.pools import FakePool, context
from tests.picker.scheduling.scorers.scoring import facts


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
