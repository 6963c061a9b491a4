"""Which endpoints have room for a request: what they have to compute, their KV cache, and how fast tokens come."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.latency.step_model import StepModel
from picker.flow.room import LATEST_SECONDS, MOST_CLAIMS, SOONEST_SECONDS, Claims, has_room, next_room, with_room
from picker.request import Headers
from picker.scheduling.costs.learnt_limits import FIRST_LIMIT
from picker.scheduling.costs.prefill_clock import IN_TRANSIT_SECONDS, Work
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import RequestFacts, SchedulingContext
from tests.fakes.pools import FakePool, Numbers, context

MODEL = StepModel(0.02, 50e-6, 0.05e-6, 30e-6)
CAPACITY = 10_000


def asked(
    size: int,
    pending: Numbers = (),
    held: Numbers = (),
    prompt: float = 1000.0,
    matched: Numbers = (),
    tpot_ms: str = "",
) -> SchedulingContext:
    """A request at second 0 to endpoints that each have one in flight, with so much to compute and in their caches."""
    pool = FakePool(size, in_flight_requests=[1.0] * size, steps=[MODEL] * size)
    memory, snapshot = PoolMemory(), pool.snapshot()
    memory.sync(snapshot.endpoints)
    for row in range(size):
        seconds = pending[row] if row < len(pending) else 0.0
        tokens = held[row] if row < len(held) else 0.0
        memory.clock.dispatched(row, row, Work(seconds or 0.0, tokens or 0.0, tokens or 0.0), 0.0)
    headers = Headers([("x-slo-tpot-ms", tpot_ms.encode())] if tpot_ms else [])
    facts = RequestFacts("m", headers, prompt, 100.0)
    found = context(pool, matched=matched, total_tokens=prompt, facts=facts, memory=memory)
    memory.clock.capacity_tokens = np.full(size, float(CAPACITY))
    return found


def free(context: SchedulingContext) -> list[int]:
    rows = context.snapshot.candidates(context.now)
    return with_room(context, rows).tolist()


def test_an_endpoint_is_fed_that_has_more_to_compute_than_the_step_that_runs() -> None:
    step = 0.02 + 30e-6 + IN_TRANSIT_SECONDS
    assert free(asked(4, pending=[0.0, step - 0.001, step + 0.001, 9.0])) == [0, 1]


@pytest.mark.parametrize(
    ("held", "matched", "own_share", "fits"),
    [
        pytest.param(8_800, 0, 1.0, True, id="prompt and answer fit"),
        pytest.param(8_950, 0, 1.0, False, id="the answer does not"),
        pytest.param(8_950, 500, 1.0, False, id="half of the prompt is there, and in use by none"),
        pytest.param(8_950, 500, 0.0, True, id="half of the prompt is there, and in use"),
        pytest.param(8_750, 500, 0.5, True, id="half of that is in use"),
    ],
)
def test_prompt_and_answer_have_to_fit_beside_what_is_in_flight(
    held: float, matched: float, own_share: float, fits: bool
) -> None:
    context = asked(1, held=[held], matched=[matched])
    context.memory.clock.own_share[:] = own_share
    assert free(context) == ([0] if fits else [])


def test_prompts_that_come_for_answers_that_end_slow_the_tokens_of_all() -> None:
    """Prefills of 50 ms for answers of 100 tokens: of a batch of two one in fifty steps, which is 1 ms for each."""
    context = asked(1, tpot_ms="20.8")
    assert free(context) == [0]
    for number in range(200):
        context.memory.clock.dispatched(0, 9 + number, Work(0.05, 0.0, 0.0), 0.0)
        context.memory.clock.ended(9 + number, 0.0, answered=False)
    assert context.memory.clock.usual_seconds == pytest.approx(0.05, rel=0.01)
    assert free(context) == []
    slower = asked(1, tpot_ms="21.3")
    slower.memory.clock = context.memory.clock
    assert free(slower) == [0]


def test_without_step_models_endpoints_take_what_they_were_learnt_to_begin_at_once() -> None:
    """Prompts say nothing then, and where no page says what waits, nothing is learnt."""
    pool = FakePool(3, in_flight_requests=[8.0, 7.0, 8.0], waiting=[0.0, 0.0, None])
    memory, snapshot = PoolMemory(), pool.snapshot()
    memory.sync(snapshot.endpoints)
    for row in range(3):
        memory.clock.dispatched(row, row, Work(9.0, 0.0, 0.0), 0.0)
    memory.observe(replace(pool, in_flight_requests=[0.0] * 3).snapshot())
    memory.clock.capacity_tokens = np.full(3, np.inf)
    assert memory.learnt_limits.tolist() == [FIRST_LIMIT, FIRST_LIMIT, np.inf]
    facts = RequestFacts("m", Headers([]), 100.0, 100.0)
    rows = np.arange(3)
    assert with_room(context(pool, facts=facts, memory=memory), rows).tolist() == [1, 2]
    known = replace(pool, steps=[MODEL] * 3)
    assert with_room(context(known, facts=facts, memory=memory), rows).tolist() == [], "all are fed"


@pytest.mark.parametrize(
    ("pending", "held", "kept"),
    [
        pytest.param([3.0, 1.0, 2.0], [9_900] * 3, 1, id="the one that has computed its prompts first"),
        pytest.param([], [9_900, 9_700, 9_500], 2, id="the one in whose cache the least has to go"),
        # 700 of 9,700 tokens in 100 steps of 20.5 ms.
        pytest.param([0.2, 0.0, 0.1], [9_000, 9_700, 9_000], 2, id="whatever it waits for"),
    ],
)
def test_what_finds_no_room_claims_the_endpoint_that_has_some_first(
    pending: list[float], held: list[float], kept: int
) -> None:
    context = asked(3, pending=pending, held=held)
    rows, claims = context.snapshot.candidates(0.0), Claims()
    claims.begin()
    claims.claim(context, rows)
    assert claims.made
    assert claims.unclaimed(context, rows).tolist() == [row for row in range(3) if row != kept]
    assert not claims.made, "another request has claimed nothing yet"
    claims.end()
    assert claims.unclaimed(context, rows) is rows


def test_what_only_waits_for_prompts_claims_nothing() -> None:
    """So do all others: none would be passed for ever, and tenants keep their turns."""
    context, claims = asked(3, pending=[3.0, 1.0, 2.0], held=[9_900, 0, 9_900]), Claims()
    claims.begin()
    claims.claim(context, context.snapshot.candidates(0.0))
    assert not claims.made


def test_claims_are_few_and_leave_one_endpoint_to_others() -> None:
    context = asked(9, held=[9_950.0] * 9)
    claims, rows = Claims(), context.snapshot.candidates(0.0)
    claims.claim(context, rows)
    assert not claims.made, "no turn goes through a queue"
    claims.begin()
    made = 0
    while len(left := claims.unclaimed(context, rows)):
        claims.claim(context, left)
        if not claims.made:
            break
        made += 1
    assert made == MOST_CLAIMS < 8
    claims.begin()
    claims.claim(context, rows[:1])
    assert not claims.made


def test_a_request_that_wants_its_tokens_soon_waits_for_a_batch_that_gives_them() -> None:
    # With the request: 20 ms, two sequences, 1,050 tokens of its own and those that are held.
    context = asked(2, held=[0.0, 8_000.0], tpot_ms="20.3")
    assert free(context) == [0]
    assert free(asked(2, held=[0.0, 8_000.0])) == [0, 1]


def test_an_endpoint_that_has_nothing_takes_what_fits_nowhere() -> None:
    context = asked(1, prompt=50_000.0)
    assert free(context) == []
    context.snapshot.in_flight_requests.setflags(write=True)
    context.snapshot.in_flight_requests[:] = 0.0
    assert free(context) == [0]


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=4))
def test_the_next_look_is_when_the_first_endpoint_is_fed_no_longer(pending: list[float]) -> None:
    context = asked(len(pending), pending=pending)
    clock, snapshot = context.memory.clock, context.snapshot
    at = next_room(snapshot, clock, 0.0)
    assert SOONEST_SECONDS <= at <= LATEST_SECONDS
    waits = [each for each in pending if each > 0.02 + 30e-6 + IN_TRANSIT_SECONDS]
    if waits and min(waits) < 0.2:
        later = SchedulingContext(context.request, snapshot, context.prefix, at + 0.001, Random(1), context.memory)
        row = pending.index(min(waits))
        assert row in with_room(later, snapshot.candidates(0.0)).tolist()


@given(
    known=st.booleans(),
    blind=st.booleans(),
    rows=st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, 8.0, 40.0]),
            st.sampled_from([0.0, 0.02, 0.03, 9.0]),
            st.sampled_from([0.0, 400.0, 8_900.0, 9_999.0]),
            st.sampled_from([0.0, 500.0, 1_000.0]),
            st.sampled_from([None, 0.1, 0.5, 0.99]),
            st.sampled_from([None, 0.0, 3.0]),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_single_numbers_say_what_columns_say(known: bool, blind: bool, rows: list[tuple[float, ...]]) -> None:
    in_flight, pending, held, matched, kv, waiting = (list(each) for each in zip(*rows, strict=True))
    size = len(rows)
    pool = FakePool(size, waiting, kv=kv, in_flight_requests=in_flight, steps=[MODEL if known else None] * size)
    memory, snapshot = PoolMemory(), pool.snapshot()
    memory.sync(snapshot.endpoints)
    memory.observe(snapshot)
    for row in range(size):
        memory.clock.dispatched(row, row, Work(pending[row], held[row], held[row]), 0.0)
    facts = RequestFacts("m", Headers([]), 1000.0, 100.0)
    found = replace(context(pool, matched=matched, total_tokens=1000.0, facts=facts, memory=memory), blind=blind)
    memory.clock.capacity_tokens = np.array([CAPACITY if row % 2 == 0 else np.inf for row in range(size)])
    assert [row for row in range(size) if has_room(found, row)] == with_room(found, np.arange(size)).tolist()
