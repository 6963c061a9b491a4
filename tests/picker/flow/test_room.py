"""Which endpoints have room for a request: what they have to compute, their KV cache, and how fast tokens come."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.latency.step_model import StepModel
from picker.flow.room import LATEST_SECONDS, SOONEST_SECONDS, next_room, with_room
from picker.request import Headers
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
    ("held", "matched", "fits"),
    [
        pytest.param(8_800, 0, True, id="prompt and answer fit"),
        pytest.param(8_950, 0, False, id="the answer does not"),
        pytest.param(8_950, 500, True, id="half of the prompt is there"),
    ],
)
def test_prompt_and_answer_have_to_fit_beside_what_is_in_flight(held: float, matched: float, fits: bool) -> None:
    assert free(asked(1, held=[held], matched=[matched])) == ([0] if fits else [])


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
