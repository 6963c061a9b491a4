"""An engine in virtual time does what it does step by step, and says in time when it is worth a look."""

from dataclasses import fields
from heapq import heappop, heappush
from random import Random

import pytest

from infscale.latency.step_model import StepModel
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import Histogram, Recorder
from infscale.sim.engine.steps import EngineRequest, EngineSettings, FinishedRequest, Refusal
from infscale.sim.engine.virtual_engine import VirtualEngine
from tests.sim.engine.reference_engine import ReferenceEngine

STEP = StepModel(base=0.01, per_prefill_token=1e-4, per_kv_token=1e-6, per_sequence=1e-3)
TOKEN_LIMIT = 1000
NEVER = float("inf")


class StepByStep:
    """The plain engine, one event a step."""

    def __init__(self, limits: EngineSettings) -> None:
        self.engine, self.recorder = ReferenceEngine(limits, STEP), Recorder(TOKEN_LIMIT)
        self.due = NEVER
        self.in_step = False
        self.first_tokens: list[tuple[int, float]] = []
        self.finished: list[FinishedRequest] = []
        self._seen: set[int] = set()

    def submit(self, request: EngineRequest, now: float) -> Refusal | None:
        refusal = self.engine.submit(request, now)
        if refusal is not None:
            self.recorder.rejections += 1
        elif not self.in_step:
            self.due = max(now, self.engine.ready_at)
        return refusal

    def abort(self, request_id: int) -> bool:
        dropped = self.engine.abort(request_id)
        self.recorder.finished["abort"] += dropped
        return dropped

    def advance(self, now: float) -> None:
        while self.due <= now:
            at = self.due
            if self.in_step:
                self._finish(at)
            plan = self.engine.next_step(at)
            self.in_step = plan is not None
            self.due = NEVER if plan is None else at + plan.seconds

    def _finish(self, at: float) -> None:
        outcome = self.engine.finish_step(at)
        self.recorder.record_step(outcome)
        self.first_tokens += [(each, at) for each in outcome.tokens if each not in self._seen]
        self._seen.update(outcome.tokens)
        for done in outcome.finished:
            self.recorder.record_finished(done, "length", None)
        self.finished += outcome.finished


def counted(recorder: Recorder) -> list[object]:
    """All that a page can show of it."""
    histograms = [getattr(recorder.histograms, each.name) for each in fields(recorder.histograms)]
    shown: list[object] = [(each.counts, each.sum, each.total) for each in histograms if isinstance(each, Histogram)]
    return [*shown, recorder.prompt_tokens, recorder.generation_tokens, recorder.prefix_queries, recorder.prefix_hits,
            recorder.preemptions, recorder.rejections, recorder.busy_seconds, recorder.finished]  # fmt: skip


def request(number: int, rng: Random) -> EngineRequest:
    tokens, seed = rng.randint(1, 40), rng.choice((0, 1, 1, 2))
    blocks = tuple(1000 * seed + place for place in range(tokens // 4 if seed else 0))
    return EngineRequest(number, tokens, rng.randint(1, 40), blocks, rng.choice((None, None, None, "a", "b")))


@pytest.mark.parametrize("seed", range(10))
def test_it_is_the_plain_engine_whenever_one_looks(seed: int) -> None:
    """Looked at and disturbed at random times and when it says, it is told of everything at the time it happens."""
    rng = Random(seed)
    limits = EngineSettings(
        num_blocks=rng.randint(20, 30), block_size=4, max_num_seqs=rng.randint(2, 16), max_num_batched_tokens=64,
        max_waiting=6, max_loras=1, startup_seconds=rng.choice((0.0, 1.0)), speed=rng.choice((1.0, 0.6)),
    )  # fmt: skip
    plain, quick = StepByStep(limits), VirtualEngine(Engine(limits, STEP), Recorder(TOKEN_LIMIT))
    first_tokens: list[tuple[int, float]] = []
    finished: list[FinishedRequest] = []
    events: list[tuple[float, int]] = []
    for number in range(150):
        heappush(events, (rng.uniform(0.0, 6.0 if seed % 2 else 30.0), number))
    while events or quick.wake_at < NEVER:
        woken = not events or quick.wake_at <= events[0][0]
        now, number = (quick.wake_at, -1) if woken else heappop(events)
        progress = quick.advance(now)
        assert all(at == now for _, at in progress.first_tokens), "it was woken late"
        assert all(done.finished_at == now for done in progress.finished), "it was woken late"
        first_tokens += progress.first_tokens
        finished += progress.finished
        plain.advance(now)
        if number % 5 == 1:
            assert quick.abort(number - 1) == plain.abort(number - 1)
        elif number >= 0:
            new = request(number, rng)
            assert quick.submit(new, now) == plain.submit(new, now)
        assert (quick.engine.waiting, quick.engine.running) == (plain.engine.waiting, plain.engine.running)
        assert quick.engine.kv_tokens == plain.engine.kv_tokens
        assert quick.engine.pool.usage_ratio == plain.engine.pool.usage_ratio
        assert counted(quick.recorder) == counted(plain.recorder)
    assert (first_tokens, finished) == (plain.first_tokens, plain.finished)
    assert quick.recorder.preemptions > 0


def test_steps_that_only_give_tokens_need_no_wake() -> None:
    quick = VirtualEngine(Engine(EngineSettings(num_blocks=100), STEP), Recorder(TOKEN_LIMIT))
    quick.submit(EngineRequest(1, 10, 200), 0.0)
    wakes = 0
    finished: list[FinishedRequest] = []
    while quick.wake_at < NEVER:
        finished += quick.advance(quick.wake_at).finished
        wakes += 1
    assert [done.request.id for done in finished] == [1]
    assert quick.recorder.generation_tokens == 200
    assert wakes <= 4


def test_of_a_request_whose_client_goes_away_with_its_last_token_an_abort_is_recorded() -> None:
    quick = VirtualEngine(Engine(EngineSettings(num_blocks=100), STEP), Recorder(TOKEN_LIMIT))
    quick.submit(EngineRequest(1, 10, 3), 0.0, finish_reason="abort")
    finished: list[FinishedRequest] = []
    while quick.wake_at < NEVER:
        finished += quick.advance(quick.wake_at).finished
    assert [done.request.id for done in finished] == [1]
    assert (quick.recorder.finished["abort"], quick.recorder.generation_tokens) == (1, 3)
    assert quick.recorder.histograms.end_to_end.total == 0


def test_requests_of_one_time_start_in_one_step() -> None:
    quick = VirtualEngine(Engine(EngineSettings(num_blocks=100), STEP), Recorder(TOKEN_LIMIT))
    for number in (1, 2):
        quick.submit(EngineRequest(number, 10, 5), 3.0)
    assert quick.wake_at == 3.0
    quick.advance(3.0)
    assert [each for each, _ in quick.advance(quick.wake_at).first_tokens] == [1, 2]


def test_it_is_known_until_when_prompts_are_computed() -> None:
    """The end of the step under way, and later that of the last one that computed any."""
    limits = EngineSettings(num_blocks=100, max_num_batched_tokens=256)
    virtual = VirtualEngine(Engine(limits, STEP), Recorder(TOKEN_LIMIT))
    assert virtual.prefills_until == -NEVER
    virtual.submit(EngineRequest(1, 300, 9), 0.0)
    virtual.advance(0.0)
    assert virtual.prefills_until == virtual.wake_at == pytest.approx(0.01 + 256e-4 + 256e-6 + 1e-3)
    (first,) = virtual.advance(0.1).first_tokens
    assert virtual.prefills_until == first[1]
    virtual.advance(9.0)
    assert virtual.prefills_until == first[1]
