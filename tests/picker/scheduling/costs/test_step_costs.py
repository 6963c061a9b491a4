"""What steps cost: which models are used, and what stands in place of those that are not."""

import pytest

from infscale.latency.step_model import StepModel
from picker.scheduling.costs.step_costs import USUAL_STEPS, StepCosts, step_costs
from tests.fakes.pools import FakePool

FAST, SLOW, MIDDLE = (
    StepModel(0.01 * factor, 20e-6 * factor, 1e-8 * factor, 1e-5 * factor) for factor in (1.0, 3.0, 2.0)
)


def costs(*models: StepModel | None, errors: tuple[float, ...] = ()) -> StepCosts:
    return step_costs(FakePool(len(models), steps=models, step_errors=errors).snapshot())


def test_an_endpoint_costs_what_its_own_model_says() -> None:
    found = costs(FAST, SLOW)
    assert found.base.tolist() == [FAST.base, SLOW.base]
    assert found.per_prefill_token.tolist() == [FAST.per_prefill_token, SLOW.per_prefill_token]


def test_medians_of_the_pool_stand_in_for_a_model_that_is_unknown_or_wrong() -> None:
    found = costs(FAST, None, SLOW, SLOW, MIDDLE, errors=(0.0, 0.0, 0.0, 0.5, 0.0))
    assert found.base.tolist() == pytest.approx([0.01, 0.02, 0.03, 0.02, 0.02])
    assert found.per_kv_token.tolist() == pytest.approx([1e-8, 2e-8, 3e-8, 2e-8, 2e-8])


def test_a_pool_of_which_nothing_is_known_costs_what_is_usual() -> None:
    for found in (costs(None, None), costs(FAST, SLOW, errors=(0.41, 0.5))):
        assert found.base.tolist() == [USUAL_STEPS.base] * 2
        assert found.per_prefill_token.tolist() == [USUAL_STEPS.per_prefill_token] * 2


def test_a_prefill_is_never_thought_to_be_cheaper_than_it_may_be() -> None:
    found = costs(FAST, FAST, errors=(0.0, 0.25))
    assert found.per_prefill_token.tolist() == pytest.approx([20e-6, 25e-6])


def test_a_prefill_takes_its_tokens_and_its_share_of_steps() -> None:
    """Two full steps of prompt beside ten sequences that hold 100,000 tokens."""
    seconds = costs(FAST).prefill_seconds(0, 16_384, 100_000, 10)
    assert seconds == pytest.approx(16_384 * 20e-6 + 2 * (0.01 + 1e-3 + 1e-4))


def test_what_is_the_same_everywhere_costs_each_endpoint_its_own_seconds() -> None:
    found = costs(FAST, SLOW)
    added = [1000 * each.per_prefill_token + 5e4 * each.per_kv_token + 7 * each.per_sequence for each in (FAST, SLOW)]
    assert found.seconds(1000, 5e4, 7).tolist() == pytest.approx(added, rel=1e-12)
    assert found.mean_per_prefill_token == pytest.approx(2 * FAST.per_prefill_token)


def test_a_pool_without_endpoints_costs_nothing() -> None:
    assert costs().seconds(1.0, 1.0, 1.0).tolist() == []
    assert costs().mean_per_prefill_token == 0.0


def test_one_state_of_the_store_is_worked_out_once() -> None:
    snapshot = FakePool(1, steps=[FAST]).snapshot()
    assert step_costs(snapshot) is step_costs(snapshot)
