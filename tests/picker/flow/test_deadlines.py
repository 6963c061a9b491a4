"""When requests are due: by what they say, else by what they take."""

from picker.flow.deadlines import PATIENCE, EarliestDeadline, due_at
from picker.flow.waiting import Waiting


def test_a_request_that_says_nothing_is_due_after_a_multiple_of_its_prefill() -> None:
    assert due_at(10.0, 0.0, 0.5, 60.0) == 10.0 + PATIENCE * 0.5
    assert due_at(10.0, 0.25, 0.5, 60.0) == 10.25


def test_no_request_is_due_when_it_may_wait_no_longer_for_others_that_are_shorter() -> None:
    assert due_at(10.0, 0.0, 9.0, 60.0) == 40.0
    assert due_at(10.0, 50.0, 9.0, 60.0) == 60.0, "what it wants itself is its own matter"


def test_a_long_prompt_is_passed_by_short_ones_for_so_long_only() -> None:
    ordering = EarliestDeadline()
    long = Waiting(1, 0, "", 0, 0.0, 0.0, due_at=due_at(0.0, 0.0, 0.5, 60.0))
    soon = Waiting(2, 0, "", 0, 0.0, 1.0, due_at=due_at(1.0, 0.0, 0.1, 60.0))
    late = Waiting(3, 0, "", 0, 0.0, 9.9, due_at=due_at(9.9, 0.0, 0.1, 60.0))
    assert sorted([long, soon, late], key=ordering.key) == [soon, long, late]
