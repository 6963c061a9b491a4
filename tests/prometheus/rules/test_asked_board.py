"""What is asked is kept up while it is asked, in turns, and within bounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.sample import Reading
from infscale.prometheus.rules import asked_board
from infscale.prometheus.rules.asked_board import Asked, AskedBoard, BoardPace, Evaluated
from infscale.prometheus.rules.object_kinds import POD

PACE = BoardPace(interval_seconds=10.0, kept_seconds=60.0)


def question(name: str = "queue") -> Asked:
    return Asked(name, POD, "llm")


def test_a_new_question_is_due_at_once_and_again_after_the_interval() -> None:
    board = AskedBoard(PACE)
    assert board.ask(question(), 0.0) == (None, True)
    assert board.ask(question(), 0.0) == (None, False)
    assert board.take(0.0) == question()
    assert board.take(0.0) is None, "it is under way"
    board.record(question(), Evaluated(1.0, {"a": Reading(2.0, 1.0)}))
    assert board.take(10.9) is None
    assert board.next_due() == 11.0
    assert board.take(11.0) == question()


def test_a_failure_leaves_the_readings_to_grow_old() -> None:
    board = AskedBoard(PACE)
    board.ask(question(), 0.0)
    board.record(question(), Evaluated(1.0, {"a": Reading(2.0, 1.0)}))
    board.record(question(), Evaluated(12.0, cause="gone"))
    known, _ = board.ask(question(), 12.0)
    assert known is not None
    assert (known.objects, known.cause, known.at, known.number) == ({"a": Reading(2.0, 1.0)}, "gone", 12.0, 1)
    board.record(question(), Evaluated(22.0, {"a": Reading(3.0, 22.0)}))
    known, _ = board.ask(question(), 22.0)
    assert known is not None
    assert known.cause is None
    assert known.number == 3


def test_what_nothing_asks_for_any_more_is_taken_off() -> None:
    board = AskedBoard(PACE)
    board.ask(question("old"), 0.0)
    board.ask(question("new"), 50.0)
    assert board.take(61.0) == question("new")
    assert len(board) == 1
    board.record(question("old"), Evaluated(61.0))
    assert board.entries() == {question("new"): None}


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_board, "MAX_ASKED", 3)
    board = AskedBoard(PACE)
    told = [board.ask(question(str(number)), 0.0) for number in range(5)]
    assert [is_news for _, is_news in told] == [True, True, True, False, False]
    assert "all there is room for" in str(told[-1][0])
    assert (len(board), board.refused) == (3, 2)
    assert board.ask(question("later"), 100.0) == (None, True)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0.0, 5.0), st.booleans()), max_size=40))
def test_of_all_that_is_due_the_most_overdue_is_taken(steps: list[tuple[str, float, bool]]) -> None:
    board, now = AskedBoard(PACE), 0.0
    due: dict[str, float] = {}
    for name, wait, evaluates in steps:
        now += wait
        board.ask(question(name), now)
        due.setdefault(name, -math.inf)
        taken = board.take(now) if evaluates else None
        if taken is not None:
            assert due[taken.metric] == min(due.values())
            board.record(taken, Evaluated(now))
            due[taken.metric] = now + PACE.interval_seconds
        elif evaluates:
            assert min(due.values()) > now
