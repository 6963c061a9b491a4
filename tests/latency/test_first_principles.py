"""Step models from what is known of hardware."""

import pytest

from infscale.latency.closed_loop import ClosedLoopPoint
from infscale.latency.first_principles import GPUS, estimated
from infscale.latency.known_names import ModelName
from infscale.sim.engine.coefficients import COEFFICIENT_SETS

LLAMA = ModelName.of("meta-llama/Llama-3.1-8B-Instruct")
LOAD = ClosedLoopPoint(1024, 512, 32, 1.0, 1.0).step


@pytest.mark.parametrize("name", ["llama-3.1-8b-h100", "qwen2.5-7b-h100", "qwen3-14b-h100", "qwen3-32b-h100-tp2"])
def test_published_fits_are_met_within_a_third(name: str) -> None:
    known = COEFFICIENT_SETS[name]
    found = estimated(ModelName.of(known.model), "h100", known.gpus)
    assert found is not None
    assert found.seconds(*LOAD) == pytest.approx(known.steps.seconds(*LOAD), rel=1 / 3)


@pytest.mark.parametrize("gpu", GPUS)
def test_more_gpus_and_fewer_bits_are_faster(gpu: str) -> None:
    one, two = estimated(LLAMA, gpu, 1), estimated(LLAMA, gpu, 2)
    eight_bits = estimated(ModelName.of("Llama-3.1-8B-FP8"), gpu, 1)
    assert one is not None
    assert two is not None
    assert eight_bits is not None
    assert one.is_sound
    assert two.seconds(*LOAD) < one.seconds(*LOAD)
    assert eight_bits.seconds(*LOAD) < one.seconds(*LOAD)


@pytest.mark.parametrize(
    ("model", "gpu", "gpus"),
    [("Llama-3.1-8B", "unheard-of", 1), ("mixtral-8x7b", "h100", 2), ("Llama-3.1-8B", "h100", 0)],
)
def test_what_is_not_known_is_not_estimated(model: str, gpu: str, gpus: int) -> None:
    assert estimated(ModelName.of(model), gpu, gpus) is None
