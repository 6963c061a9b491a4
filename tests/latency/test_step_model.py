"""The step model."""

import math

import pytest

from infscale.latency.step_model import StepModel

MODEL = StepModel(0.01, 1e-4, 1e-6, 1e-3)


def test_a_step_takes_its_base_and_what_is_in_it() -> None:
    assert MODEL.seconds(100, 5000, 8) == pytest.approx(0.01 + 0.01 + 0.005 + 0.008)


def test_a_scaled_model_takes_so_many_times_as_long() -> None:
    assert MODEL.scaled(2.2).seconds(100, 5000, 8) == pytest.approx(2.2 * MODEL.seconds(100, 5000, 8))


@pytest.mark.parametrize(
    ("model", "sound"),
    [
        (MODEL, True),
        (StepModel(0.01, 0.0, 0.0, 0.0), True),
        (StepModel(0.0, 1e-4, 1e-6, 0.0), False),
        (StepModel(-0.01, 0.0, 0.0, 1.0), False),
        (StepModel(math.nan, 0.0, 0.0, 1.0), False),
        (StepModel(math.inf, 0.0, 0.0, 1.0), False),
    ],
)
def test_sound_is_what_can_be_a_duration(model: StepModel, *, sound: bool) -> None:
    assert model.is_sound is sound
