"""Endpoints made for a range of prompt lengths."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.scheduling.context_length import CONTEXT_LENGTH_LABEL, ContextLength
from picker.scheduling.plugin import RequestFacts
from tests.fakes.pools import NO_HEADERS, FakePool, context


def pool_of(*ranges: str | None) -> FakePool:
    labels = [{} if each is None else {CONTEXT_LENGTH_LABEL: each} for each in ranges]
    return FakePool(len(ranges), labels=labels)


def facts(tokens: float) -> RequestFacts:
    return RequestFacts("m", NO_HEADERS, tokens, 0.0)


def scores(pool: FakePool, tokens: float) -> list[float]:
    return ContextLength().score(context(pool, facts=facts(tokens)), pool.rows).tolist()


@pytest.mark.parametrize(
    ("tokens", "rows"), [(2048, [0, 1, 2]), (2049, [1, 2]), (0, [0, 2]), (9000, [2])], ids=["edge", "above", "0", "far"]
)
def test_ranges_that_do_not_hold_the_prompt_are_dropped(tokens: float, rows: list[int]) -> None:
    pool = pool_of("0-2048", "2048-8192", None, "8192-0", "long")
    assert ContextLength(filtering=True).keep(context(pool, facts=facts(tokens)), pool.rows).tolist() == rows
    assert ContextLength().keep(context(pool, facts=facts(tokens)), pool.rows).tolist() == [0, 1, 2, 3, 4]


def test_narrow_ranges_with_room_score_best() -> None:
    """0–10000 at 5000: 0.7 / 2 + 0.3 / 2 = 0.5; 0–5000 at its end: 0.7 / 1.5 = 0.4667; one length fits exactly: 1."""
    found = scores(pool_of("0-10000", "0-5000", "5000-5000"), 5000)
    assert found == pytest.approx([0.3 + 0.7 * 0.5, 0.3 + 0.7 * 0.7 / 1.5, 1.0])


def test_outside_its_range_an_endpoint_scores_by_distance() -> None:
    assert scores(pool_of("0-4000", "6000-8000", "0-1000"), 5000) == pytest.approx([0.15, 0.15, 0.06])


def test_without_a_label_the_score_is_neutral_and_a_broken_label_scores_nothing() -> None:
    assert scores(pool_of(None, "9-1", "", "1-x"), 5) == [0.5, 0.0, 0.0, 0.0]


bounds = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(sorted)


@settings(max_examples=80, deadline=None)
@given(st.lists(bounds, min_size=1, max_size=6), st.integers(0, 10**6))
def test_a_range_that_holds_the_prompt_always_beats_one_that_does_not(ranges: list[list[int]], tokens: int) -> None:
    found = scores(pool_of(*[f"{low}-{high}" for low, high in ranges]), tokens)
    assert all(0.0 <= score <= 1.0 for score in found)
    inside = [score for score, (low, high) in zip(found, ranges, strict=True) if low <= tokens <= high]
    outside = [score for score, (low, high) in zip(found, ranges, strict=True) if not low <= tokens <= high]
    assert not inside or not outside or min(inside) > max(outside)
