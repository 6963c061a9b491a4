"""What a request that is to wait will take, as far as that is known before an endpoint is chosen."""

from typing import Final

import numpy as np

from infscale.frozen_values import value
from infscale.metrics.snapshot import IntArray
from picker.flow.room import soonest_room
from picker.scheduling.costs.gpu_costs import gpu_cost
from picker.scheduling.costs.prefill_clock import IN_TRANSIT_SECONDS
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.prediction import Objectives

_STEPS: Final = 2.0
"""A request that is sent waits for the step that runs and for what an endpoint has to compute beyond that, which may be
another step. Either has a prompt in it."""
_LEAST_SECONDS: Final = 1e-3


@value
class Prospect:
    """Of one request: its priority, the model it would be sent as, its lane in a queue, and what it takes at the
    endpoint that has most of it cached.

    `hit_share` is the share of the prompt that is cached there. Within `wanted_seconds` its prefill has to be over, so
    that its first token comes in the time that it asks for; 0 where the request does not say. No endpoint of its lane
    has room before `soonest_seconds` from now, if none of the requests that it has is given up.
    """

    priority: int
    model: str
    lane: str
    prompt_tokens: float
    hit_share: float
    prefill_seconds: float
    cost_seconds: float
    wanted_seconds: float
    soonest_seconds: float


def prospect(context: SchedulingContext, lane: str, rows: IntArray) -> Prospect:
    """The prospect of the request of `context`, which may go to `rows`; without any, nothing costs anything."""
    facts, prefix, snapshot = context.request, context.prefix, context.snapshot
    hit_share = prefill_seconds = cost_seconds = soonest = lead_seconds = 0.0
    if len(rows):
        row = int(rows[np.argmax(prefix.matched[rows])])
        batch = float(snapshot.in_flight_requests[row]) + 1.0
        matched = float(prefix.matched[row]) * prefix.tokens_each
        costs = step_costs(snapshot)
        kv_tokens = float(context.memory.clock.context_tokens[row])
        prefill_seconds = costs.prefill_seconds(row, max(1.0, facts.prompt_tokens - matched), kv_tokens, batch)
        step = (
            float(costs.base[row]) + float(costs.per_kv_token[row]) * kv_tokens + float(costs.per_sequence[row]) * batch
        )
        lead_seconds = _STEPS * (step + IN_TRANSIT_SECONDS + context.memory.clock.usual_seconds)
        context_tokens = facts.prompt_tokens + 0.5 * facts.output_tokens
        hit_share = matched / facts.prompt_tokens if facts.prompt_tokens else 0.0
        cost_seconds = gpu_cost(costs, row, prefill_seconds, context_tokens, facts.output_tokens, batch).seconds
        soonest = soonest_room(snapshot, context.memory.clock, rows, context.now)
    wanted = Objectives.of(facts.headers).ttft
    if wanted:
        wanted = max(wanted - lead_seconds, _LEAST_SECONDS)
    return Prospect(
        facts.priority,
        facts.target_model,
        lane,
        facts.prompt_tokens,
        hit_share,
        prefill_seconds,
        cost_seconds,
        wanted,
        soonest,
    )
