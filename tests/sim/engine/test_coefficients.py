"""Coefficient sets: they can be found by name and are within physical reason."""

import pytest

from infscale.errors import ConfigError
from infscale.sim.engine.coefficients import COEFFICIENT_SETS, CoefficientSet, coefficient_set


def test_an_unknown_set_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        coefficient_set("gpt-9-abacus")
    assert all(name in str(caught.value) for name in COEFFICIENT_SETS)


@pytest.mark.parametrize("chosen", COEFFICIENT_SETS.values(), ids=COEFFICIENT_SETS)
def test_a_set_is_physically_plausible(chosen: CoefficientSet) -> None:
    """Decoding one sequence takes 5–100 ms, prefill runs at 3,000–60,000 tokens/s, a 2,000-token prompt fits."""
    assert 0.005 < chosen.steps.seconds(0, 1000, 1) < 0.1
    assert 3_000 < 1 / chosen.steps.per_prefill_token < 60_000
    assert chosen.num_blocks * chosen.block_size > 2_000
    assert chosen.load_seconds > 0


def test_the_published_kv_capacity_is_kept() -> None:
    chosen = coefficient_set("qwen3-32b-h100-tp2")
    assert chosen.num_blocks * chosen.block_size == 307_328
