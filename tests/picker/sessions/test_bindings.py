"""Sessions with a name are remembered while they are used, and never more than so many."""

from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import EndpointKey
from picker.sessions.bindings import Bindings

A, B = EndpointKey("ns", "a"), EndpointKey("ns", "b")


def test_a_session_is_where_it_was_last_sent_and_since_when_it_is_there() -> None:
    bound = Bindings(300.0)
    assert bound.get(b"s", 0.0) is None
    bound.bind(b"s", A, 10.0)
    bound.bind(b"s", A, 20.0)
    assert bound.get(b"s", 30.0) == (A, 10.0)
    bound.bind(b"s", B, 40.0)
    assert bound.get(b"s", 50.0) == (B, 40.0)


def test_what_is_not_used_is_forgotten() -> None:
    bound = Bindings(300.0)
    bound.bind(b"s", A, 0.0)
    assert bound.get(b"s", 300.0) == (A, 0.0)
    assert bound.get(b"s", 300.1) is None
    bound.bind(b"t", A, 301.0)
    assert len(bound) == 1


def test_a_session_that_is_over_begins_anew() -> None:
    bound = Bindings(300.0)
    bound.bind(b"s", A, 0.0)
    bound.bind(b"s", A, 1_000.0)
    assert bound.get(b"s", 1_000.0) == (A, 1_000.0)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0.0, 50.0)), max_size=60))
def test_invented_names_take_no_memory_from_what_is_used(asked: list[tuple[int, float]]) -> None:
    """The last `limit` sessions that were used are known, and no others."""
    bound, now, used = Bindings(1e9, limit=5), 0.0, list[int]()
    for name, later in asked:
        now += later
        bound.bind(bytes([name]), A, now)
        used = [*[each for each in used if each != name][-4:], name]
        assert len(bound) <= 5
    assert {name for name in range(21) if bound.get(bytes([name]), now)} == set(used)
