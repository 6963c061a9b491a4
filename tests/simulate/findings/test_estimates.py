"""Student's t by the book, and changes that are the same whichever policy comes first."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.simulate.findings.estimates import Change, Estimate


@pytest.mark.parametrize(
    ("values", "half_width"),
    [
        ([3.0], None),
        ([1.0, 3.0], 12.706 * math.sqrt(2) / math.sqrt(2)),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 2.776 * math.sqrt(2.5) / math.sqrt(5)),
        ([float(each % 2) for each in range(40)], 1.96 * math.sqrt(10 / 39) / math.sqrt(40)),
    ],
    ids=["one", "two", "five", "forty"],
)
def test_a_mean_and_its_interval(values: list[float], half_width: float | None) -> None:
    found = Estimate.of(values)
    assert found.mean == sum(values) / len(values)
    assert found.half_width == (None if half_width is None else pytest.approx(half_width))
    assert found.low <= found.mean <= found.high


POSITIVE = st.floats(1e-3, 1e3)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=8))
def test_a_change_turned_round_is_its_inverse(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = [one for one, _ in pairs], [other for _, other in pairs]
    there, back = Change.of(ours, theirs), Change.of(theirs, ours)
    assert there is not None
    assert back is not None
    assert there.ratio * back.ratio == pytest.approx(1.0)
    if there.low is None or back.high is None:
        assert len(pairs) == 1
    else:
        assert there.low * back.high == pytest.approx(1.0, rel=1e-6)
        assert there.certain == back.certain


def test_a_change_is_certain_where_every_seed_says_about_the_same() -> None:
    change = Change.of([1.0, 2.0, 3.0], [2.0, 4.1, 6.0])
    assert change is not None
    assert change.certain
    assert change.ratio == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("pair", [([], []), ([0.0], [1.0]), ([1.0, 1.0], [1.0, 0.0])])
def test_of_nothing_and_of_zero_no_ratio_is_said(pair: tuple[list[float], list[float]]) -> None:
    assert Change.of(*pair) is None
