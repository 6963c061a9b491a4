"""Which connections give way, and that counts and bytes return to nothing whatever happens."""

import logging
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.server.connections import CAUSES, Closed, Connection, ConnectionLimits, Connections


class Kept:
    """Connections with a clock of the test's, and the numbers of those that were ended."""

    def __init__(self, **limits: int) -> None:
        self.ended: list[int] = []
        self.closed = Closed()
        self.connections = Connections(ConnectionLimits(**limits), self.closed, lambda: 0.0)
        self._next = 0

    def admit(self, peer: str = "a") -> Connection:
        self._next += 1
        return self.connections.admit(peer, partial(self.ended.append, self._next))


def test_of_too_many_the_oldest_of_the_busiest_address_gives_way() -> None:
    kept = Kept(unproven=4)
    peers = ["api-server", "crowd", "crowd", "other", "crowd", "crowd"]
    for peer in peers:
        kept.admit(peer)
    assert kept.ended == [2, 3]
    assert kept.closed.counts["connection_limit"] == 2


def test_one_that_was_believed_gives_no_way_to_those_that_were_not() -> None:
    kept = Kept(unproven=2, total=4)
    believed = kept.admit()
    kept.connections.prove(believed)
    for _ in range(10):
        kept.admit()
    assert believed.is_open
    assert kept.connections.counts == {"proven": 1, "unproven": 2}


def test_where_all_were_believed_the_oldest_still_gives_way() -> None:
    kept = Kept(unproven=2, total=3)
    for _ in range(4):
        kept.connections.prove(kept.admit())
    assert kept.ended == [1]


def test_what_is_unread_is_bounded_in_all_and_the_largest_gives_way() -> None:
    kept = Kept(all_unread_bytes=1000)
    small, large, last = kept.admit(), kept.admit(), kept.admit()
    kept.connections.received(small, 100)
    kept.connections.received(large, 700)
    kept.connections.received(last, 300)
    assert (small.is_open, large.is_open, last.is_open) == (True, False, True)
    assert kept.connections.unread_bytes == 400


def test_a_cause_is_said_once_in_a_while_with_how_many_there_were(caplog: pytest.LogCaptureFixture) -> None:
    closed = Closed()
    for second in range(0, 121):
        closed.record("idle", float(second))
    said = [record.fields["connections"] for record in caplog.records if record.levelno == logging.WARNING]  # type: ignore[attr-defined]
    assert said == [1, 60, 60]
    assert closed.counts["idle"] == 121
    assert closed.counts.keys() == CAUSES.keys()


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "prove", "received", "complete", "close", "release"]), st.integers(0, 9)),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_the_bounds_hold_and_nothing_is_left(steps: list[tuple[str, int]]) -> None:
    kept = Kept(unproven=3, total=5, all_unread_bytes=100)
    made: list[Connection] = []
    for what, which in steps:
        if what == "admit":
            made.append(kept.admit(str(which % 3)))
        elif made:
            one = made[which % len(made)]
            match what:
                case "received":
                    kept.connections.received(one, 10 * which)
                case "close":
                    kept.connections.close(one, "idle")
                case "prove":
                    kept.connections.prove(one)
                case "complete":
                    kept.connections.complete(one)
                case _:
                    kept.connections.release(one)
        open_ones = [each for each in made if each.is_open]
        counts = kept.connections.counts
        assert counts["unproven"] == sum(not each.is_proven for each in open_ones) <= 3
        assert sum(counts.values()) == len(open_ones) <= 5
        assert kept.connections.unread_bytes == sum(each.unread for each in open_ones) <= 100
    for one in made:
        kept.connections.release(one)
    assert kept.connections.counts == {"proven": 0, "unproven": 0}
    assert kept.connections.unread_bytes == 0
