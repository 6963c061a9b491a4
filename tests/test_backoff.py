import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.backoff import Backoff


@pytest.mark.parametrize(("attempt", "ceiling"), [(0, 0.5), (1, 1.0), (2, 2.0), (4, 8.0), (5, 10.0), (10**9, 10.0)])
def test_waits_double_up_to_the_cap(attempt: int, ceiling: float) -> None:
    assert Backoff(base_seconds=0.5, factor=2.0, cap_seconds=10.0).ceiling(attempt) == ceiling


def test_a_factor_of_one_waits_alike() -> None:
    assert {Backoff(2.0, 1.0, 60.0).ceiling(attempt) for attempt in range(5)} == {2.0}


@given(st.floats(0.001, 10), st.floats(1, 10), st.floats(1, 100), st.integers(0, 10**6), st.integers(0, 2**32))
def test_a_delay_is_between_half_and_all_of_its_ceiling(
    base: float, factor: float, span: float, attempt: int, seed: int
) -> None:
    backoff = Backoff(base, factor, base * span)
    ceiling = backoff.ceiling(attempt)
    assert ceiling <= backoff.cap_seconds
    assert ceiling <= backoff.ceiling(attempt + 1)
    assert ceiling / 2 <= backoff.delay(attempt, random.Random(seed)) <= ceiling


def test_clients_refused_together_come_back_apart() -> None:
    rng = random.Random(7)
    assert len({Backoff().delay(3, rng) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("base", "factor", "cap"),
    [(0.0, 2.0, 1.0), (2.0, 2.0, 1.0), (1.0, 0.5, 2.0), (1.0, float("nan"), 2.0), (1.0, 2.0, float("inf"))],
)
def test_impossible_settings_are_refused(base: float, factor: float, cap: float) -> None:
    with pytest.raises(ValueError, match="a back-off"):
        Backoff(base, factor, cap)


def test_attempts_are_counted_from_zero() -> None:
    with pytest.raises(ValueError, match="from 0"):
        Backoff().delay(-1, random.Random(0))
