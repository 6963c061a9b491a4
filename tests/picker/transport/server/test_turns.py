"""Turns of the loop, and places among connections: pure decisions about which goes first and which goes."""

from picker.transport.server.places import MOST_NEW, Places
from picker.transport.server.turns import SLICE_UNITS, TURN_UNITS, Turns


def test_a_turn_ends_and_those_that_wait_go_on_in_the_next() -> None:
    turns: Turns[str] = Turns()
    turns.begin(0.0)
    turns.did("flood", TURN_UNITS)
    assert not turns.left
    turns.wait("flood")
    assert turns.next() is None
    turns.begin(0.001)
    assert turns.next() == "flood"
    assert not turns.waiting


def test_the_one_that_did_least_of_late_goes_first() -> None:
    turns: Turns[str] = Turns()
    turns.begin(0.0)
    for worker, units in (("flood", 10 * SLICE_UNITS), ("busy", 2 * SLICE_UNITS), ("quiet", 1)):
        turns.wait(worker)
        turns.did(worker, units)
    turns.begin(0.01)
    assert [turns.next(), turns.next(), turns.next()] == ["quiet", "busy", "flood"]


def test_what_was_done_long_ago_does_not_count() -> None:
    turns: Turns[str] = Turns()
    turns.begin(0.0)
    turns.did("flood", 10 * SLICE_UNITS)
    turns.begin(5.0)
    turns.wait("flood")
    turns.wait("other")
    assert turns.next() == "flood"


def test_one_that_is_gone_has_no_turn() -> None:
    turns: Turns[str] = Turns()
    turns.wait("gone")
    turns.forget("gone")
    assert turns.next() is None


def places(most: int = 4, of_peer: int = 3, busy: frozenset[str] = frozenset()) -> Places[str]:
    return Places(most, of_peer, lambda each: None if each in busy else float(each[1:]))


def test_of_new_connections_the_eldest_goes_for_one_that_comes() -> None:
    made = places(most=1_000, of_peer=1_000)
    for number in range(MOST_NEW):
        assert made.crowded("peer") is None
        made.enter("peer", f"c{number}")
    assert made.crowded("gateway") == "new_connections"
    assert made.dispensable("gateway", "new_connections") == "c0"
    made.prove("c0")
    assert made.crowded("gateway") is None


def test_of_a_peer_with_too_many_the_longest_idle_goes_and_busy_ones_stay() -> None:
    made = places(busy=frozenset({"c1"}))
    for name in ("c1", "c3", "c2"):
        made.enter("peer", name)
        made.prove(name)
    assert made.crowded("other") is None
    assert made.crowded("peer") == "peer_connections"
    assert made.dispensable("peer", "peer_connections") == "c2"


def test_where_all_places_are_taken_the_peer_that_has_most_gives_one_up() -> None:
    made = places()
    for peer, name in (("few", "c1"), ("many", "c5"), ("many", "c4"), ("many", "c6")):
        made.enter(peer, name)
        made.prove(name)
    assert made.crowded("few") == "connections"
    assert made.dispensable("few", "connections") == "c4"


def test_where_none_is_idle_none_goes() -> None:
    made = places(of_peer=1, busy=frozenset({"c1"}))
    made.enter("peer", "c1")
    made.prove("c1")
    assert made.dispensable("peer", "peer_connections") is None
    made.leave("peer", "c1")
    made.leave("peer", "c1")
    assert made.crowded("peer") is None
