"""Readings as columns are the readings they were made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import ObjectKey
from infscale.metrics.published.readings import Readings
from infscale.metrics.sample import Reading

_NUMBERS = st.floats(0, 1e9)
_KEYS = st.sampled_from("abc").map(lambda name: ObjectKey("ns", name))


def _pairs(windows: st.SearchStrategy[float | None]) -> st.SearchStrategy[list[tuple[ObjectKey, Reading]]]:
    return st.lists(st.tuples(_KEYS, st.builds(Reading, _NUMBERS, _NUMBERS, windows)), max_size=6)


@given(st.one_of(_pairs(st.none()), _pairs(_NUMBERS)))
def test_what_goes_in_comes_out(pairs: list[tuple[ObjectKey, Reading]]) -> None:
    readings = Readings.of(pairs)
    assert list(readings) == pairs
    assert readings[:2] == pairs[:2]
    assert Readings.of(readings) is readings


@given(st.lists(_pairs(_NUMBERS), min_size=1, max_size=3))
def test_several_joined_are_all_of_them_in_order(parts: list[list[tuple[ObjectKey, Reading]]]) -> None:
    joined = Readings.joined([Readings.of(each) for each in parts if each] or [Readings.of([])])
    pairs = [pair for part in parts for pair in part]
    assert list(joined) == pairs
    windows = [each.window_seconds for _, each in pairs if each.window_seconds is not None]
    assert joined.window_seconds == (max(windows) if pairs else None)


@pytest.mark.parametrize(("windows", "expected"), [((None, None), None), ((60.0, None), 60.0)])
def test_where_some_have_a_window_it_is_the_longest(windows: tuple[float | None, ...], expected: float | None) -> None:
    pairs = [(ObjectKey("ns", "a"), Reading(1.0, 0.0, each)) for each in windows]
    assert Readings.of(pairs).window_seconds == expected
