"""What requests cost in GPU seconds, before and after they have ended."""

import numpy as np
import pytest

from picker.request import GpuCost, Outcome
from picker.scheduling.costs.gpu_costs import gpu_cost
from picker.scheduling.costs.step_costs import StepCosts

COSTS = StepCosts(np.array([0.02]), np.array([50e-6]), np.array([0.1e-6]), np.array([30e-6]))


def test_the_costs_of_a_batch_add_up_to_the_time_of_its_steps() -> None:
    """Ten sequences of 1,000 tokens for 100 steps: as long as the endpoint works for them."""
    each = gpu_cost(COSTS, 0, 0.0, 1_000.0, 100.0, 10.0)
    steps = 100 * float(COSTS.decode_seconds(np.array([10_000.0]), np.array([10.0]))[0])
    assert 10 * each.seconds == pytest.approx(steps)
    assert each.step_seconds == pytest.approx(steps / 100)


@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [
        pytest.param(Outcome("completed", 200, completion_tokens=10), 1.5, id="as many tokens as it had"),
        pytest.param(Outcome("completed", 200, first_byte_seconds=1.0, duration_seconds=9.0), 6.0, id="not said"),
        pytest.param(Outcome("aborted", 200, first_byte_seconds=1.0, duration_seconds=2.0), 2.0, id="given up"),
        pytest.param(Outcome("aborted", 200, first_byte_seconds=1.0, duration_seconds=99.0), 6.0, id="at the most"),
        pytest.param(Outcome("aborted"), 1.0, id="given up before it began"),
        pytest.param(Outcome("completed", 503, first_byte_seconds=1.0), 0.0, id="refused by the endpoint"),
    ],
)
def test_a_request_is_settled_by_what_is_known_of_its_end(outcome: Outcome, seconds: float) -> None:
    """A second of prefill, and 100 tokens of 50 ms each, in steps of 50 ms."""
    cost = GpuCost(1.0, 0.05, 100.0, 0.05)
    assert cost.seconds == pytest.approx(6.0)
    assert cost.settled(outcome) == pytest.approx(seconds)
