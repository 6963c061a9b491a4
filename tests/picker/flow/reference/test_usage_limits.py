"""Ceilings of bands: the formulas of the reference, and the cases of its own tests."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.flow.policies import Ceilings
from picker.flow.reference.usage_limits import HOLDBACK_DOMAINS, PriorityHoldback, SoftReflective, StaticLimit

PRIORITIES = st.sets(st.integers(-100, 100), max_size=6).map(lambda found: sorted(found, reverse=True))


@pytest.mark.parametrize(
    ("ceilings", "priorities", "expected"),
    [
        (StaticLimit(), [100, 0, -1], [1.0, 1.0, 1.0]),
        (StaticLimit(0.8), [100, 0], [0.8, 0.8]),
        (StaticLimit(), [], []),
        (PriorityHoldback(0.4, 0.9), [100, 50, 0], [0.9, 0.65, 0.4]),
        (PriorityHoldback(0.4, 0.9), [7], [0.9]),
        (PriorityHoldback(0.5), [10, -10], [1.0, 0.5]),
        (PriorityHoldback(0.4, 0.9), [], []),
        (PriorityHoldback(0.0, 1.0, "value"), [100, 75, 0], [1.0, 0.75, 0.0]),
        (PriorityHoldback(0.5, 0.9, "value"), [-3], [0.9]),
        (PriorityHoldback(domain="explicit", ceilings={100: 0.95, 10: 0.3}), [100, 50, 10], [0.95, 0.0, 0.3]),
        (PriorityHoldback(domain="explicit", ceilings={10: 0.3}), [10], [0.3]),
    ],
)
def test_ceilings_that_look_at_priorities_alone(
    ceilings: Ceilings, priorities: Sequence[int], expected: Sequence[float]
) -> None:
    for saturation in (0.0, 0.5, 2.0):
        assert ceilings.limits(saturation, priorities) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("saturation", "priorities", "expected"),
    [
        (0.9, [], []),
        (1.5, [100], [1.0]),
        (0.3, [100, 0, -50], [1.0, 1.0, 1.0]),
        (1.0, [100, 0, -50], [1.0, 0.0, 0.0]),
        (1.5, [100, 0, -50], [1.0, 0.0, 0.0]),
        # Ceilings are 1, 0.77, 0.53 and 0.3: the first turn of two is none of those past theirs.
        (0.7, [100, 50, 0, -50], [1.0, 1.0, 0.0, 0.0]),
    ],
)
def test_reflective_ceilings_fall_with_the_rank(
    saturation: float, priorities: Sequence[int], expected: Sequence[float]
) -> None:
    assert SoftReflective().limits(saturation, priorities) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("saturation", "expected"),
    [
        (0.5, "111111"),
        (0.7, "010101"),
        (0.75, "001001"),
        (0.8, "000100"),
        (0.6, "111111"),
        (0.62, "010101"),
        (0.4, "111111"),
    ],
)
def test_a_band_past_its_ceiling_goes_in_one_of_so_many_turns(saturation: float, expected: str) -> None:
    ceilings = SoftReflective()
    assert "".join(f"{ceilings.limits(saturation, [100, -50])[1]:.0f}" for _ in expected) == expected


def test_all_bands_past_their_ceilings_go_in_the_same_turn_whoever_came_later() -> None:
    ceilings = SoftReflective()
    for _ in range(5):
        ceilings.limits(0.75, [100, -50])
    assert list(ceilings.limits(0.75, [100, 0, -50])) == [1.0, 1.0, 1.0]


def test_turns_in_which_no_band_is_past_its_ceiling_do_not_count() -> None:
    ceilings = SoftReflective()
    ceilings.limits(0.75, [100, -50])
    for saturation in (0.1, 1.0, 0.49):
        ceilings.limits(saturation, [100, -50])
    assert [ceilings.limits(0.75, [100, -50])[1] for _ in range(2)] == [0.0, 1.0]


@given(st.floats(0.0, 3.0), PRIORITIES, st.floats(0.0, 0.9), st.sampled_from(HOLDBACK_DOMAINS[:2]))
def test_a_lower_band_never_has_a_higher_ceiling(
    saturation: float, priorities: Sequence[int], low: float, domain: str
) -> None:
    holdback = PriorityHoldback(low, domain="value" if domain == "value" else "rank")
    for ceilings in (StaticLimit(), holdback, SoftReflective()):
        found = ceilings.limits(saturation, priorities)
        assert len(found) == len(priorities)
        assert all(0.0 <= each <= 1.0 + 1e-9 for each in found)
        assert all(lower <= higher + 1e-9 for higher, lower in pairwise(found))
