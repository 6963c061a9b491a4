"""Samples made of engines are those that the product reads from their pages."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.metrics.pages.dialects import VLLM
from infscale.metrics.pages.interpreter import interpret
from infscale.metrics.sample import EngineSample
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import HttpRecorder, Recorder
from infscale.sim.engine.steps import EngineRequest, EngineSettings
from infscale.sim.pages.engine_pages import PageSubject, vllm_page
from infscale.sim.pages.families import PageView, RankView
from infscale.simulate.world.engine_sampling import EngineSampler, SampledServer
from tests.simulate.scenarios import KIND

SETTINGS = EngineSettings(num_blocks=60, max_num_seqs=4, max_num_batched_tokens=64, max_loras=2)
SUBJECT = PageSubject("model", 1, SETTINGS.block_size, SETTINGS.num_blocks, SETTINGS.capacity_tokens, 2, 1.7e9)
SERVER = SampledServer(SUBJECT)


def worked(seed: int, steps: int) -> tuple[Engine, Recorder]:
    """An engine after some steps with requests at random, and what it recorded."""
    rng, now = random.Random(seed), 0.0
    engine, recorder = Engine(SETTINGS, KIND.coefficients.steps), Recorder(SETTINGS.capacity_tokens)
    for number in range(steps):
        if rng.random() < 0.5:
            hashes = tuple(range(rng.randrange(4)))
            lora = rng.choice([None, "sql", "chat", "code"])
            engine.submit(EngineRequest(number, rng.randrange(64, 400), rng.randrange(1, 12), hashes, lora), now)
        plan = engine.next_step(now)
        if plan is None:
            continue
        now += plan.seconds
        outcome = engine.finish_step(now)
        recorder.record_step(outcome)
        for done in outcome.finished:
            recorder.record_finished(done, rng.choice(["stop", "length"]), None)
    return engine, recorder


def page_of(engine: Engine, recorder: Recorder, *, idle: bool, asleep: bool) -> bytes:
    view = RankView(
        0 if idle else engine.waiting,
        0 if idle else engine.deferred(),
        0 if idle else engine.running,
        0.0 if idle else engine.pool.usage_ratio,
        0 if idle else engine.kv_tokens,
        () if idle else engine.running_loras(),
        () if idle else engine.waiting_loras(),
        recorder,
    )
    whole = PageView((view,), HttpRecorder(()), 1.0, 1.7e9 + 5, asleep)
    return vllm_page(SUBJECT).render(whole).encode()


def comparable(sample: EngineSample) -> dict[str, object]:
    """All of a sample but its fingerprint, which has a meaning only beside another of the same maker."""
    found = {name: getattr(sample, name) for name in EngineSample.__dataclass_fields__}
    del found["fingerprint"]
    counts = found.pop("counts")
    return found | {"layout": counts.layout, "row": counts.row.tolist()}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60), st.booleans(), st.booleans())
def test_a_sample_is_what_the_interpreter_reads_from_the_page(seed: int, steps: int, idle: bool, asleep: bool) -> None:
    """Whatever the engine did, lied about, or slept through."""
    engine, recorder = worked(seed, steps)
    made = EngineSampler(SERVER, engine, recorder).sample(idle=idle, asleep=asleep)
    read = interpret(page_of(engine, recorder, idle=idle, asleep=asleep), VLLM)
    assert comparable(made) == comparable(read)
    assert not made.counts.row.flags.writeable


def test_two_samples_have_one_fingerprint_exactly_while_the_page_stands_still() -> None:
    """What the page's own fingerprint says."""
    engine, recorder = worked(1, 30)
    sampler = EngineSampler(SERVER, engine, recorder)
    before = sampler.sample()
    assert sampler.sample().fingerprint == before.fingerprint
    recorder.generation_tokens += 1
    after = sampler.sample()
    assert after.fingerprint != before.fingerprint
    assert np.count_nonzero(after.counts.row != before.counts.row) == 1
