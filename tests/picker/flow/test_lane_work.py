"""The work that waits in lanes, beside a list of all of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.flow.lane_work import LaneWork
from picker.flow.waiting import Waiting

REQUESTS = st.lists(
    st.tuples(
        st.integers(-1, 1), st.sampled_from("ab"), st.sampled_from(["", "x"]), st.floats(0, 5), st.floats(0.0, 9.0)
    ),
    max_size=30,
)


@given(REQUESTS, st.lists(st.integers(0, 29), max_size=30, unique=True))
def test_what_goes_before_a_request_is_what_is_due_before_it_and_what_higher_bands_have(
    requests: list[tuple[int, str, str, float, float]], gone: list[int]
) -> None:
    work = LaneWork()
    all_of = [
        (Waiting(number, priority, flow, 0, 0.0, 0.0, due_at=due, cost_seconds=cost), lane)
        for number, (priority, flow, lane, due, cost) in enumerate(requests)
    ]
    for each, lane in all_of:
        work.enter(each, lane)
    for number in gone:
        if number < len(all_of):
            work.leave(*all_of[number])
    left = [each for number, each in enumerate(all_of) if number not in gone]
    for lane in ("", "x"):
        for priority in (-2, -1, 0, 1):
            above = sum(each.cost_seconds for each, name in left if name == lane and each.priority > priority)
            assert work.above(priority, lane) == pytest.approx(above, abs=1e-9)
        for flow in "ab":
            one = Waiting(99, 0, flow, 0, 0.0, 0.0, due_at=2.5)
            mates = [each for each, name in left if name == lane and (each.priority, each.flow) == (0, flow)]
            before = sum(each.cost_seconds for each in mates if each.due_at < 2.5)
            assert work.before(one, lane) == pytest.approx(before, abs=1e-9)
    for each, lane in left:
        work.leave(each, lane)
    assert work.above(-9, "") == work.above(-9, "x") == 0


def test_what_is_never_due_goes_last() -> None:
    work = LaneWork()
    work.enter(Waiting(1, 0, "", 0, 0.0, 0.0, cost_seconds=1.0), "")
    assert work.before(Waiting(2, 0, "", 0, 0.0, 0.0, due_at=1e6), "") == 0
    assert work.before(Waiting(3, 0, "", 0, 0.0, 0.0), "") == 0
