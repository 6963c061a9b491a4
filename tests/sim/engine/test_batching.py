"""The engine's laws: nothing is lost, blocks add up, and a step takes what the formula says."""

import pickle
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.latency.step_model import StepModel
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.steps import (
    EngineRequest,
    EngineSettings,
    FinishedRequest,
    Refusal,
    StepOutcome,
)

STEP = StepModel(base=0.01, per_prefill_token=1e-4, per_kv_token=1e-6, per_sequence=1e-3)


def engine(num_blocks: int = 64, block_size: int = 4, seqs: int = 8, budget: int = 64, speed: float = 1.0) -> Engine:
    limits = EngineSettings(
        num_blocks=num_blocks, block_size=block_size, max_num_seqs=seqs, max_num_batched_tokens=budget, speed=speed
    )
    return Engine(limits, STEP)


def check_blocks(subject: Engine) -> None:
    pool = subject.pool
    assert min(pool.free, pool.private, pool.cached, pool.idle) >= 0
    assert pool.free + pool.private + pool.cached == pool.num_blocks
    assert 0.0 <= pool.usage_ratio <= 1.0


@dataclass
class Run:
    """Drives an engine in virtual time and keeps what came out."""

    subject: Engine
    now: float = 0.0
    tokens: dict[int, int] = field(default_factory=dict[int, int])
    finished: dict[int, FinishedRequest] = field(default_factory=dict[int, FinishedRequest])
    preempted: int = 0
    outcomes: list[StepOutcome] = field(default_factory=list[StepOutcome])

    def step(self) -> StepOutcome | None:
        plan = self.subject.next_step(self.now)
        if plan is None:
            return None
        check_blocks(self.subject)
        self.now += plan.seconds
        outcome = self.subject.finish_step(self.now)
        check_blocks(self.subject)
        for request_id in outcome.tokens:
            self.tokens[request_id] = self.tokens.get(request_id, 0) + 1
        self.finished.update({done.request.id: done for done in outcome.finished})
        self.preempted += outcome.preempted
        self.outcomes.append(outcome)
        return outcome

    def drain(self, limit: int = 5000) -> None:
        for _ in range(limit):
            if self.step() is None:
                return
        raise AssertionError("the engine does not come to an end")


def prompt(seed: int, blocks: int) -> tuple[int, ...]:
    """Chained hashes: prompts with the same seed share every block they both have."""
    return tuple(seed * 1000 + index for index in range(blocks))


@st.composite
def requests(draw: st.DrawFn) -> list[EngineRequest]:
    shapes = draw(
        st.lists(
            st.tuples(
                st.integers(1, 60), st.integers(1, 30), st.integers(0, 2), st.sampled_from([None, "a", "b", "c"])
            ),
            min_size=1,
            max_size=14,
        )
    )
    return [
        EngineRequest(index, tokens, output, prompt(seed, tokens // 4), lora)
        for index, (tokens, output, seed, lora) in enumerate(shapes)
    ]


@settings(max_examples=150, deadline=None)
@given(
    requests=requests(),
    num_blocks=st.integers(6, 40),
    seqs=st.integers(1, 6),
    budget=st.integers(6, 40),
    max_waiting=st.one_of(st.none(), st.integers(0, 10)),
    aborts=st.sets(st.integers(0, 13)),
    spread=st.integers(0, 3),
)
def test_every_request_finishes_is_refused_or_is_aborted_and_blocks_add_up(
    requests: list[EngineRequest],
    num_blocks: int,
    seqs: int,
    budget: int,
    max_waiting: int | None,
    aborts: set[int],
    spread: int,
) -> None:
    limits = EngineSettings(
        num_blocks=num_blocks,
        block_size=4,
        max_num_seqs=seqs,
        max_num_batched_tokens=budget,
        max_waiting=max_waiting,
        max_loras=2,
    )
    run = Run(Engine(limits, STEP))
    refused: set[int] = set()
    aborted: set[int] = set()
    for request in requests:
        if run.subject.submit(request, run.now) is not None:
            refused.add(request.id)
        for _ in range(spread):
            run.step()
        if request.id in aborts and run.subject.abort(request.id):
            aborted.add(request.id)
            check_blocks(run.subject)
    run.drain()
    assert set(run.finished) | refused | aborted == {request.id for request in requests}
    assert not set(run.finished) & (refused | aborted)
    for request_id, done in run.finished.items():
        assert run.tokens[request_id] == done.request.output_tokens
        assert done.arrived_at <= done.scheduled_at < done.first_token_at <= done.finished_at
        assert done.cached_tokens < done.request.prompt_tokens
    assert (run.subject.waiting, run.subject.running, run.subject.kv_tokens) == (0, 0, 0)
    assert run.subject.pool.private == 0
    assert run.subject.pool.usage_ratio == 0.0


@settings(max_examples=30, deadline=None)
@given(requests=requests(), num_blocks=st.integers(23, 40))
def test_the_same_input_gives_the_same_outcomes(requests: list[EngineRequest], num_blocks: int) -> None:
    runs = [Run(engine(num_blocks=num_blocks)), Run(engine(num_blocks=num_blocks))]
    for run in runs:
        for request in requests:
            run.subject.submit(request, 0.0)
        run.drain()
    assert runs[0].outcomes == runs[1].outcomes


def test_a_prefill_step_takes_what_the_formula_says() -> None:
    subject = engine()
    subject.submit(EngineRequest(1, 10, 3), 0.0)
    plan = subject.next_step(0.0)
    assert plan is not None
    assert plan.seconds == pytest.approx(0.01 + 10e-4 + 10e-6 + 1e-3)
    subject.finish_step(plan.seconds)
    decode = subject.next_step(plan.seconds)
    assert decode is not None
    assert (decode.prefill_tokens, decode.decode_tokens, decode.kv_tokens) == (0, 1, 11)
    assert decode.seconds == pytest.approx(0.01 + 11e-6 + 1e-3)


def test_a_faster_engine_takes_proportionally_shorter_steps() -> None:
    seconds: list[float] = []
    for speed in (1.0, 4.0):
        subject = engine(speed=speed)
        subject.submit(EngineRequest(1, 10, 3), 0.0)
        plan = subject.next_step(0.0)
        assert plan is not None
        seconds.append(plan.seconds)
    assert seconds[0] == pytest.approx(4 * seconds[1])


def test_long_prompts_are_prefilled_in_chunks_beside_decodes() -> None:
    run = Run(engine(budget=16))
    run.subject.submit(EngineRequest(1, 4, 20), 0.0)
    run.step()
    run.subject.submit(EngineRequest(2, 40, 1), run.now)
    chunks = [outcome.plan.prefill_tokens for outcome in (run.step(), run.step(), run.step()) if outcome]
    assert chunks == [15, 15, 10]
    assert run.tokens[1] == 4
    assert 2 in run.finished


def test_a_shared_prefix_is_computed_once() -> None:
    run = Run(engine())
    run.subject.submit(EngineRequest(1, 41, 1, prompt(7, 10)), 0.0)
    run.drain()
    run.subject.submit(EngineRequest(2, 45, 1, prompt(7, 8) + prompt(9, 3)), run.now)
    outcome = run.step()
    assert outcome is not None
    assert (outcome.admitted_tokens, outcome.cached_tokens) == (45, 32)
    assert outcome.plan.prefill_tokens == 13


def test_a_prefix_match_ends_at_the_first_block_that_is_gone() -> None:
    subject = engine(num_blocks=12)
    run = Run(subject)
    subject.submit(EngineRequest(1, 32, 1, prompt(1, 8)), 0.0)
    run.drain()
    subject.submit(EngineRequest(2, 24, 1, prompt(2, 6)), run.now)
    run.drain()
    held = len(subject.pool.match(prompt(1, 8), 8))
    assert held < 8, "the tail of the first prompt had to go"
    assert not any(subject.pool.match((block,), 1) for block in prompt(1, 8)[held:])


def test_a_fully_cached_prompt_still_computes_its_last_token() -> None:
    run = Run(engine())
    for request_id in (1, 2):
        run.subject.submit(EngineRequest(request_id, 16, 1, prompt(3, 4)), run.now)
        run.drain()
    assert run.finished[2].cached_tokens == 12


def test_at_full_cache_the_latest_is_preempted_and_recomputed() -> None:
    run = Run(engine(num_blocks=10))
    run.subject.submit(EngineRequest(1, 12, 20), 0.0)
    run.subject.submit(EngineRequest(2, 12, 20), 0.0)
    run.drain()
    assert run.preempted >= 1
    assert run.finished[1].preemptions == 0
    assert run.finished[2].preemptions >= 1
    assert run.finished[1].finished_at < run.finished[2].finished_at
    assert any(outcome.recompute_gap_seconds for outcome in run.outcomes)


def test_an_aborted_request_frees_its_blocks_even_within_a_step() -> None:
    subject = engine()
    subject.submit(EngineRequest(1, 30, 10), 0.0)
    plan = subject.next_step(0.0)
    assert plan is not None
    assert subject.pool.available < 64
    assert subject.abort(1)
    assert subject.pool.available == 64
    assert subject.finish_step(plan.seconds).tokens == ()
    assert not subject.abort(1)


def test_requests_beyond_the_queue_or_the_cache_are_refused() -> None:
    subject = Engine(EngineSettings(num_blocks=4, block_size=4, max_waiting=1), STEP)
    assert subject.submit(EngineRequest(1, 12, 5), 0.0) is Refusal.TOO_LONG
    assert subject.submit(EngineRequest(2, 12, 4), 0.0) is None
    assert subject.submit(EngineRequest(3, 12, 4), 0.0) is Refusal.QUEUE_FULL
    with pytest.raises(ValueError, match="already"):
        subject.submit(EngineRequest(2, 1, 1), 0.0)


def test_no_step_is_taken_before_the_engine_is_ready() -> None:
    subject = Engine(EngineSettings(num_blocks=8, startup_seconds=5.0), STEP, created_at=100.0)
    subject.submit(EngineRequest(1, 4, 1), 100.0)
    assert subject.next_step(104.9) is None
    assert subject.ready_at == 105.0
    assert subject.next_step(105.0) is not None


def test_a_request_waits_for_a_lora_slot_and_others_pass_it() -> None:
    limits = EngineSettings(num_blocks=64, max_loras=1, lora_load_seconds=0.5)
    run = Run(Engine(limits, STEP))
    for request_id, lora in enumerate(["a", "b", None]):
        run.subject.submit(EngineRequest(request_id, 4, 2, lora=lora), 0.0)
    first = run.step()
    assert first is not None
    assert set(first.tokens) == {0, 2}
    assert first.plan.seconds > 0.5
    assert (run.subject.running_loras(), run.subject.waiting_loras(), run.subject.deferred()) == (("a",), ("b",), 1)
    run.drain()
    assert run.finished[1].scheduled_at >= run.finished[0].finished_at


def test_a_lora_adapter_in_a_slot_is_not_loaded_again() -> None:
    run = Run(Engine(EngineSettings(num_blocks=64, max_loras=1, lora_load_seconds=0.5), STEP))
    for request_id in (1, 2):
        run.subject.submit(EngineRequest(request_id, 4, 1, lora="a"), run.now)
        run.drain()
    assert [outcome.plan.seconds > 0.5 for outcome in run.outcomes] == [True, False]


def test_calls_out_of_order_are_errors() -> None:
    subject = engine()
    with pytest.raises(RuntimeError, match="no step"):
        subject.finish_step(0.0)
    subject.submit(EngineRequest(1, 4, 1), 0.0)
    subject.next_step(0.0)
    with pytest.raises(RuntimeError, match="in progress"):
        subject.next_step(0.0)


@pytest.mark.parametrize(
    "change",
    [{"num_blocks": 0}, {"max_num_batched_tokens": 4}, {"speed": 0.0}, {"max_waiting": -1}, {"startup_seconds": -1.0}],
    ids=str,
)
def test_impossible_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least|positive|negative"):
        EngineSettings(**({"num_blocks": 8} | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [EngineSettings(8, speed=2.0, max_waiting=3), EngineRequest(1, 4, 2, (1, 2), "a"), STEP],
    ids=lambda x: type(x).__name__,
)
def test_what_an_engine_is_made_of_and_asked_can_be_sent_to_another_process(given: object) -> None:
    assert pickle.loads(pickle.dumps(given)) == given


def test_prompts_that_are_not_whole_are_told_with_what_is_left_of_them() -> None:
    """In the batch less what the step in progress computes; in the queue in full, cached or not."""
    run = Run(engine(budget=64, seqs=64))
    first, second = EngineRequest(1, 100, 4, tuple(range(25))), EngineRequest(2, 40, 4, tuple(range(10)))
    run.subject.submit(first, 0.0)
    run.subject.submit(second, 0.0)
    assert (run.subject.prefilling(), run.subject.queued()) == ([], [(first, 100), (second, 40)])
    run.subject.next_step(0.0)
    assert (run.subject.prefilling(), run.subject.queued()) == ([(first, 36)], [(second, 40)])
    run.subject.finish_step(1.0)
    run.step()
    assert (run.subject.prefilling(), run.subject.queued()) == ([], [])
