"""How full KV caches are now: what the last page says, and what was sent and has ended since."""

from typing import Final

import numpy as np

from infscale.metrics.sample import FloatArray
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.plugin import SchedulingContext

GROWTH_SECONDS: Final = 0.5
"""What has a place for less than that has none: what it would be in the way of is preempted by its engine, or it is."""


def unfit_tokens(context: SchedulingContext) -> FloatArray:
    """Tokens of the prompt of `context` that have no place in each KV cache now; not above 0 where it has one.

    Engines let a prompt wait that has none until others end. Answers grow by a token in each step from when the page
    was made until `GROWTH_SECONDS` from now. What is in use is unknown, and so nothing is unfit, where the page does
    not say it.
    """
    snapshot, clock = context.snapshot, context.memory.clock
    capacity = np.where(np.isfinite(clock.capacity_tokens), clock.capacity_tokens, np.nan)
    steps = step_costs(snapshot).decode_seconds(clock.context_tokens, snapshot.in_flight_requests)
    used = snapshot.columns.gauges.kv_utilization * capacity + clock.cache_tokens_since
    grown = np.maximum(context.now - snapshot.columns.observed_at, 0.0) + GROWTH_SECONDS
    used += snapshot.in_flight_requests * grown / steps
    uncached = np.maximum(context.request.prompt_tokens - context.prefix.matched_tokens, 1.0)
    unfit: FloatArray = np.nan_to_num(used + uncached - capacity, nan=-1.0)
    return unfit
