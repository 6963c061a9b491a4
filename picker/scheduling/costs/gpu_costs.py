"""What a request takes of an endpoint, in GPU seconds: its prefill, and its share of the steps that make its answer."""

from picker.request import GpuCost
from picker.scheduling.costs.step_costs import StepCosts


def gpu_cost(
    costs: StepCosts, row: int, prefill_seconds: float, context_tokens: float, output_tokens: float, batch: float
) -> GpuCost:
    """The cost of a request at the endpoint of `row`, in a `batch` of so many with it.

    ``prefill + L · (a/N + c · context + d)``: the base of a step is shared by the sequences of a batch, the rest is a
    sequence's own, so that the costs of all add up to the time that the endpoint works.
    """
    base, own = float(costs.base[row]), float(costs.per_sequence[row])
    own += float(costs.per_kv_token[row]) * context_tokens
    return GpuCost(prefill_seconds, base / batch + own, output_tokens, base + batch * own)
