"""How full caches are: by the page, and by what was sent and has ended since."""

import math

import numpy as np
import pytest

from infscale.latency.step_model import StepModel
from picker.request import Headers
from picker.scheduling.costs.cache_use import GROWTH_SECONDS, unfit_tokens
from picker.scheduling.costs.prefill_clock import PrefillClock, Work
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import RequestFacts, SchedulingContext
from tests.fakes.pools import FakePool, context

STEP = StepModel(0.02, 50e-6, 0.0, 0.0)
PROMPT, CAPACITY = 1_000.0, 10_000.0


def asked(memory: PoolMemory, page: float | None, in_flight: int = 0, matched: float = 0.0) -> SchedulingContext:
    pool = FakePool(1, kv=[page], in_flight_requests=[float(in_flight)], steps=[STEP])
    memory.sync(pool.snapshot().endpoints)
    facts = RequestFacts("m", Headers([]), PROMPT, 100.0)
    found = context(pool, matched=[matched], total_tokens=PROMPT, facts=facts, memory=memory)
    memory.clock.capacity_tokens = np.full(1, CAPACITY)
    return found


@pytest.mark.parametrize(
    ("page", "in_flight", "matched", "unfit"),
    [
        pytest.param(0.9, 0, 0.0, 0.0, id="exactly as much as there is"),
        pytest.param(0.95, 0, 0.0, 500.0, id="half of the prompt"),
        pytest.param(0.95, 0, 600.0, -100.0, id="what is cached needs no place"),
        pytest.param(0.9, 4, 0.0, 4 * GROWTH_SECONDS / 0.02, id="answers grow in each step"),
        pytest.param(None, 9, 0.0, -1.0, id="unknown"),
    ],
)
def test_a_prompt_needs_a_place_beside_what_is_in_use(
    page: float | None, in_flight: int, matched: float, unfit: float
) -> None:
    assert unfit_tokens(asked(PoolMemory(), page, in_flight, matched))[0] == pytest.approx(unfit)


def test_nothing_is_unfit_where_it_is_not_known_how_much_a_cache_holds() -> None:
    found = asked(PoolMemory(), 1.0, 50)
    found.memory.clock.capacity_tokens = np.full(1, math.inf)
    assert unfit_tokens(found)[0] < 0.0


def test_what_was_sent_and_has_ended_since_the_page_counts() -> None:
    memory = PoolMemory()
    before = asked(memory, 0.95)
    clock: PrefillClock = memory.clock
    clock.dispatched(0, 1, Work(0.1, 300.0, 300.0, answer_tokens=100.0), 0.0)
    assert unfit_tokens(before)[0] == pytest.approx(700.0), "of its answer there is nothing yet"
    clock.dispatched(0, 2, Work(0.1, 300.0, 300.0, answer_tokens=100.0), 0.0)
    clock.ended(2, 0.5, answered=False)
    assert clock.cache_tokens_since.tolist() == [200.0]
    page = FakePool(1, waiting=[0.0], observed_at=[1.0], steps=[STEP]).snapshot()
    clock.observe(page, step_costs(page))
    assert clock.cache_tokens_since.tolist() == [0.0], "the page has it"
    clock.ended(1, 2.0, answered=False)
    assert clock.cache_tokens_since.tolist() == [-300.0]
    clock.sync(FakePool(2).snapshot().endpoints, ())
    assert clock.cache_tokens_since.tolist() == [-300.0, 0.0], "whatever row it has now"
