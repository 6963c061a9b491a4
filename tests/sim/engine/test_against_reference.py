"""The engine against its plainest form: the same plans and outcomes whatever is submitted, aborted and stepped when."""

from dataclasses import fields
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.latency.step_model import StepModel
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.steps import EngineRequest, EngineSettings
from tests.sim.engine.reference_engine import ReferenceEngine

STEP = StepModel(base=0.01, per_prefill_token=1e-4, per_kv_token=1e-6, per_sequence=1e-3)

limits = st.builds(
    EngineSettings,
    num_blocks=st.integers(6, 40),
    block_size=st.sampled_from([1, 4]),
    max_num_seqs=st.integers(1, 6),
    max_num_batched_tokens=st.integers(6, 40),
    max_waiting=st.one_of(st.none(), st.integers(0, 10)),
    max_loras=st.integers(1, 2),
    startup_seconds=st.sampled_from([0.0, 0.5]),
    speed=st.sampled_from([1.0, 0.7]),
)
shapes = st.tuples(
    st.integers(1, 60), st.integers(1, 30), st.integers(0, 3), st.sampled_from([None, None, "a", "b", "c"])
)
actions = st.lists(
    st.one_of(st.tuples(st.just("submit"), shapes), st.tuples(st.sampled_from(["abort", "steps"]), st.integers(0, 15))),
    min_size=4,
    max_size=40,
)


def prompt(request_id: int, shape: tuple[int, int, int, str | None], block_size: int) -> EngineRequest:
    """A request; prompts of one seed share their first blocks, every other one all; of seed 0 none."""
    tokens, output, seed, lora = shape
    if seed == 0:
        return EngineRequest(request_id, tokens, output, (), lora)
    own = 10 * seed + request_id % 2
    blocks = tuple(1000 * (seed if place < 3 else own) + place for place in range(tokens // block_size))
    return EngineRequest(request_id, tokens, output, blocks, lora)


class Pair:
    """Both engines under the same calls; every difference is an assertion."""

    def __init__(self, limits: EngineSettings) -> None:
        self.fast, self.plain = Engine(limits, STEP), ReferenceEngine(limits, STEP)
        self.now = 0.0
        self.ends_at: float | None = None
        self.requests: list[EngineRequest] = []
        self.seen: set[int] = set()

    def submit(self, shape: tuple[int, int, int, str | None]) -> None:
        request = prompt(len(self.requests), shape, self.fast.settings.block_size)
        self.requests.append(request)
        assert self.fast.submit(request, self.now) == self.plain.submit(request, self.now)

    def abort(self, number: int) -> None:
        assert self.fast.abort(number) == self.plain.abort(number)

    def half_step(self) -> bool:
        """Begin or end a step; False if there was nothing to do."""
        if self.ends_at is not None:
            self.now, self.ends_at = self.ends_at, None
            outcome, expected = self.fast.finish_step(self.now), self.plain.finish_step(self.now)
            names = [each.name for each in fields(expected) if each.name != "first_tokens"]
            assert [getattr(outcome, name) for name in names] == [getattr(expected, name) for name in names]
            first = [each for each in outcome.tokens if each not in self.seen]
            assert list(outcome.first_tokens) == first
            self.seen.update(first)
            return True
        plan, expected_plan = self.fast.next_step(self.now), self.plain.next_step(self.now)
        assert plan == expected_plan
        if plan is not None:
            self.ends_at = self.now + plan.seconds
        return plan is not None

    def compare(self) -> None:
        fast, plain = self.fast, self.plain
        assert (fast.waiting, fast.running, fast.kv_tokens) == (plain.waiting, plain.running, plain.kv_tokens)
        assert (fast.running_loras(), fast.waiting_loras()) == (plain.running_loras(), plain.waiting_loras())
        assert fast.deferred() == plain.deferred()
        pools = (fast.pool, plain.pool)
        assert len({(pool.free, pool.private, pool.cached, pool.idle, pool.usage_ratio) for pool in pools}) == 1
        for request in self.requests:
            assert len(fast.pool.match(request.block_hashes, 60)) == plain.pool.match(request.block_hashes, 60)


@settings(max_examples=200, deadline=None)
@given(limits=limits, actions=actions)
def test_every_plan_and_outcome_is_that_of_the_plain_engine(
    limits: EngineSettings, actions: list[tuple[str, int | tuple[int, int, int, str | None]]]
) -> None:
    """Steps are counted in halves: requests come and go in their midst, too."""
    pair = Pair(limits)
    for kind, detail in actions:
        if isinstance(detail, tuple):
            pair.submit(detail)
        elif kind == "abort":
            pair.abort(detail)
        else:
            for _ in range(detail):
                pair.half_step()
                pair.compare()
        pair.compare()
    pair.now = max(pair.now, 1.0) if pair.ends_at is None else pair.now
    for _ in range(10_000):
        if not pair.half_step():
            break
    pair.compare()
    assert pair.fast.waiting == pair.fast.running == 0


@pytest.mark.parametrize("seed", [0, 1, 3, 15, 31, 55, 72, 87])
def test_so_it_is_where_the_head_of_the_queue_waits_for_blocks(seed: int) -> None:
    """Prompts take most of the cache, share their beginnings, and come faster than they are answered.

    These seeds tell apart what is remembered of the cache at every step: what is evicted, which is first in the queue.
    """
    rng = Random(seed)
    budget = rng.randint(16, 64)
    pair = Pair(EngineSettings(rng.randint(16, 30), block_size=4, max_num_seqs=16, max_num_batched_tokens=budget))
    for _ in range(800):
        if pair.fast.waiting < 4 and rng.uniform(0.0, 1.0) < 0.3:
            pair.submit((rng.randint(8, 48), rng.randint(2, 16), rng.choice((0, 1, 1, 2)), None))
        if rng.uniform(0.0, 1.0) < 0.05:
            pair.abort(len(pair.requests) - rng.randint(1, 6))
        pair.half_step()
        pair.compare()
