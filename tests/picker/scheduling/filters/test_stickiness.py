"""Sticky until saturated: when a cached prefix decides and when load does."""

import random

import pytest

from picker.epp_config.loader import preset
from picker.scheduling.filters.stickiness import PrefixCacheAffinityFilter
from tests.fakes.pools import FakePool, context


def kept(each: PrefixCacheAffinityFilter, pool: FakePool, matched: list[float], total: float = 100.0) -> list[int]:
    return each.keep(context(pool, matched=matched, total_tokens=total), pool.rows).tolist()


@pytest.mark.parametrize(
    ("matched", "rows"),
    [
        pytest.param([80, 79, 100], [0, 2], id="at the threshold is sticky"),
        pytest.param([79, 0, 50], [0, 1, 2], id="nobody holds enough"),
        pytest.param([90, 90, 90], [0, 1, 2], id="all hold it"),
    ],
)
def test_endpoints_that_hold_the_prompt_stay_alone(matched: list[float], rows: list[int]) -> None:
    assert kept(PrefixCacheAffinityFilter(), FakePool(3), matched) == rows


@pytest.mark.parametrize(("tokens", "rows"), [(18_000, [0]), (18_001, [0, 1, 2])])
def test_stickiness_ends_where_waiting_costs_more_than_the_penalty(tokens: float, rows: list[int]) -> None:
    """18,000 tokens at 1,000 a second are the 18 s that the best of the others may be ahead."""
    each = PrefixCacheAffinityFilter(peak_prefill_throughput=1000.0)
    pool = FakePool(3, in_flight_tokens=[tokens, 50_000, 0])
    assert kept(each, pool, [100, 0, 0]) == rows


def test_the_best_of_each_side_is_compared() -> None:
    each = PrefixCacheAffinityFilter(peak_prefill_throughput=1000.0)
    pool = FakePool(4, in_flight_tokens=[90_000, 20_000, 2_000, 40_000])
    assert kept(each, pool, [100, 100, 0, 0]) == [0, 1]


def test_without_a_penalty_it_always_sticks() -> None:
    each = PrefixCacheAffinityFilter(max_ttft_penalty_seconds=0.0)
    assert kept(each, FakePool(2, in_flight_tokens=[1e9, 0]), [100, 0]) == [0]


def test_a_prompt_shorter_than_a_block_sticks_nowhere() -> None:
    assert kept(PrefixCacheAffinityFilter(), FakePool(2), [0, 0], 0.0) == [0, 1]
    assert kept(PrefixCacheAffinityFilter(affinity_threshold=0.0), FakePool(2), [50, 0]) == [0, 1]


def test_exploration_keeps_all_now_and_then() -> None:
    pool = FakePool(2)
    each = PrefixCacheAffinityFilter(exploration_probability=0.25)
    rng = random.Random(3)
    explored = 0
    for _ in range(2000):
        decision = context(pool, matched=[100, 0], total_tokens=100, seed=rng.getrandbits(32))
        explored += len(each.keep(decision, pool.rows)) == 2
    assert abs(explored / 2000 - 0.25) < 0.04


def test_the_preset_goes_where_the_prefix_is_and_then_where_least_is_in_flight() -> None:
    (profile,) = preset("sticky-until-saturated").scheduler.profiles.values()
    pool = FakePool(4, in_flight_tokens=[9000, 3000, 6000, 0])
    sticky = profile.run(context(pool, matched=[100, 0, 100, 0], total_tokens=100), pool.rows)
    cold = profile.run(context(pool, matched=[0, 0, 0, 0], total_tokens=100), pool.rows)
    assert sticky is not None
    assert cold is not None
    assert (sticky.chosen, cold.chosen) == ((2,), (3,))
