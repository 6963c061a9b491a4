"""Pickers choose among candidates, and chance follows the scores."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.scheduling.pickers import MaxScorePicker, PowerOfTwoPicker, RandomPicker, WeightedRandomPicker
from picker.scheduling.stages import Picker
from tests.fakes.pools import FakePool, context

DRAWS = 4000


def drawn(picker: Picker, scores: list[float], draws: int = DRAWS) -> Counter[int]:
    pool = FakePool(len(scores))
    decision = context(pool)
    values = np.array(scores)
    return Counter(picker.pick(decision, pool.rows, values)[0] for _ in range(draws))


def test_the_highest_score_wins() -> None:
    assert set(drawn(MaxScorePicker(), [0.2, 0.9, 0.3], 50)) == {1}


def test_ties_are_shared_at_random() -> None:
    counts = drawn(MaxScorePicker(), [1.0, 0.5, 1.0, 1.0])
    assert set(counts) == {0, 2, 3}
    assert all(abs(count / DRAWS - 1 / 3) < 0.04 for count in counts.values())


def test_several_endpoints_come_in_order_of_score() -> None:
    pool = FakePool(4)
    assert MaxScorePicker(3).pick(context(pool), pool.rows, np.array([0.1, 0.4, 0.2, 0.3])) == [1, 3, 2]


def test_weighted_random_follows_the_scores() -> None:
    counts = drawn(WeightedRandomPicker(), [1.0, 2.0, 0.0, 5.0])
    assert counts[2] == 0
    for row, share in ((0, 1 / 8), (1, 2 / 8), (3, 5 / 8)):
        assert abs(counts[row] / DRAWS - share) < 0.04


def test_weighted_random_without_any_score_is_uniform() -> None:
    counts = drawn(WeightedRandomPicker(), [0.0, 0.0, 0.0])
    assert all(abs(counts[row] / DRAWS - 1 / 3) < 0.04 for row in range(3))


def test_random_ignores_scores() -> None:
    counts = drawn(RandomPicker(), [0.0, 9.0])
    assert abs(counts[0] / DRAWS - 0.5) < 0.04


def test_the_better_of_two_is_taken() -> None:
    """Of four the best is drawn in half of the pairs, the next wins 2 of 6 and the third 1 of 6; the last never."""
    counts = drawn(PowerOfTwoPicker(), [0.4, 0.1, 0.3, 0.2])
    for row, share in ((0, 1 / 2), (2, 1 / 3), (3, 1 / 6), (1, 0.0)):
        assert abs(counts[row] / DRAWS - share) < 0.04


def test_fallbacks_of_two_choices_come_after_them() -> None:
    pool = FakePool(4)
    for seed in range(20):
        scores = np.array([0.1, 0.4, 0.2, 0.3])
        first, second, *rest = PowerOfTwoPicker(2, 4).pick(context(pool, seed=seed), pool.rows, scores)
        assert scores[first] > scores[second]
        assert sorted((first, second, *rest)) == [0, 1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=8),
    st.integers(1, 5),
    st.sampled_from([MaxScorePicker, WeightedRandomPicker, RandomPicker, partial(PowerOfTwoPicker, 2)]),
    st.integers(0, 1000),
)
def test_a_picker_returns_distinct_candidates(
    scores: list[float], maximum: int, kind: Callable[[int], Picker], seed: int
) -> None:
    pool = FakePool(len(scores) + 3)
    rows = pool.rows[3:]
    chosen = list(kind(maximum).pick(context(pool, seed=seed), rows, np.array(scores)))
    assert len(chosen) == len(set(chosen)) == min(maximum, len(scores))
    assert set(chosen) <= set(rows.tolist())


@pytest.mark.parametrize(
    "picker", [MaxScorePicker(2), WeightedRandomPicker(2), RandomPicker(2), PowerOfTwoPicker(2, 2)]
)
def test_the_same_seed_gives_the_same_choice(picker: Picker) -> None:
    pool = FakePool(5)
    scores = np.array([1.0, 1.0, 0.5, 1.0, 0.2])
    first, second = (picker.pick(context(pool, seed=7), pool.rows, scores) for _ in range(2))
    assert first == second
