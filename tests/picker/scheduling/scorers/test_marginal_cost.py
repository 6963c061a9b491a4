"""The scorer of marginal costs: which placement delays everybody least."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.latency.step_model import StepModel
from infscale.metrics.sample import FloatArray, LoraState
from picker.scheduling.costs.prefill_clock import Work
from picker.scheduling.memory import PoolMemory
from picker.scheduling.pickers import MaxScorePicker
from picker.scheduling.profile import Profile, WeightedScorer
from picker.scheduling.scorers.marginal_cost import MarginalCostScorer
from tests.fakes.pools import FakePool, Numbers, context
from tests.picker.scheduling.scorers.scoring import facts

MODEL = StepModel(0.02, 50e-6, 0.0, 0.0)
SLOW = MODEL.scaled(2.2)
OWN_DELAY = MarginalCostScorer(0.0, 0.0, 0.0)
"""Only what this request waits for."""


def costs(
    scorer: MarginalCostScorer,
    pool: FakePool,
    prompt: float = 1000.0,
    output: float = 100.0,
    matched: Numbers = (),
    pending: Numbers = (),
) -> list[float]:
    """What each endpoint costs at second 0, with so many seconds of prefill `pending` there."""
    memory = PoolMemory()
    memory.sync(pool.snapshot().endpoints)
    for row, seconds in enumerate(pending):
        memory.clock.dispatched(row, row, Work(seconds or 0.0, 0.0, 0.0), 0.0)
    decision = context(pool, matched=matched, total_tokens=prompt, facts=facts(prompt, output), memory=memory)
    found: FloatArray = scorer.cost_seconds(decision, pool.rows)
    return [float(each) for each in found]


def test_its_own_delay_is_the_backlog_half_a_step_and_its_prefill() -> None:
    """8,192 tokens are a full step: 0.41 s of prefill and a step's 20 ms, half a step of waiting, 2 s of backlog."""
    pool = FakePool(3, steps=[MODEL, MODEL, SLOW])
    prefill = 8192 * 50e-6 + 0.02 + 0.01
    found = costs(OWN_DELAY, pool, 8192.0, pending=[0.0, 2.0, 0.0])
    assert found == pytest.approx([prefill, prefill + 2.0, 2.2 * prefill])


def test_what_is_cached_is_not_computed_and_one_token_always_is() -> None:
    found = costs(OWN_DELAY, FakePool(3, steps=[MODEL] * 3), 8192.0, matched=[0, 4096, 8192])
    assert found[0] - found[1] == pytest.approx(4096 * 50e-6 + 0.01)
    assert found[2] == pytest.approx(0.01 + 50e-6 + 0.02 / 8192)


def test_what_is_computed_displaces_what_is_cached_at_the_pool_s_speed() -> None:
    """A slow endpoint recomputes what it lost no more often than a fast one."""
    pool = FakePool(2, steps=[MODEL, SLOW])
    found, without = costs(MarginalCostScorer(3.0, 0.0, 0.0), pool), costs(OWN_DELAY, pool)
    mean = 0.5 * (MODEL.per_prefill_token + SLOW.per_prefill_token)
    assert np.subtract(found, without).tolist() == pytest.approx([3.0 * mean * 1000] * 2)


def test_running_requests_are_held_up_and_slowed_down() -> None:
    model = replace(MODEL, per_kv_token=1e-7, per_sequence=1e-4)
    pool = FakePool(2, steps=[model] * 2, in_flight_requests=[0, 10])
    found, without = costs(MarginalCostScorer(0.0, 0.1, 0.0), pool), costs(OWN_DELAY, pool)
    of_ten = 0.1 * 10 * (50e-6 * 1000 + 100 * (1e-4 + 1e-7 * 1050))
    step = [0.02, 0.02 + 10 * 1e-4]
    assert found[0] - without[0] == pytest.approx(0.1 * 100 * step[0])
    assert found[1] - without[1] == pytest.approx(of_ten + 0.1 * 100 * step[1])


def test_a_slot_for_its_adapter_is_waited_for_as_long_as_an_answer_takes() -> None:
    pool = FakePool(2, steps=[MODEL] * 2, lora=[LoraState(frozenset("b"), frozenset("c"), 1), None])
    memory = PoolMemory()
    request = replace(facts(1000.0, 100.0), target_model="a")

    def added() -> list[float]:
        found = OWN_DELAY.cost_seconds(context(pool, total_tokens=1000.0, facts=request, memory=memory), pool.rows)
        return np.subtract(found, costs(OWN_DELAY, pool)).tolist()

    assert added() == [0.0, 0.0]
    memory.adapters.follow(replace(pool, lora=[LoraState(frozenset("a"), frozenset(), 1), None]).snapshot())
    assert added() == pytest.approx([0.1 + 100 * 0.02, 0.1])


def test_a_full_cache_is_waited_for() -> None:
    """Half of what is held has to go: half of the time that answers of 100 tokens take, in steps of 20 ms."""
    memory = PoolMemory()
    pool = FakePool(2, steps=[MODEL] * 2)
    memory.sync(pool.snapshot().endpoints)
    for row in (0, 1):
        memory.clock.dispatched(row, row, Work(0.0, 0.0, 2000.0), 0.0)
    decision = context(pool, facts=facts(1000.0, 100.0), memory=memory)
    memory.clock.capacity_tokens = np.array([3000.0, 2000.0])
    found = OWN_DELAY.cost_seconds(decision, pool.rows)
    assert found[1] - found[0] == pytest.approx(0.5 * 100 * 0.02)


def test_requests_in_flight_keep_batches_of_one_size() -> None:
    pool = FakePool(2, steps=[MODEL] * 2, in_flight_requests=[3, 5])
    found = costs(MarginalCostScorer(0.0, 0.0, 1.0), pool)
    assert found[1] - found[0] == pytest.approx(2 * 50e-6 * 100)


def test_a_second_behind_is_half_a_score_whatever_the_others_are() -> None:
    """So that seconds keep their worth beside other scorers."""
    pool = FakePool(3, steps=[MODEL] * 3)
    memory = PoolMemory()
    memory.sync(pool.snapshot().endpoints)
    for row, seconds in enumerate((0.0, 1.0, 9.0)):
        memory.clock.dispatched(row, row, Work(seconds, 0.0, 0.0), 0.0)
    decision = context(pool, facts=facts(100.0), memory=memory)
    assert MarginalCostScorer().score(decision, pool.rows).tolist() == pytest.approx([1.0, 0.5, 0.1])
    assert MarginalCostScorer().score(decision, pool.rows[1:]).tolist() == pytest.approx([1.0, 1 / 9])
    assert MarginalCostScorer(scale_seconds=3.0).score(decision, pool.rows)[2] == pytest.approx(0.25)


@given(st.lists(st.floats(0.0, 100.0), min_size=2, max_size=8), st.lists(st.integers(0, 50), min_size=8, max_size=8))
def test_alone_the_least_cost_wins(pending: list[float], in_flight: list[int]) -> None:
    pool = FakePool(len(pending), in_flight_requests=in_flight[: len(pending)])
    memory = PoolMemory()
    memory.sync(pool.snapshot().endpoints)
    for row, seconds in enumerate(pending):
        memory.clock.dispatched(row, row, Work(seconds, 0.0, 0.0), 0.0)
    decision = context(pool, facts=facts(500.0, 100.0), memory=memory)
    scorer = MarginalCostScorer()
    chosen = Profile("p", (), (WeightedScorer(scorer),), MaxScorePicker()).run(decision, pool.rows)
    cost = scorer.cost_seconds(decision, pool.rows)
    assert chosen is not None
    assert cost[chosen.chosen[0]] == pytest.approx(cost.min(), abs=1e-9)


def test_equal_endpoints_share_at_random() -> None:
    pool = FakePool(4, steps=[MODEL] * 4)
    profile = Profile("p", (), (WeightedScorer(MarginalCostScorer()),), MaxScorePicker())
    decision = context(pool, facts=facts(100.0, 10.0), seed=3)
    chosen = {selection.chosen[0] for _ in range(60) if (selection := profile.run(decision, pool.rows)) is not None}
    assert chosen == {0, 1, 2, 3}
    assert isinstance(decision.rng, random.Random)
