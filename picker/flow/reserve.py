"""Room for requests that may not be shed, beside those that may: how much is kept, and where such requests go.

Sheddable requests fill a pool as far as they may, and what they fill is slow for all others: their long prompts are
computed first, their tokens make each step longer, and what others had cached goes. So some endpoints are kept from
them, as few as do: those on which the other requests of late would be served nearly as soon as if there were nothing
else. Where no others came of late, none is kept.

A request that is not sheddable goes to endpoints that have no sheddable ones, as long as one of them has room, and to
others where it has its first token sooner: because its prompt is cached there.
"""

from typing import Final

import numpy as np

from infscale.latency.predictions import USUAL_BUDGET_TOKENS
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.flow.room import has_room, with_room
from picker.scheduling.costs.protected_load import ProtectedLoad
from picker.scheduling.costs.step_costs import StepCosts, step_costs
from picker.scheduling.plugin import SchedulingContext

_WAITS: Final = 0.05
"""The share of requests that find a prefill under way on each endpoint kept for them."""
_LATER: Final = 1.1
"""How much later a first token may come, as a factor, for the batch that is on fewer endpoints."""
_OF_A_STEP: Final = 0.5


def placeable(context: SchedulingContext, rows: IntArray) -> IntArray:
    """Those of `rows` among which the request of `context` is placed now; none, while none of them has room."""
    sheddable = context.request.priority < 0
    if sheddable:
        rows = _unreserved(context, rows)
    clock = context.memory.clock
    anywhere = sheddable or not np.count_nonzero(clock.sheddable_requests)
    if anywhere and has_room(context, clock.soonest(rows)):
        return rows
    free = with_room(context, rows)
    return free if not len(free) else rows if anywhere else _apart(context, rows, free)


def reserved(load: ProtectedLoad, costs: StepCosts, capacity_tokens: FloatArray, endpoints: int) -> int:
    """How many of so many endpoints are kept from sheddable requests: 0 to all but one.

    The least number `k` on which `load` alone has its first tokens nearly as soon as on all:

    * at most a twentieth of the requests waits for the prefill of another, as Erlang's formula has it for `k` servers
      (A. K. Erlang, 1917; "C");
    * the prefill and a step of the batch that `load` makes on `k` endpoints take at most a tenth longer than on all;
    * its tokens fit into `k` KV caches.
    """
    if load.prefill_share <= 0.0 or endpoints < 2:
        return 0
    base = float(np.mean(costs.base))
    batch = float(np.mean(costs.per_kv_token)) * load.context_tokens
    batch += float(np.mean(costs.per_sequence)) * load.requests
    latest = _LATER * (load.prefill_seconds + base + batch / endpoints)
    least = max(batch / max(latest - load.prefill_seconds - base, 1e-9), load.context_tokens / _usual(capacity_tokens))
    blocked = 1.0
    for kept in range(1, endpoints):
        blocked = load.prefill_share * blocked / (kept + load.prefill_share * blocked)
        share = load.prefill_share / kept
        if share < 1.0 and kept >= least and blocked <= _WAITS * (1.0 - share * (1.0 - blocked)):
            return kept
    return endpoints - 1


def _unreserved(context: SchedulingContext, rows: IntArray) -> IntArray:
    load = context.memory.protected.load(context.now)
    kept = reserved(load, step_costs(context.snapshot), context.memory.clock.capacity_tokens[rows], len(rows))
    return rows[: len(rows) - kept]


def _apart(context: SchedulingContext, rows: IntArray, free: IntArray) -> IntArray:
    """Where a request goes that is not sheddable; `free` are those of `rows` that have room."""
    clock, snapshot = context.memory.clock, context.snapshot
    clear = clock.sheddable_requests == 0.0
    own = free[clear[free]]
    if not len(own):
        return rows
    costs = step_costs(snapshot)
    uncached = np.maximum(context.request.prompt_tokens - context.prefix.matched_tokens, 1.0)
    first = costs.decode_seconds(clock.context_tokens, snapshot.in_flight_requests)
    first *= uncached / USUAL_BUDGET_TOKENS + _OF_A_STEP
    first += clock.pending_seconds(context.now) + costs.per_prefill_token * uncached
    kept: IntArray = rows[(clear | (first < np.minimum.reduce(first[own])))[rows]]
    return kept


def _usual(capacity_tokens: FloatArray) -> float:
    return max(float(np.median(capacity_tokens)), 1.0) if len(capacity_tokens) else np.inf
