"""The load of requests that may not be shed: what came of late, and what was in flight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.scheduling.costs.protected_load import NO_LOAD, WINDOW_SECONDS, ProtectedBooks


def test_before_the_first_request_there_is_no_load() -> None:
    assert ProtectedBooks().load(5.0) == NO_LOAD


def test_an_even_load_is_found_from_its_first_seconds_on() -> None:
    """Four a second, each of 0.1 s of prefill, in flight for 2 s, with 500 tokens."""
    books = ProtectedBooks()
    for number in range(400):
        now = number * 0.25
        books.ended(number - 8, now)
        books.dispatched(number, 0.1, 500.0, now)
        if now > 10.0:
            load = books.load(now)
            assert load.prefill_share == pytest.approx(0.4, rel=0.05)
            assert load.prefill_seconds == pytest.approx(0.1)
            assert load.requests == pytest.approx(8.0, rel=0.15)
            assert load.context_tokens == pytest.approx(4000.0, rel=0.15)


def test_what_is_over_fades() -> None:
    books = ProtectedBooks()
    for number in range(10):
        books.dispatched(number, 1.0, 100.0, 0.0)
    before = books.load(10.0)
    for number in range(10):
        books.ended(number, 10.0)
    later = books.load(10.0 + 3 * WINDOW_SECONDS)
    assert 0.0 < later.prefill_share < 0.1 * before.prefill_share
    assert later.requests < 0.1 * before.requests
    assert not len(books)


@given(
    events=st.lists(
        st.tuples(st.sampled_from(["dispatch", "end", "move"]), st.integers(0, 5), st.floats(0.0, 5.0)), max_size=40
    )
)
def test_the_books_hold_what_is_in_flight_and_never_a_negative_load(events: list[tuple[str, int, float]]) -> None:
    books, in_flight, now, latest = ProtectedBooks(), set[int](), 0.0, 0
    for kind, number, seconds in events:
        now += seconds
        if kind == "dispatch":
            latest += 1
            books.dispatched(latest, 0.2, 50.0, now)
            in_flight.add(latest)
        elif kind == "end":
            books.ended(number, now)
            in_flight.discard(number)
        elif number in in_flight:
            latest += 1
            books.moved(number, latest)
            in_flight.remove(number)
            in_flight.add(latest)
        assert len(books) == len(in_flight)
        load = books.load(now)
        assert load.prefill_share >= 0.0
        assert -1e-9 <= load.requests <= latest + 1e-9
        assert load.context_tokens == pytest.approx(50.0 * load.requests, abs=1e-6)
