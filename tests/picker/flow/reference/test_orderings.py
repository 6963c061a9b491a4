"""The reference's orders of the requests of one flow."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.flow.policies import Ordering
from picker.flow.reference.orderings import EarliestDeadline, FirstComeFirstServed, SloDeadline
from picker.flow.waiting import Waiting
from tests.picker.flow.reference.held import held

THREE = (
    held(1, at=1.0, expires_at=math.inf, due_at=9.0),
    held(2, at=2.0, expires_at=5.0),
    held(3, at=3.0, expires_at=4.0, due_at=8.0),
)
TIMES = st.one_of(st.just(math.inf), st.integers(0, 5).map(float))


def leaving(ordering: Ordering, waiting: tuple[Waiting, ...]) -> list[int]:
    return [each.number for each in sorted(waiting, key=lambda each: (ordering.key(each), each.number))]


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [(FirstComeFirstServed(), [1, 2, 3]), (EarliestDeadline(), [3, 2, 1]), (SloDeadline(), [3, 1, 2])],
)
def test_requests_leave_in_the_order_of_the_policy(ordering: Ordering, expected: list[int]) -> None:
    assert leaving(ordering, THREE) == expected
    assert leaving(ordering, THREE[::-1]) == expected


@given(st.lists(st.tuples(TIMES, TIMES), max_size=8))
def test_what_has_no_deadline_leaves_after_all_that_has_one_and_equals_in_order_of_arrival(
    deadlines: list[tuple[float, float]],
) -> None:
    waiting = tuple(
        held(number, at=float(number), expires_at=expires, due_at=due)
        for number, (expires, due) in enumerate(deadlines)
    )
    for ordering, deadline in ((EarliestDeadline(), 0), (SloDeadline(), 1)):
        found = leaving(ordering, waiting)
        assert found == sorted(found, key=lambda number: (deadlines[number][deadline], number))
