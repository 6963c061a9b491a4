"""How full KV caches are now: what the last page says, and what was sent and has ended since."""

import math
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
    usage, observed_at = snapshot.columns.gauges.kv_utilization, snapshot.columns.observed_at
    capacity = clock.capacity_tokens
    known = np.isfinite(usage + capacity + observed_at)
    steps = step_costs(snapshot).decode_seconds(clock.context_tokens, snapshot.in_flight_requests)
    grown = np.maximum(context.now - np.where(known, observed_at, context.now), 0.0) + GROWTH_SECONDS
    needed = (np.where(known, usage, 0.0) - 1.0) * np.where(known, capacity, 0.0) + clock.cache_tokens_since
    needed += snapshot.in_flight_requests * grown / steps
    needed += np.maximum(context.request.prompt_tokens - context.prefix.matched_tokens, 1.0)
    unfit: FloatArray = np.where(known, needed, -1.0)
    return unfit


def unfit_tokens_of(context: SchedulingContext, row: int, uncached_tokens: float) -> float:
    """`unfit_tokens` of one row, of a prompt of which so much is not cached there."""
    snapshot, clock = context.snapshot, context.memory.clock
    columns, capacity = snapshot.columns, float(clock.capacity_tokens[row])
    usage, observed_at = float(columns.gauges.kv_utilization[row]), float(columns.observed_at[row])
    if not math.isfinite(usage + capacity + observed_at):
        return -1.0
    in_flight = float(snapshot.in_flight_requests[row])
    step = step_costs(snapshot).decode_seconds_of(row, float(clock.context_tokens[row]), in_flight)
    grown = max(context.now - observed_at, 0.0) + GROWTH_SECONDS
    needed = (usage - 1.0) * capacity + float(clock.cache_tokens_since[row])
    return needed + in_flight * grown / step + uncached_tokens
