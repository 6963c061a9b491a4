"""What endpoints lack: as the gate has it; and what goes with a request, by how far it is."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.latency.step_model import StepModel
from infscale.metrics.store.dispatch import Charge
from picker.flow.evicting.preemption import Room
from picker.flow.evicting.shortage import running, shortages
from picker.flow.room import with_room
from picker.recall import Recall
from picker.request import Decision, GpuCost, Headers
from picker.scheduling.costs.prefill_clock import IN_TRANSIT_SECONDS, Work
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import RequestFacts, SchedulingContext
from tests.fakes.pools import POOL, FakePool, context

MODEL = StepModel(0.02, 50e-6, 0.05e-6, 30e-6)
CAPACITY = 10_000


def asked(
    pending: float = 0.0,
    held: float = 0.0,
    page: float = 0.0,
    in_flight: int = 1,
    prompt: float = 1000.0,
    tpot: str = "",
) -> SchedulingContext:
    """A request at second 0 to an endpoint with so much to compute, claimed of its cache, and in use by its page."""
    pool = FakePool(1, in_flight_requests=[float(in_flight)], steps=[MODEL], kv=[page])
    memory, snapshot = PoolMemory(), pool.snapshot()
    memory.sync(snapshot.endpoints)
    if in_flight:
        memory.clock.dispatched(0, 0, Work(pending, held, held), 0.0)
    facts = RequestFacts("m", Headers([("x-slo-tpot-ms", tpot.encode())] if tpot else []), prompt, 100.0)
    found = context(pool, total_tokens=prompt, facts=facts, memory=memory)
    memory.clock.capacity_tokens = np.full(1, float(CAPACITY))
    return found


@pytest.mark.parametrize(
    ("given_context", "cause", "missing"),
    [
        (asked(pending=2.0), "prompts", Room(prompt_seconds=2.0 - 0.02003 - IN_TRANSIT_SECONDS)),
        (asked(held=9_000), "cache", Room(cache_tokens=100.0)),
        (asked(in_flight=3, tpot="20"), "token_time", Room(step_seconds=4 * 30e-6 + 1050 * 0.05e-6)),
    ],
)
def test_what_is_missing_is_named_and_measured(given_context: SchedulingContext, cause: str, missing: Room) -> None:
    (found,) = shortages(given_context, given_context.snapshot.candidates(0.0))
    assert found.cause == cause
    for lacks, expected in zip(found.missing.measures, missing.measures, strict=True):
        assert lacks == pytest.approx(expected) if expected else lacks <= 0.0


@given(
    st.floats(0, 3),
    st.floats(0, CAPACITY),
    st.floats(0, 1),
    st.integers(0, 40),
    st.sampled_from(["", "20.1", "500"]),
    st.floats(1, CAPACITY),
)
def test_nothing_is_missing_where_there_is_room(
    pending: float, held: float, page: float, in_flight: int, tpot: str, prompt: float
) -> None:
    """The two say the same, so that what is taken back for a request makes room for it."""
    found = asked(pending, held, page, in_flight, prompt, tpot)
    rows = found.snapshot.candidates(0.0)
    (shortage,) = shortages(found, rows)
    has_room = bool(len(with_room(found, rows)))
    assert has_room == (not shortage.cause or shortage.in_flight == 0)


def sent(memory: PoolMemory, number: int, at: float, *, fetches: bool = False) -> Decision:
    """A request with two seconds of prompt, then 100 tokens of which each takes 0.1 s and costs 0.01."""
    memory.clock.dispatched(0, number, Work(2.0, 500.0, 400.0), at)
    key = FakePool(1).snapshot().endpoints[0].key
    cost = GpuCost(2.0, 0.01, 100.0, 0.1)
    recall = Recall(0.7, fetches)
    return Decision(("10.0.0.1:8000",), "m", "s.1", Charge(number, POOL, key, "m", 600.0, at), cost=cost, recall=recall)


def test_what_goes_with_a_request_is_what_it_has_had() -> None:
    snapshot, memory = FakePool(1, steps=[MODEL]).snapshot(), PoolMemory()
    memory.sync(snapshot.endpoints)
    decisions = [sent(memory, number, 0.0) for number in range(3)]
    answering, computing, waiting = running(decisions, snapshot, memory.clock, 3.0)
    assert (answering.spent_seconds, answering.cached_seconds) == (pytest.approx(2.0 + 10 * 0.01), 0.7)
    assert (answering.made_ratio, answering.left_seconds) == (pytest.approx(0.1), pytest.approx(9.0))
    assert answering.gives.prompt_seconds == 0.0
    assert answering.gives.cache_tokens == 400.0
    assert (computing.spent_seconds, computing.gives.prompt_seconds) == (1.0, 1.0)
    assert (waiting.spent_seconds, waiting.cached_seconds, waiting.gives.prompt_seconds) == (0.0, 0.0, 2.0)


def test_an_answer_that_is_longer_than_expected_is_not_about_to_end() -> None:
    snapshot, memory = FakePool(1, steps=[MODEL]).snapshot(), PoolMemory()
    memory.sync(snapshot.endpoints)
    (found,) = running([sent(memory, 0, 0.0)], snapshot, memory.clock, 42.0)
    assert found.spent_seconds == pytest.approx(2.0 + 400 * 0.01)
    assert (found.made_ratio, found.left_seconds) == (pytest.approx(2 / 3), pytest.approx(20.0))


def test_what_may_not_go_or_is_no_longer_there_is_none() -> None:
    snapshot, memory = FakePool(1, steps=[MODEL]).snapshot(), PoolMemory()
    memory.sync(snapshot.endpoints)
    ended, fetching, there = (sent(memory, number, 0.0, fetches=number == 1) for number in range(3))
    memory.clock.ended(0, 1.0, answered=False)
    plain = Decision(("10.0.0.1:8000",), "m", "s.1")
    assert [each.number for each in running([ended, fetching, plain, there], snapshot, memory.clock, 1.0)] == [2]
    assert running([there], FakePool(0).snapshot(), memory.clock, 1.0) == []


def test_no_number_of_what_goes_is_below_nothing() -> None:
    rng, snapshot, memory = Random(1), FakePool(1, steps=[MODEL]).snapshot(), PoolMemory()
    memory.sync(snapshot.endpoints)
    decisions = [sent(memory, number, rng.uniform(0, 5)) for number in range(20)]
    for each in running(decisions, snapshot, memory.clock, 30.0):
        assert 0.0 <= each.made_ratio < 1.0
        assert min(each.spent_seconds, each.cached_seconds, each.left_seconds, *each.gives.measures) >= 0.0
