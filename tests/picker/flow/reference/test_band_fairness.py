"""Fairness that remembers no cost: one order for all, and turns."""

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.flow.policies import Fairness, Ordering
from picker.flow.reference.band_fairness import GlobalStrict, RoundRobin
from picker.flow.reference.orderings import EarliestDeadline, FirstComeFirstServed
from picker.flow.waiting import Waiting
from tests.picker.flow.reference.held import held

FLOWS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=12)


def drained(fairness: Fairness, waiting: Sequence[Waiting]) -> list[int]:
    """The numbers of `waiting` in the order in which they leave, each flow in order of arrival."""
    left = list(waiting)
    gone: list[int] = []
    while left:
        heads: dict[str, Waiting] = {}
        for each in left:
            heads.setdefault(each.flow, each)
        flow = fairness.choose(heads, 0.0)
        assert flow is not None
        left.remove(heads[flow])
        fairness.dispatched(heads[flow], 0.0)
        gone.append(heads[flow].number)
    return gone


@pytest.mark.parametrize("fairness", [GlobalStrict(FirstComeFirstServed()), RoundRobin()])
def test_where_nothing_waits_no_flow_is_chosen(fairness: Fairness) -> None:
    assert fairness.choose({}, 0.0) is None


@pytest.mark.parametrize(
    ("ordering", "expected"), [(FirstComeFirstServed(), "b"), (EarliestDeadline(), "c")], ids=["fcfs", "edf"]
)
def test_strictly_the_best_head_of_all_flows_goes_by_the_order_of_the_band(ordering: Ordering, expected: str) -> None:
    heads = {
        "a": held(3, "a", 3.0, expires_at=9.0),
        "b": held(1, "b", 1.0, expires_at=math.inf),
        "c": held(2, "c", 2.0, expires_at=8.0),
    }
    assert GlobalStrict(ordering).choose(heads, 5.0) == expected


@given(FLOWS)
def test_strictly_flows_make_no_difference(flows: Sequence[str]) -> None:
    waiting = [held(number, flow, float(number)) for number, flow in enumerate(flows)]
    assert drained(GlobalStrict(FirstComeFirstServed()), waiting) == list(range(len(flows)))


def heads_of(*flows: str) -> Mapping[str, Waiting]:
    return {flow: held(number, flow) for number, flow in enumerate(flows)}


def test_turns_go_by_name_and_around() -> None:
    turns = RoundRobin()
    waiting = [held(number, flow) for number, flow in enumerate("aaaccb")]
    assert [waiting[number].flow for number in drained(turns, waiting)] == ["a", "b", "c", "a", "c", "a"]


def test_a_turn_is_taken_when_its_request_leaves() -> None:
    turns = RoundRobin()
    assert [turns.choose(heads_of("a", "b"), 0.0) for _ in range(3)] == ["a", "a", "a"]
    turns.dispatched(held(0, "a"), 0.0)
    assert turns.choose(heads_of("a", "b"), 0.0) == "b"


def test_turns_begin_anew_where_the_last_flow_is_gone_or_nothing_waits() -> None:
    for gone in (True, False):
        turns = RoundRobin()
        turns.dispatched(held(0, "b"), 0.0)
        turns.forget("c")
        assert turns.choose(heads_of("a", "c"), 0.0) == "c"
        if gone:
            turns.forget("b")
        else:
            turns.choose({}, 0.0)
        assert turns.choose(heads_of("a", "c"), 0.0) == "a"


@given(FLOWS)
def test_by_turns_no_flow_that_waits_is_a_whole_turn_behind(flows: Sequence[str]) -> None:
    waiting = [held(number, flow) for number, flow in enumerate(flows)]
    left = {flow: flows.count(flow) for flow in flows}
    served = dict.fromkeys(flows, 0)
    for number in drained(RoundRobin(), waiting):
        flow = flows[number]
        left[flow] -= 1
        served[flow] += 1
        behind = [served[each] for each in left if left[each]]
        assert not behind or served[flow] - min(behind) <= 1
