"""Turns of the loop: which connection goes first."""

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
