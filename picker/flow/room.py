"""The gate of the queue: which endpoints can take a request now, without a threshold to set.

A request waits while no endpoint has room for it. Once one has, it goes where scheduling would have it, which may be
another one: where its prompt is cached, it may be done sooner behind others than anywhere else.

An endpoint has room unless one of these says that the request would be better kept:

* **It is fed.** The prompts that it has, by the prefill clock, keep it busy beyond the step that runs and the way of a
  request to it. It will not run dry before it is looked at again, so that another one would only wait there, where it
  can be neither passed by others nor sent elsewhere.
* **Its batch is full** and one waits to join it, where its pages show how many requests a batch of it takes
  (`picker.scheduling.costs.batch_limits`).
* **Its KV cache has no room** for the uncached prompt and the whole answer, beside what is in flight there; or none for
  the uncached prompt alone, beside what its page says is in use. It would wait for others to end, or have them
  preempted.
* **It would be too slow**, where the request says how long a token may take: a step of the batch with the request in it
  takes longer.

Without such a wish the limit of a batch follows from the model: it is the one that fills the KV cache. An endpoint that
has nothing takes any request: there it is as well off as it can be.
"""

from typing import Final

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from picker.scheduling.costs.cache_use import unfit_tokens
from picker.scheduling.costs.prefill_clock import IN_TRANSIT_SECONDS, PrefillClock
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.prediction import Objectives

SOONEST_SECONDS: Final = 0.001
LATEST_SECONDS: Final = 0.25
"""How long a queue that waits is not looked at, at least and at most."""


def with_room(context: SchedulingContext, rows: IntArray) -> IntArray:
    """Those of `rows` that can take the request of `context` now."""
    request, clock, in_flight = context.request, context.memory.clock, context.snapshot.in_flight_requests
    uncached = np.maximum(request.prompt_tokens - context.prefix.matched_tokens, 1.0)
    needed = clock.cache_tokens + uncached + request.output_tokens
    kept = (beyond_feed_seconds(context.snapshot, clock, context.now) > 0.0) | (needed > clock.capacity_tokens)
    kept |= unfit_tokens(context) > 0.0
    kept |= in_flight > context.memory.batch_limits
    wanted = Objectives.of(context.request.headers).tpot
    if wanted:
        costs = step_costs(context.snapshot)
        tokens = clock.context_tokens + request.prompt_tokens + 0.5 * request.output_tokens
        kept |= costs.decode_seconds(tokens, in_flight + 1.0) > wanted
    free = ~kept | (in_flight == 0.0)
    found: IntArray = rows[free[rows]]
    return found


def open_rows(snapshot: PoolSnapshot, clock: PrefillClock, now: float) -> list[bool]:
    """Of each row, whether it may have room for some request: it is not fed beyond what it needs, or has nothing.

    Also of rows that are no candidates: where their requests go has to be asked.
    """
    is_open = (beyond_feed_seconds(snapshot, clock, now) <= 0.0) | (snapshot.in_flight_requests == 0.0)
    found: list[bool] = is_open.tolist()
    candidates = snapshot.candidates(now)
    if len(candidates) < len(found):
        known = set(candidates.tolist())
        return [each or row not in known for row, each in enumerate(found)]
    return found


def soonest_room(snapshot: PoolSnapshot, clock: PrefillClock, rows: IntArray, now: float) -> float:
    """Seconds until the first of `rows`, at least one, may have room for a request; 0: one may have it now."""
    left = np.where(snapshot.in_flight_requests == 0.0, 0.0, beyond_feed_seconds(snapshot, clock, now))[rows]
    return max(0.0, float(np.minimum.reduce(left)))


def next_room(snapshot: PoolSnapshot, clock: PrefillClock, now: float) -> float:
    """When to look again, if nothing else happens: the first endpoint that was fed is no longer."""
    left = beyond_feed_seconds(snapshot, clock, now)
    left = left[left > 0.0]
    soonest = float(np.minimum.reduce(left)) if len(left) else LATEST_SECONDS
    return now + min(max(soonest, SOONEST_SECONDS), LATEST_SECONDS)


def beyond_feed_seconds(snapshot: PoolSnapshot, clock: PrefillClock, now: float) -> FloatArray:
    """Seconds of prompts that each endpoint has to compute beyond the step that runs and what is on its way."""
    step = step_costs(snapshot).decode_seconds(clock.context_tokens, snapshot.in_flight_requests)
    left: FloatArray = clock.pending_seconds(now) - step - IN_TRANSIT_SECONDS
    return left
