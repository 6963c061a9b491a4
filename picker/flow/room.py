"""The gate of the queue: which endpoints can take a request now, without a threshold to set.

A request waits while no endpoint has room for it. Once one has, it goes where scheduling would have it, which may be
another one: where its prompt is cached, it may be done sooner behind others than anywhere else.

An endpoint has room unless one of these says that the request would be better kept:

* **It is fed.** The prompts that it has, by the prefill clock, keep it busy beyond the step that runs and the way of a
  request to it. It will not run dry before it is looked at again, so that another one would only wait there, where it
  can be neither passed by others nor sent elsewhere.
* **Its batch is full** and one waits to join it, where its pages show how many requests a batch of it takes
  (`picker.scheduling.costs.batch_limits`).
* **Its KV cache has no room** for the prompt, but for what of it others there have in use, and the whole answer, beside
  what is in flight there; or none for the uncached prompt alone, beside what its page says is in use. It would wait for
  others to end, or have them preempted.
* **It would be too slow**, where the request says how long a token may take: a step of the batch with the request in it
  takes longer, with what is computed of prompts in it while the batch stays as large: one for each answer that ends.

While nothing is known of the steps of any endpoint of the pool, prompts say nothing, and an endpoint takes as many
requests at a time as it was learnt to begin at once (`picker.scheduling.costs.learnt_limits`).

Without such a wish the limit of a batch follows from the model: it is the one that fills the KV cache. An endpoint that
has nothing takes any request: there it is as well off as it can be.

A request that fits into no cache would fit into none for as long as others pass it that need less. So while a turn goes
through what waits it claims the endpoint that has room for it first, and those behind it go to others.
"""

from typing import Final

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from picker.scheduling.costs.cache_use import unfit_tokens, unfit_tokens_of
from picker.scheduling.costs.prefill_clock import IN_TRANSIT_SECONDS, PrefillClock
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.prediction import TPOT_HEADERS, Objectives

SOONEST_SECONDS: Final = 0.001
LATEST_SECONDS: Final = 0.25
"""How long a queue that waits is not looked at, at least and at most."""
MOST_CLAIMS: Final = 4
"""Each request that makes a claim is judged again in each turn."""


def with_room(context: SchedulingContext, rows: IntArray) -> IntArray:
    """Those of `rows` that can take the request of `context` now."""
    request, clock, in_flight = context.request, context.memory.clock, context.snapshot.in_flight_requests
    kept = (beyond_feed_seconds(context.snapshot, clock, context.now) > 0.0) | (_missing_tokens(context) > 0.0)
    kept |= unfit_tokens(context) > 0.0
    kept |= in_flight >= most_requests(context)
    wanted = Objectives.of(context.request.headers).tpot
    if wanted:
        costs = step_costs(context.snapshot)
        tokens, batch = clock.context_tokens + request.prompt_tokens + 0.5 * request.output_tokens, in_flight + 1.0
        prompts = batch * (clock.usual_seconds / max(request.output_tokens, 1.0))
        kept |= costs.decode_seconds(tokens, batch) + prompts > wanted
    free = ~kept | (in_flight == 0.0)
    found: IntArray = rows[free[rows]]
    return found


def has_room(context: SchedulingContext, row: int) -> bool:
    """Whether the endpoint of `row` is one of `with_room`; False as well if the request says how fast it wants tokens.

    The same rules in single numbers: where an endpoint has room, as mostly one has, no other needs be looked at.
    """
    for name in TPOT_HEADERS:
        if context.request.headers.get(name) is not None:
            return False
    request, snapshot, memory = context.request, context.snapshot, context.memory
    clock, in_flight = memory.clock, float(snapshot.in_flight_requests[row])
    if in_flight == 0.0:
        return True
    costs = step_costs(snapshot)
    if costs.known:
        if (
            clock.pending_seconds_of(row, context.now)
            - costs.decode_seconds_of(row, float(clock.context_tokens[row]), in_flight)
            > IN_TRANSIT_SECONDS
        ):
            return False
    elif not context.blind and in_flight >= float(memory.learnt_limits[row]):
        return False
    if in_flight >= float(memory.batch_limits[row]) + 1.0:
        return False
    matched = float(context.prefix.matched[row]) * context.prefix.tokens_each
    uncached = max(request.prompt_tokens - matched, 1.0)
    needed = float(clock.own_share[row]) * matched + uncached + request.output_tokens
    if needed + float(clock.cache_tokens[row]) > float(clock.capacity_tokens[row]):
        return False
    return unfit_tokens_of(context, row, uncached) <= 0.0


def most_requests(context: SchedulingContext) -> FloatArray:
    """Of every row: how many requests it may have at a time; infinite where only its prompts and cache say."""
    memory = context.memory
    most: FloatArray = memory.batch_limits + 1.0
    # An endpoint that says nothing teaches nothing.
    if context.blind or step_costs(context.snapshot).known:
        return most
    return np.minimum(most, memory.learnt_limits)


class Claims:
    """Endpoints that are kept for requests which found no room, each for one, while a turn goes through a queue."""

    def __init__(self) -> None:
        self._endpoints: tuple[Endpoint, ...] = ()
        self._rows: list[int] = []
        self._open = False
        self.made = False
        """Whether the request that was judged last has made a claim."""

    def begin(self) -> None:
        """A turn begins: from now on what finds no room makes claims."""
        self.end()
        self._open = True

    def end(self) -> None:
        """The turn is over: nothing is kept for any request."""
        self._rows.clear()
        self._open = self.made = False

    def unclaimed(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """Those of `rows` that are kept for none."""
        self.made = False
        self._follow(context)
        if not self._rows:
            return rows
        kept: IntArray = rows[~np.isin(rows, self._rows)]
        return kept

    def claim(self, context: SchedulingContext, rows: IntArray) -> None:
        """None of `rows`, which are kept for none, has room for the request of `context`: keep the first that will.

        The last is not kept: then there is nothing left to go to for those behind.
        """
        self._follow(context)
        if not self._open or len(rows) < 2 or len(self._rows) >= MOST_CLAIMS:
            return
        # What has to be computed first is the same for all that wait; what one request needs of a cache is its own.
        if np.minimum.reduce(_missing_tokens(context)[rows]) > 0.0:
            self._rows.append(int(rows[np.argmin(_seconds_to_room(context)[rows])]))
            self.made = True

    def withdraw(self) -> None:
        """The request that was judged last is judged again: its claim, if it has made one, is none."""
        if self.made:
            self._rows.pop()
            self.made = False

    def _follow(self, context: SchedulingContext) -> None:
        """Rows are those of the pool as it is; where that has changed, claims are made anew."""
        if context.snapshot.endpoints is not self._endpoints:
            self._endpoints = context.snapshot.endpoints
            self._rows.clear()


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


def _missing_tokens(context: SchedulingContext) -> FloatArray:
    """Tokens that each KV cache lacks for the request of `context`; not above 0 where it has room.

    What is cached of its prompt takes room as well, as far as it does of those in flight.
    """
    request, clock, matched = context.request, context.memory.clock, context.prefix.matched_tokens
    missing: FloatArray = clock.own_share * matched
    missing += np.maximum(request.prompt_tokens - matched, 1.0) + request.output_tokens
    missing += clock.cache_tokens - clock.capacity_tokens
    return missing


def _seconds_to_room(context: SchedulingContext) -> FloatArray:
    """When each endpoint will have room for the request of `context`, if nothing else is sent there.

    As answers end evenly over the time that one takes, the share of the KV cache that has to go takes that share of it.
    """
    clock, snapshot = context.memory.clock, context.snapshot
    step = step_costs(snapshot).decode_seconds(clock.context_tokens, snapshot.in_flight_requests)
    missing = np.maximum(np.maximum(_missing_tokens(context), unfit_tokens(context)), 0.0)
    missing /= np.maximum(clock.cache_tokens, 1.0)
    missing *= step * context.request.output_tokens
    found: FloatArray = np.maximum(beyond_feed_seconds(snapshot, clock, context.now), missing)
    return found


def beyond_feed_seconds(snapshot: PoolSnapshot, clock: PrefillClock, now: float) -> FloatArray:
    """Seconds of prompts that each endpoint has to compute beyond the step that runs and what is on its way.

    Below 0, nothing, where no steps of the pool are known: what stands in for them may be far too slow.
    """
    costs = step_costs(snapshot)
    if not costs.known:
        return np.full(len(snapshot), -1.0)
    step = costs.decode_seconds(clock.context_tokens, snapshot.in_flight_requests)
    left: FloatArray = clock.pending_seconds(now) - step - IN_TRANSIT_SECONDS
    return left
