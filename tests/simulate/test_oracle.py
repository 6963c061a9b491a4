"""The oracle sees engines as they are: what it expects of them is what becomes of them."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from bench.oracle import EngineState, OracleRouter, oracle_policy
from infscale.latency.step_model import StepModel
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import Recorder
from infscale.sim.engine.steps import EngineRequest, EngineSettings
from infscale.sim.engine.virtual_engine import VirtualEngine
from infscale.simulate.policy import named_policy
from infscale.simulate.scenario import ServerKind
from infscale.simulate.simulation import Simulation, simulate
from tests.simulate.scenarios import KIND, SharedPrefixes, scenario

STEP = StepModel(base=0.01, per_prefill_token=1e-4, per_kv_token=0.0, per_sequence=0.0)
BLOCK = 16


def engine(speed: float = 1.0) -> VirtualEngine:
    limits = EngineSettings(num_blocks=1000, block_size=BLOCK, max_num_batched_tokens=512, speed=speed)
    return VirtualEngine(Engine(limits, STEP), Recorder(limits.capacity_tokens))


def asked(number: int, tokens: int, text: int | None = None) -> EngineRequest:
    """A prompt of `tokens`; of those of one `text`, the shorter is the beginning of the longer."""
    start = 1000 * (number if text is None else 100 + text)
    return EngineRequest(number, tokens, 50, tuple(range(start, start + tokens // BLOCK)))


def state(virtual: VirtualEngine, now: float, *arriving: EngineRequest) -> EngineState:
    virtual.advance(now)
    return EngineState.of(virtual, arriving, asked(99, 320, text=1), now)


@pytest.mark.parametrize("speed", [1.0, 0.5])
@pytest.mark.parametrize("now", [0.0, 0.05, 0.1, 0.3])
def test_what_is_pending_is_when_the_last_prompt_is_computed(now: float, speed: float) -> None:
    """In the batch, in the middle of its prefill, and in the queue; of a slower engine it is more."""
    virtual = engine(speed)
    for number in range(4):
        virtual.submit(asked(number, 1000), 0.0)
    expected = now + state(virtual, now).pending_seconds
    first = virtual.advance(100.0).first_tokens
    # A step that is not full takes as long as a full one but for its tokens.
    assert expected == pytest.approx(max(at for _, at in first), abs=STEP.base / speed)


def test_an_engine_that_only_decodes_has_nothing_pending() -> None:
    virtual = engine()
    virtual.submit(asked(1, 160), 0.0)
    found = state(virtual, 0.2)
    assert (found.pending_seconds, found.running, found.waiting) == (0.0, 1, 0)
    assert found.context_tokens == virtual.engine.kv_tokens > 160
    assert found.held_tokens == pytest.approx(virtual.engine.pool.usage_ratio * 1000 * BLOCK)


def test_what_is_on_its_way_counts_as_what_waits() -> None:
    virtual, idle = engine(), engine()
    virtual.submit(asked(1, 400), 0.0)
    here, coming = (
        EngineState.of(virtual, (), asked(9, 16), 0.0),
        EngineState.of(idle, [asked(1, 400)], asked(9, 16), 0.0),
    )
    assert here == coming
    assert here.requests == 1
    assert here.pending_seconds == pytest.approx(0.04 + 0.01 * 400 / 512)


def test_a_prompt_is_cached_as_far_as_those_before_it_are() -> None:
    """In the cache, in the queue, on its way; its last token is computed at any rate."""
    virtual = engine()
    assert state(virtual, 0.0).cached_tokens == 0
    assert state(virtual, 0.0, asked(3, 100, text=1)).cached_tokens == 96
    virtual.submit(asked(1, 160, text=1), 0.0)
    assert state(virtual, 0.0, asked(3, 100, text=1)).cached_tokens == 160
    assert state(virtual, 90.0).cached_tokens == 160
    virtual.submit(asked(2, 480, text=1), 90.0)
    assert EngineState.of(virtual, (), asked(99, 320, text=1), 90.0).cached_tokens == 304
    # Of what is cached, nothing has to be computed.
    assert EngineState.of(virtual, (), asked(9, 16), 90.0).pending_seconds == pytest.approx(0.032 + 0.01 * 320 / 512)


def test_adapters_are_those_of_the_batch_and_of_what_is_not_there_yet() -> None:
    virtual = engine()
    for number, lora in enumerate(("a", "b", None)):
        virtual.submit(replace(asked(number, 160), lora=lora), 0.0)
    virtual.advance(0.0)
    virtual.submit(replace(asked(7, 160), lora="c"), 0.0)
    found = EngineState.of(virtual, [replace(asked(8, 160), lora="d")], asked(9, 16), 0.0)
    assert (found.lora.running, found.lora.waiting, found.lora.max_adapters) == ({"a", "b"}, {"c", "d"}, 4)


def test_the_oracle_answers_all_and_the_same_again() -> None:
    run = Simulation(scenario(), pickle.loads(pickle.dumps(oracle_policy())), 3)
    result = run.run()
    assert isinstance(run.router, OracleRouter)
    assert result.requests.answered.all()
    assert len(result.requests) == 120
    again = simulate(scenario(), oracle_policy(), 3)
    assert again.requests.ended.tobytes() == result.requests.ended.tobytes()
    assert result.counts == {}


def test_the_oracle_knows_which_servers_are_slow_from_the_first_request_on() -> None:
    """Where nothing is shared, none of the first four goes to the slow half."""
    slow = ServerKind(KIND.coefficients, speed=0.25)
    played = scenario(traffic=SharedPrefixes(requests=4, rate=1000.0, prefixes=4000))
    played = replace(played, servers=(slow, slow, *[KIND] * 4))
    for seed in range(3):
        assert sorted(simulate(played, oracle_policy(), seed).requests.server.tolist()) == [2, 3, 4, 5]


def test_the_oracle_is_not_worse_than_the_picker() -> None:
    played = scenario(traffic=SharedPrefixes(requests=300, rate=14.0))
    known, guessed = (
        simulate(played, policy, 1).requests.ttft for policy in (oracle_policy(), named_policy("infscale"))
    )
    assert np.quantile(known, 0.9) <= 1.05 * np.quantile(guessed, 0.9)
