"""What endpoints lack to take a request that none has room for: what `picker.flow.room` says, in numbers."""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from infscale.endpoint import EndpointKey
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from picker.flow.evicting.preemption import Room, Running, Shortage
from picker.flow.room import beyond_feed_seconds, most_requests
from picker.request import Decision
from picker.scheduling.costs.cache_use import unfit_tokens
from picker.scheduling.costs.prefill_clock import IN_TRANSIT_SECONDS, PrefillClock
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.prediction import Objectives

_STILL_TO_COME: Final = 0.5
"""Of an answer that is longer than expected, so much of what is made is still to come, at least."""


def shortages(context: SchedulingContext, rows: IntArray) -> list[Shortage]:
    """What each of `rows` lacks to take the request of `context` now."""
    request, snapshot, clock = context.request, context.snapshot, context.memory.clock
    costs, in_flight = step_costs(snapshot), snapshot.in_flight_requests
    steps = costs.decode_seconds(clock.context_tokens, in_flight)
    prompts = beyond_feed_seconds(snapshot, clock, context.now)
    uncached = np.maximum(request.prompt_tokens - context.prefix.matched_tokens, 1.0)
    cache = clock.cache_tokens + uncached + request.output_tokens - clock.capacity_tokens
    cache = np.maximum(cache, unfit_tokens(context))
    wanted = Objectives.of(request.headers).tpot
    too_slow = np.zeros(len(snapshot))
    if wanted:
        tokens = clock.context_tokens + request.prompt_tokens + 0.5 * request.output_tokens
        too_slow = costs.decode_seconds(tokens, in_flight + 1.0) - wanted
    too_many = in_flight + 1.0 - most_requests(context)
    return [
        Shortage(
            snapshot.endpoints[row].key,
            Room(float(prompts[row]), float(cache[row]), float(too_slow[row]), float(too_many[row])),
            int(in_flight[row]),
            float(steps[row]) + IN_TRANSIT_SECONDS,
        )
        for row in rows.tolist()
    ]


def running(decisions: Iterable[Decision], snapshot: PoolSnapshot, clock: PrefillClock, now: float) -> list[Running]:
    """The requests of `decisions` that are in flight at endpoints of `snapshot`, and what their going would give."""
    rows = {endpoint.key: row for row, endpoint in enumerate(snapshot.endpoints)}
    found = [_running(each, snapshot, rows, clock, now) for each in decisions]
    return [each for each in found if each is not None]


def _running(
    decision: Decision, snapshot: PoolSnapshot, rows: Mapping[EndpointKey, int], clock: PrefillClock, now: float
) -> Running | None:
    charge, cost, recall = decision.charge, decision.cost, decision.recall
    if charge is None or cost is None or recall is None or recall.fetching:
        return None
    row, standing = rows.get(charge.endpoint), clock.standing(charge.number, now)
    if row is None or standing is None:
        return None
    costs, work = step_costs(snapshot), standing.work
    computed = max(0.0, work.seconds - standing.left_seconds)
    made = max(0.0, now - standing.computed_at) / cost.step_seconds if standing.left_seconds <= 0.0 else 0.0
    to_come = max(cost.output_tokens - made, _STILL_TO_COME * made, 1.0)
    step_seconds = float(costs.per_kv_token[row]) * work.context_tokens + float(costs.per_sequence[row])
    return Running(
        charge.number,
        charge.endpoint,
        Room(standing.left_seconds, work.cache_tokens, step_seconds, 1.0),
        computed + made * cost.token_seconds,
        recall.cached_seconds if computed > 0.0 else 0.0,
        made / (made + to_come),
        standing.left_seconds + to_come * cost.step_seconds,
    )
