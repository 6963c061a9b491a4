"""What is kept from sheddable requests, and where others go beside them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.latency.step_model import StepModel
from picker.flow.reserve import placeable, reserved
from picker.request import Headers
from picker.scheduling.costs.prefill_clock import Work
from picker.scheduling.costs.protected_load import ProtectedLoad
from picker.scheduling.costs.step_costs import StepCosts
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import RequestFacts, SchedulingContext
from tests.fakes.pools import FakePool, Numbers, context

MODEL = StepModel(0.02, 50e-6, 0.05e-6, 30e-6)


def costs(rows: int) -> StepCosts:
    return StepCosts(*[np.full(rows, each) for each in MODEL.coefficients[:4]])


def kept(load: ProtectedLoad, endpoints: int = 8, capacity: float = np.inf) -> int:
    return reserved(load, costs(endpoints), np.full(endpoints, capacity), endpoints)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.01, 1), (0.2, 2), (1.0, 4), (2.0, 6), (4.0, 7), (50.0, 7)],
)
def test_as_many_are_kept_as_let_a_twentieth_wait(share: float, expected: int) -> None:
    """Values of Erlang's C: 0.053 on 2 servers and 0.0204 on 4 at a load of 1, 0.0597 on 5 at a load of 2 …"""
    found = kept(ProtectedLoad(share, 1.0, 0.0, 0.0))
    assert found == expected


def test_long_answers_need_more_than_their_prompts() -> None:
    """200 answers that read 100 tokens of a prompt each: 8 servers decode 25 each, one 200."""
    load = ProtectedLoad(0.04, 0.005, 200.0, 400_000.0)
    # A step takes 20 ms and 26 ms ÷ k: 23.25 on all, and on 4, 26.5, of which the prefill is 5.
    assert kept(load) == 5
    assert kept(ProtectedLoad(0.04, 0.5, 200.0, 400_000.0)) == 1, "beside half a second of prefill a step is nothing"


def test_what_is_kept_has_room_for_what_is_in_flight() -> None:
    load = ProtectedLoad(0.01, 1.0, 10.0, 50_000.0)
    assert kept(load) == 1
    assert kept(load, capacity=20_000.0) == 3


def test_nothing_is_kept_without_others_or_of_one_endpoint() -> None:
    assert kept(ProtectedLoad(0.0, 0.0, 3.0, 900.0)) == 0
    assert kept(ProtectedLoad(5.0, 1.0, 3.0, 900.0), endpoints=1) == 0


@given(
    share=st.floats(0.0, 600.0),
    prefill=st.floats(0.0, 60.0),
    requests=st.floats(0.0, 1e5),
    tokens=st.floats(0.0, 1e9),
    endpoints=st.integers(1, 40),
    capacity=st.sampled_from([1.0, 1e5, np.inf]),
)
def test_one_endpoint_is_always_left_and_more_load_keeps_no_less(
    share: float, prefill: float, requests: float, tokens: float, endpoints: int, capacity: float
) -> None:
    found = kept(ProtectedLoad(share, prefill, requests, tokens), endpoints, capacity)
    assert 0 <= found <= endpoints - 1
    more = kept(ProtectedLoad(2.0 * share, prefill, 2.0 * requests, 2.0 * tokens), endpoints, capacity)
    assert found <= more


# --- where requests go -----------------------------------------------------------------------------------------------


def asked(
    priority: int, sheddable: tuple[int, ...] = (), size: int = 4, pending: Numbers = (), matched: Numbers = ()
) -> SchedulingContext:
    """A request at second 0 to endpoints that have one in flight each, sheddable ones those of the rows named."""
    pool = FakePool(size, in_flight_requests=[1.0] * size, steps=[MODEL] * size)
    memory, snapshot = PoolMemory(), pool.snapshot()
    memory.sync(snapshot.endpoints)
    for row in range(size):
        seconds = pending[row] if row < len(pending) else 0.0
        work = Work(seconds or 0.0, 100.0, 100.0, sheddable=row in sheddable)
        memory.dispatched(row, row, work, 0.0)
    facts = RequestFacts("m", Headers([]), 1000.0, 100.0, priority)
    found = context(pool, matched=matched, total_tokens=1000.0, facts=facts, memory=memory)
    memory.clock.capacity_tokens = np.full(size, np.inf)
    return found


def rows(context: SchedulingContext) -> list[int]:
    return placeable(context, context.snapshot.candidates(context.now)).tolist()


def test_sheddable_requests_do_not_reach_what_is_kept_for_others() -> None:
    alone = asked(-1, sheddable=(0, 1, 2, 3))
    assert rows(alone) == [0, 1, 2, 3]
    beside = asked(-1)
    for number in range(20):
        beside.memory.protected.dispatched(100 + number, 0.05, 1_000.0, 0.0)
    assert rows(beside) == [0]
    assert rows(asked(0)) == [0, 1, 2, 3]


def test_a_sheddable_request_waits_although_what_is_kept_has_room() -> None:
    beside = asked(-1, pending=[9.0])
    for number in range(20):
        beside.memory.protected.dispatched(100 + number, 0.05, 1_000.0, 0.0)
    assert rows(beside) == []


def test_others_go_where_no_sheddable_ones_are_while_there_is_room() -> None:
    assert rows(asked(0, sheddable=(0, 1))) == [2, 3]
    assert rows(asked(0, sheddable=(0, 1), pending=[0, 0, 9, 0])) == [2, 3], "scheduling chooses among these"
    assert rows(asked(0, sheddable=(0, 1), pending=[0, 0, 9, 9])) == [0, 1, 2, 3]
    assert rows(asked(0, sheddable=(0, 1), pending=[9, 9, 9, 9])) == []


def test_others_go_beside_sheddable_ones_for_what_is_cached_there() -> None:
    # 50 ms of prefill saved; the second has 40 ms to compute first.
    assert rows(asked(0, sheddable=(0, 1), matched=[990, 0, 0, 0])) == [0, 2, 3]
    assert rows(asked(0, sheddable=(0, 1), pending=[0.02, 0.06], matched=[990, 990, 0, 0])) == [0, 2, 3]
