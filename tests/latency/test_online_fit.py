"""The step model of one engine, learnt from what it is seen to take."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.latency.online_fit import OnlineFit
from infscale.latency.step_model import StepModel

TRUE = StepModel(12e-3, 45e-6, 0.05e-6, 60e-6)
PRIOR = StepModel(15e-3, 30e-6, 0.08e-6, 40e-6)


def work(rng: random.Random) -> tuple[float, float, float]:
    """Prompt tokens, context tokens and sequences of some step."""
    sequences = rng.randint(1, 64)
    return rng.choice((0, 0, 200, 1500)), sequences * rng.uniform(500, 3000), sequences


def taught(fit: OnlineFit, model: StepModel, steps: int, rng: random.Random, noise: float = 0.02) -> OnlineFit:
    for _ in range(steps):
        step = work(rng)
        fit.learn(*step, model.seconds(*step) * math.exp(rng.gauss(0.0, noise)))
    return fit


def worst(fit: OnlineFit, model: StepModel, rng: random.Random) -> float:
    """The largest relative error over some steps."""
    assert fit.model is not None
    steps = [work(rng) for _ in range(100)]
    return max(abs(fit.model.seconds(*step) / model.seconds(*step) - 1.0) for step in steps)


def test_an_engine_of_which_nothing_is_known_is_known_roughly_after_few_observations_and_well_after_many() -> None:
    rng, fit = random.Random(1), OnlineFit()
    assert fit.model is None
    taught(fit, TRUE, 1, rng)
    assert fit.model is None
    taught(fit, TRUE, 4, rng)
    assert worst(fit, TRUE, rng) < 0.8
    assert fit.error < 0.4
    taught(fit, TRUE, 60, rng)
    assert worst(fit, TRUE, rng) < 0.1
    assert fit.error < 0.1


def test_an_anchor_is_the_model_until_something_is_seen() -> None:
    fit = OnlineFit()
    fit.lean_on(PRIOR, 0.12)
    assert fit.model is not None
    assert fit.model.coefficients == pytest.approx(PRIOR.coefficients)
    assert fit.error == 0.12
    taught(fit, TRUE, 200, random.Random(2))
    assert worst(fit, TRUE, random.Random(3)) < 0.08


def test_a_few_observations_say_how_fast_an_engine_is_and_leave_the_shape_to_the_anchor() -> None:
    fit = OnlineFit()
    fit.lean_on(PRIOR, 0.1)
    slow = PRIOR.scaled(2.0)
    for _ in range(8):
        fit.learn(0.0, 20_000.0, 10.0, slow.seconds(0.0, 20_000.0, 10.0))
    assert fit.model is not None
    # No prompt was seen, and yet prompts are known to take longer, too.
    assert fit.model.per_prefill_token > 1.5 * PRIOR.per_prefill_token


def test_single_strays_are_not_learnt() -> None:
    rng, fit = random.Random(4), OnlineFit()
    taught(fit, TRUE, 100, rng)
    before = fit.model
    assert not fit.learn(0.0, 20_000.0, 10.0, 5.0)
    assert fit.model == before
    taught(fit, TRUE, 20, rng)
    assert worst(fit, TRUE, rng) < 0.1


@pytest.mark.parametrize("factor", [2.0, 0.4])
def test_a_change_of_speed_is_learnt_within_a_few_observations(factor: float) -> None:
    rng, fit = random.Random(5), OnlineFit()
    taught(fit, TRUE, 200, rng)
    taught(fit, TRUE.scaled(factor), 12, rng)
    assert worst(fit, TRUE.scaled(factor), rng) < 0.15


def test_the_error_says_how_wrong_predictions_are() -> None:
    rng, fit = random.Random(6), OnlineFit()
    taught(fit, TRUE, 200, rng)
    assert fit.error < 0.05
    for _ in range(200):
        step = work(rng)
        fit.learn(*step, rng.choice((1e-3, 1e-2, 1e-1, 1.0)))
    assert fit.error > 0.4


def test_others_are_not_heard_once_enough_was_seen() -> None:
    fit = taught(OnlineFit(), TRUE, 60, random.Random(7))
    before = fit.model
    fit.lean_on(PRIOR, 0.0)
    assert fit.model == before


_WILD = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(_WILD, _WILD, _WILD, _WILD), max_size=80))
@settings(max_examples=50)
def test_whatever_a_page_says_the_model_is_sound(observations: list[tuple[float, float, float, float]]) -> None:
    fit = OnlineFit()
    for prefill, kv, sequences, seconds in observations:
        fit.learn(prefill, kv, sequences, seconds)
    assert fit.model is None or fit.model.is_sound
    assert 0.0 <= fit.error <= 1.0


def test_an_engine_that_is_unlike_its_first_observations_is_not_trusted_soon() -> None:
    """Observations that contradict each other keep the error above what may be used."""
    rng, fit = random.Random(4), OnlineFit()
    for _ in range(12):
        fit.learn(0.0, 1e4, 16.0, 0.01 * 4.0 ** rng.uniform(-1.0, 1.0))
    assert fit.error > 0.4
