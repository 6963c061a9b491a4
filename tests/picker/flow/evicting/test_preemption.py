"""Who goes for whom: no more than are needed, the least regretted, and only where the wait is worth it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import EndpointKey
from picker.flow.evicting.preemption import Eviction, Room, Running, Shortage, eviction

HERE, THERE = EndpointKey("ns", "a"), EndpointKey("ns", "b")
FOREVER = float("inf")


def lacks(
    cache: float = 0.0, prompts: float = 0.0, step: float = 0.0, *, at: EndpointKey = HERE, n: int = 99
) -> Shortage:
    return Shortage(at, Room(prompts, cache, step), n, 0.03)


def runs(
    number: int,
    cache: float = 100.0,
    spent: float = 1.0,
    *,
    prompts: float = 0.0,
    step: float = 0.0,
    cached: float = 0.0,
    made: float = 0.0,
    left: float = 10.0,
    at: EndpointKey = HERE,
) -> Running:
    return Running(number, at, Room(prompts, cache, step), spent, cached, made, left)


def gone(found: Eviction | None) -> list[int]:
    return [] if found is None else sorted(each.number for each in found.requests)


@pytest.mark.parametrize(
    ("shortage", "running", "expected"),
    [
        pytest.param(lacks(50), [runs(1, spent=3.0), runs(2, spent=1.0)], [2], id="the least is lost"),
        pytest.param(lacks(150), [runs(1), runs(2), runs(3)], [2, 3], id="as many as are needed, the newest of equals"),
        pytest.param(lacks(90), [runs(1, 10, 0.1), runs(2, 100, 0.5)], [2], id="one that does alone and not many"),
        pytest.param(lacks(100), [runs(1, 40, 0.1), runs(2, 100, 1.0)], [2], id="none that became needless"),
        pytest.param(
            lacks(50), [runs(1, cached=2.0), runs(2, spent=2.0)], [2], id="a cache that was found is lost, too"
        ),
        pytest.param(lacks(50), [runs(1, made=0.9), runs(2, spent=2.0)], [2], id="one that is nearly done is dear"),
        pytest.param(lacks(500), [runs(1), runs(2)], [], id="none where all are not enough"),
        pytest.param(lacks(500, n=2), [runs(1), runs(2)], [1, 2], id="an endpoint with nothing takes any request"),
        pytest.param(
            lacks(prompts=1.5), [runs(1), runs(2, spent=0.0, prompts=2.0)], [2], id="prompts not computed yet"
        ),
        pytest.param(lacks(prompts=1.5), [runs(1)], [], id="one that has begun gives no prompts back"),
        pytest.param(lacks(50, step=0.01), [runs(1), runs(2, 0, step=0.02)], [1, 2], id="of each measure enough"),
    ],
)
def test_of_an_endpoint_those_go_that_are_needed_and_least_regretted(
    shortage: Shortage, running: Sequence[Running], expected: list[int]
) -> None:
    assert gone(eviction([shortage], running, 0.0, ())) == expected


@pytest.mark.parametrize(
    ("spent", "left", "patience", "goes"),
    [
        pytest.param(1.0, 5.0, FOREVER, True, id="the wait is longer than the loss is dear"),
        pytest.param(6.0, 5.0, FOREVER, False, id="the loss is dearer"),
        pytest.param(6.0, 5.0, 1.0, True, id="the request would be late"),
        pytest.param(0.0, 0.02, 0.0, False, id="the room is there before an eviction shows"),
    ],
)
def test_it_happens_only_where_the_wait_is_worth_it(spent: float, left: float, patience: float, goes: bool) -> None:
    assert gone(eviction([lacks(50)], [runs(1, spent=spent, left=left)], patience, ())) == ([1] if goes else [])


def test_it_happens_where_the_least_is_lost_and_not_where_the_last_is_not_shown_yet() -> None:
    shortages = [lacks(50), lacks(50, at=THERE)]
    running = [runs(1, spent=2.0), runs(2, spent=1.0, at=THERE)]
    found = eviction(shortages, running, 0.0, ())
    assert found is not None
    assert (found.endpoint, found.cause, gone(found)) == (THERE, "cache", [2])
    assert gone(eviction(shortages, running, 0.0, [THERE])) == [1]
    assert eviction(shortages, running, 0.0, [HERE, THERE]) is None


def test_none_goes_while_another_endpoint_is_about_to_have_room() -> None:
    """There is nothing to take back there, and what is missing passes by itself in a moment."""
    soon = Shortage(THERE, Room(prompt_seconds=0.02), 3, 0.03)
    assert eviction([lacks(50), soon], [runs(1)], 0.0, ()) is None


RUNNING = st.builds(
    runs,
    st.integers(0, 10**6),
    st.floats(0, 200),
    st.floats(0, 3),
    prompts=st.floats(0, 2),
    step=st.floats(0, 0.1),
    cached=st.floats(0, 1),
    made=st.floats(0, 1),
    left=st.floats(0, 20),
    at=st.sampled_from([HERE, THERE]),
)


@given(
    st.lists(RUNNING, max_size=8, unique_by=lambda each: each.number),
    st.lists(
        st.builds(
            lacks,
            st.floats(-100, 500),
            st.floats(-1, 3),
            st.floats(-1, 0.2),
            at=st.sampled_from([HERE, THERE]),
            n=st.integers(1, 9),
        ),
        max_size=2,
        unique_by=lambda each: each.endpoint,
    ),
    st.floats(0, 5),
)
def test_what_goes_makes_the_room_and_none_of_it_is_needless(
    running: list[Running], shortages: list[Shortage], patience: float
) -> None:
    found = eviction(shortages, running, patience, ())
    if found is None:
        return
    (shortage,) = [each for each in shortages if each.endpoint == found.endpoint]
    assert {each.endpoint for each in found.requests} == {found.endpoint}
    assert set(found.requests) <= set(running)

    def covered(taken: Sequence[Running], slack: float) -> bool:
        given_back = [sum(each.gives.measures[place] for each in taken) for place in range(3)]
        measures = zip(shortage.missing.measures, given_back, strict=True)
        return len(taken) >= shortage.in_flight or all(lacking <= given + slack for lacking, given in measures)

    assert covered(found.requests, 1e-6)
    assert not any(covered([one for one in found.requests if one is not each], -1e-6) for each in found.requests)
