"""Lanes: by which endpoints requests may go to, and which of them need not be looked at."""

import numpy as np
import pytest

from infscale.endpoint import Phase
from infscale.metrics.snapshot import PoolSnapshot
from picker.flow.lanes import EVERYWHERE, LOOK_AGAIN_SECONDS, Lanes, lane_of
from tests.fakes.pools import FakePool


def pool(size: int = 12, *, draining: int | None = None) -> PoolSnapshot:
    phases = [Phase.DRAINING if row == draining else Phase.READY for row in range(size)]
    return FakePool(size, waiting=[0.0] * size, running=[0.0] * size, kv=[0.0] * size, phases=phases).snapshot()


def rows(*numbers: int) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    return np.array(numbers, dtype=np.intp)


def test_requests_for_the_same_endpoints_share_a_lane_and_others_do_not() -> None:
    snapshot = pool()
    assert lane_of(snapshot, rows(*range(12)), 0.0) == EVERYWHERE
    names = [lane_of(snapshot, rows(*some), 0.0) for some in ((0,), (1,), (0, 1), range(11), range(10))]
    assert len({EVERYWHERE, *names}) == 6
    assert lane_of(snapshot, rows(0, 1), 0.0) == names[2]
    assert max(map(len, names)) < 60, "of many endpoints a lane has no list"


@pytest.mark.parametrize(("one", "other", "same"), [(0.05, 0.05, True), (0.05, 0.051, True), (0.05, 0.1, False)])
def test_a_wish_for_fast_tokens_is_part_of_a_lane_as_far_as_it_is_another(one: float, other: float, same: bool) -> None:
    snapshot = pool()
    both = [lane_of(snapshot, rows(*range(12)), 0.0, wish) for wish in (one, other)]
    assert (both[0] == both[1]) is same
    assert EVERYWHERE not in both


def test_a_lane_is_closed_while_none_of_its_endpoints_is_open_and_it_was_looked_at_lately() -> None:
    snapshot, lanes = pool(), Lanes()
    everywhere, first, two, many = (lane_of(snapshot, rows(*some), 0.0) for some in (range(12), (0,), (1, 2), range(9)))
    known = [everywhere, first, two, many]
    full = [False] * 12
    assert lanes.closed(known, snapshot, full, 0.0) == set(), "none was looked at yet"
    for each in known:
        lanes.looked_at(each, 0.0)
    assert lanes.closed(known, snapshot, full, 0.1) == {everywhere, first, two}, "a long list is not kept"
    assert lanes.closed(known, snapshot, [False, False, True, *full[3:]], 0.1) == {first}
    assert lanes.closed(known, snapshot, full, LOOK_AGAIN_SECONDS) == set()


def test_a_lane_of_an_endpoint_that_has_left_is_looked_at() -> None:
    lanes = Lanes()
    last = lane_of(pool(), rows(11), 0.0)
    lanes.looked_at(last, 0.0)
    assert lanes.closed([last], pool(), [False] * 12, 0.1) == {last}
    assert lanes.closed([last], pool(11), [False] * 11, 0.1) == set()


def test_what_is_known_of_lanes_that_are_gone_is_forgotten() -> None:
    snapshot, lanes = pool(), Lanes()
    first = lane_of(snapshot, rows(0), 0.0)
    lanes.looked_at(first, 0.0)
    lanes.closed([], snapshot, [False] * 12, 0.1)
    assert lanes.closed([first], snapshot, [False] * 12, 0.1) == set()
