"""The requests of one pool that wait, with what fairness knows of those that run."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from infscale.endpoint import Endpoint
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.queue_book import QueuePlace
from picker.directing.admission import REJECTED_NO_ENDPOINTS, REJECTED_SATURATED
from picker.directing.billing.pool_bill import PoolBill
from picker.directing.director import PoolDirector
from picker.directing.holding.flow_stats import OTHERS, FlowStats
from picker.directing.holding.preempting import Blocked, Preemption
from picker.flow.band_shares import BandShares
from picker.flow.budgets import NO_LIMIT, Budget
from picker.flow.deadlines import EarliestDeadline, asked_seconds, due_at, patience_seconds
from picker.flow.flow_queue import FlowQueue, Turn
from picker.flow.forecasting.forecast import MOST_RETRY_SECONDS, Forecast
from picker.flow.lanes import LOOK_AGAIN_SECONDS, LOOSE, Lanes
from picker.flow.prospect import Prospect
from picker.flow.tenant_budgets import TenantBudget, TenantBudgets
from picker.flow.tenants import FAIRNESS_HEADERS, MOST_TENANTS, CostFairness
from picker.flow.waiting import Waiting
from picker.request import Decision, Headers, Held, InferenceRequest, Outcome, Reason, Rejection

REJECTED_TTL_EXPIRED: Final = "rejected-ttl-expired"
_AT_ONCE: Final = 4
"""How many requests are refused between two looks at the clock."""
_RECALLED: Final = 64
"""How many requests without a lane are looked at again at a time."""
_WAITED_FOR: Final = "an endpoint with room for it"
_BUDGET_WAITED_FOR: Final = "its tenant's budget of GPU time"
_BUDGET_LANE: Final = "$"
"""What the lane of a request begins with that waits for its tenant's budget: where it may go is not known yet."""


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How requests wait.

    A request waits for `max_wait_seconds` at most, in a pool without a ready endpoint for `no_endpoint_seconds` (0: it
    does not). `budget` is what may wait in one pool. `weights` are those of flows that are named by the fairness header
    which the gateway sets; 1 for others. `band_shares` are what bands are guaranteed of the GPU time, by priority. With
    `preempts` sheddable requests in flight are taken back for those of higher bands that wait. `budgets` are what
    tenants may have of the GPU time of a pool: one that has had more goes after all others, or with `budgets_bind` not
    at all until it is within its budget again.
    """

    max_wait_seconds: float = 60.0
    no_endpoint_seconds: float = 60.0
    budget: Budget = NO_LIMIT
    weights: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    band_shares: Mapping[int, float] = field(default_factory=dict[int, float], hash=False)
    preempts: bool = True
    budgets: Mapping[str, TenantBudget] = field(default_factory=dict[str, TenantBudget], hash=False)
    budgets_bind: bool = False

    def __post_init__(self) -> None:
        if self.max_wait_seconds <= 0 or self.no_endpoint_seconds < 0:
            raise ValueError("requests wait for a positive time, without endpoints for one that is not negative")


@dataclass(slots=True, eq=False)
class Entry:
    """One request that waits."""

    request: InferenceRequest
    held: Held
    hit_share: float
    prefill_seconds: float
    place: QueuePlace
    waits_for: str


class PoolFlow:
    """Owner of what waits for one pool. By its `bill` tenants have budgets; without one they have none."""

    def __init__(
        self, director: PoolDirector, settings: FlowSettings, clock: Callable[[], float], bill: PoolBill | None = None
    ) -> None:
        self.director = director
        self._clock = clock
        self.stats = FlowStats()
        self._book = director.open_queue(clock())
        self._settings = settings
        self.queue = FlowQueue(
            EarliestDeadline(), self._fairness, settings.budget, shares=BandShares(settings.band_shares)
        )
        self.budgets = TenantBudgets({}, lambda _: 0.0, lambda: 0.0)
        if bill is not None:
            self.budgets = TenantBudgets(settings.budgets, bill.spending.charged, lambda: bill.ready_gpus)
        self.entries: dict[int, Entry] = {}
        self.preemption = Preemption(director)
        """What of it runs and may be taken back."""
        self.forecast = Forecast(self.queue)
        self.lanes = Lanes()
        self._turn: Turn | None = None
        self.stirred = False
        """Something has changed since the turn began that may make room."""
        self._recalled_at = -math.inf
        self._recalled_for: tuple[tuple[Endpoint, ...], int] = (), 0
        self._number = 0
        # What runs, by the record of its decision, and how many that are of each flow.
        self._running: dict[int, Waiting] = {}
        self._active: dict[tuple[int, str], int] = {}

    # --- coming -------------------------------------------------------------------------------------------------------

    def passed(self, request: InferenceRequest, decision: Decision, now: float) -> None:
        """A request was let go without having waited."""
        self._number += 1
        waiting = Waiting(
            self._number,
            decision.priority,
            self._flow(request.headers, decision.priority),
            request.size_bytes,
            0.0,
            now,
            cost_seconds=seconds_of(decision),
        )
        self.queue.fairness(waiting.priority).dispatched(waiting, now)
        self._book.passed("" if decision.charge is None else decision.charge.model, now)
        self.forecast.passed(waiting.cost_seconds, now)
        self._begin(waiting, decision, now)

    def lane(self, request: InferenceRequest, prospect: Prospect, now: float) -> str:
        """The lane of a request that is to wait; those of tenants over their budgets have one for each of these."""
        tenant = self._tenant(request.headers)
        return _BUDGET_LANE + tenant if self.budgets.over(tenant, now) else prospect.lane

    def hold(self, request: InferenceRequest, prospect: Prospect, lane: str, now: float) -> Held | Rejection:
        """Let a request wait in a lane, or say why it may not: the queue is full, or its turn would come too late."""
        self._number += 1
        ready = self.director.ready()
        settings, asked = self._settings, asked_seconds(request.headers)
        if ready:
            wanted, prefill = prospect.wanted_seconds, prospect.prefill_seconds
            patience = patience_seconds(settings.max_wait_seconds, asked, wanted, prefill)
        else:
            patience = patience_seconds(settings.no_endpoint_seconds, asked)
        waiting = Waiting(
            self._number,
            prospect.priority,
            self._flow(request.headers, prospect.priority),
            request.size_bytes,
            prospect.prompt_tokens,
            now,
            now + patience,
            due_at(now, prospect.wanted_seconds, prospect.prefill_seconds, settings.max_wait_seconds),
            prospect.cost_seconds,
        )
        place = self._book.place(prospect.model, prospect.prompt_tokens, now)
        over = lane != prospect.lane
        # Where room may be made for it, or others go before it, nothing is known ahead of time.
        known = ready and not over and not self._may_make_room(waiting.priority)
        expected: float | None = None
        if known:
            expected = self.forecast.wait_seconds(waiting, lane, prospect.soonest_seconds, ready)
        if expected is not None and expected > patience:
            return self._turned_away(request, waiting, place, Reason.DEADLINE, now)
        number = waiting.number
        held = Held(partial(self._gave_up, number), expected)
        # Fairness may ask for it as soon as the request is in the queue.
        why = _BUDGET_WAITED_FOR if over else _WAITED_FOR
        self.entries[number] = Entry(request.waiting(), held, prospect.hit_share, prospect.prefill_seconds, place, why)
        if self.queue.add(waiting, lane, now) is not None:
            del self.entries[number]
            return self._turned_away(request, waiting, place, Reason.QUEUE_FULL, now)
        self._book.came(place)
        self.stats.came(waiting)
        self._watch(now)
        return held

    def nothing_ahead(self, headers: Headers, now: float) -> bool:
        """Whether nothing waits that goes before a request with these headers: others may be over their budgets."""
        waiting = len(self.queue)
        if not waiting or not len(self.budgets):
            return not waiting
        over = self._over(now)
        return self._tenant(headers) not in over and waiting == sum(map(self.queue.waiting_of, over))

    def is_bound(self, headers: Headers, now: float) -> bool:
        """Whether a request may not go now, as its tenant is over its budget."""
        return self._settings.budgets_bind and self.budgets.over(self._tenant(headers), now)

    def budget_credits(self) -> dict[str, float]:
        """GPU-seconds that tenants with budgets may have now."""
        now = self._clock()
        return {tenant: self.budgets.credit_seconds(tenant, now) for tenant in self.budgets.tenants}

    # --- turns --------------------------------------------------------------------------------------------------------

    def turn(self, now: float) -> Turn:
        """The turn that goes on, or a new one."""
        if self._turn is None:
            self._turn = self._begun(now)
            self.director.claims.begin()
            self.stirred = False
        return self._turn

    def end_turn(self) -> None:
        """All that may go has gone."""
        self._turn = None
        self.queue.end_turn()
        self.director.claims.end()

    def keep(self, turn: Turn, waiting: Waiting, lane: str | None, now: float) -> None:
        """A turn has found no room for a request, which waits for that of its `lane`; None: it is not known for what.

        What waits for the same is not looked at any more in this turn.
        """
        number, queue = waiting.number, self.queue
        if lane is not None:
            queue.move(number, lane)
            lane = queue.lane(number)
        if lane is None or lane == LOOSE:
            queue.park(number)
        else:
            turn.blocked(waiting)
            self.lanes.looked_at(lane, now)

    def _begun(self, now: float) -> Turn:
        """A turn through what may have room."""
        found, aside, last = self.director.open_rows(now), self._over(now), not self._settings.budgets_bind
        if found is None:
            return self.queue.turn((), aside, last=last)
        snapshot, rows = found
        self._recall(snapshot, now)
        return self.queue.turn(self.lanes.closed(self.queue.lanes, snapshot, rows, now), aside, last=last)

    def _recall(self, snapshot: PoolSnapshot, now: float) -> None:
        """Have what waits without a lane looked at again: all where endpoints changed, else some from time to time."""
        pool = snapshot.endpoints, len(snapshot.candidates(now))
        changed = pool[0] is not self._recalled_for[0] or pool[1] != self._recalled_for[1]
        self._recalled_for = pool
        if self.queue.parked and (changed or now - self._recalled_at >= LOOK_AGAIN_SECONDS):
            self.queue.recall(self.queue.parked if changed else _RECALLED)
            self._recalled_at = now

    # --- going --------------------------------------------------------------------------------------------------------

    def let_go(self, turn: Turn, waiting: Waiting, decision: Decision, now: float) -> None:
        """The request that a turn has come to goes where `decision` says."""
        charged, lane = waiting.costing(seconds_of(decision)), self.queue.lane(waiting.number)
        turn.left(charged, now)
        if self.budgets.over(waiting.flow, now):
            turn.set_aside(waiting.flow)
        self.forecast.left(waiting, lane, charged.cost_seconds, now)
        self._watch(now)
        entry = self.entries.pop(waiting.number)
        if decision.record is not None:
            decision.record.waited_seconds, decision.record.waited_for = now - waiting.arrived_at, entry.waits_for
        self._book.left(entry.place, now)
        self._begin(charged, decision, now)
        entry.held.resolve(decision)

    def refuse(self, waiting: Waiting, rejection: Rejection, now: float) -> None:
        """Answer a request that was taken out of the queue."""
        entry = self.entries.pop(waiting.number)
        self.director.given_up(entry.request, rejection, now, now - waiting.arrived_at, entry.waits_for)
        self._book.left(entry.place, now, refused=True)
        self.stats.refused(waiting, rejection.reason)
        self._forget(waiting)
        entry.held.resolve(rejection)

    def expire(self, now: float) -> bool:
        """Refuse some of what has waited for as long as it may, the longest overdue; False: that was all."""
        late = self.queue.expired(now, _AT_ONCE)
        for waiting in late:
            self.refuse(waiting, self._late(waiting, now), now)
        self._watch(now)
        return len(late) == _AT_ONCE

    def end(self, rejection: Rejection, now: float) -> bool:
        """Refuse some of what waits, as the pool is gone; False: that was all."""
        for number in self.queue.numbers(_AT_ONCE):
            waiting = self.queue.removed(number, now)
            if waiting is not None:
                self.refuse(waiting, rejection, now)
        return len(self.queue) > 0

    def ended(self, decision: Decision, outcome: Outcome, now: float) -> None:
        """What was let go is over."""
        self.preemption.ended(decision, outcome, now)
        waiting = self._running.pop(id(decision.record), None)
        if waiting is None:
            return
        cost = 0.0 if decision.cost is None else decision.cost.settled(outcome)
        self.queue.fairness(waiting.priority).ended(waiting, cost, now)
        self.queue.shares.ended(waiting, cost - waiting.cost_seconds)
        self.stats.took(waiting, cost)
        key = waiting.priority, waiting.flow
        self._active[key] -= 1
        self._forget(waiting)

    def make_room(self, waiting: Waiting, now: float) -> bool:
        """Take back what has to go for a request that has room nowhere; whether anything was."""
        if not self._may_make_room(waiting.priority) or self.budgets.over(waiting.flow, now):
            return False
        entry = self.entries[waiting.number]
        patience = max(0.0, waiting.due_at - entry.prefill_seconds - now)
        retry = self.forecast.retry_seconds(self.queue.priorities[-1], self.director.ready(), now)
        return self.preemption.make_room(Blocked(entry.request, waiting.priority, patience, retry), now)

    def due(self, now: float) -> float:
        """When to look at the queue again, if nothing else happens."""
        at = min(self.queue.next_expiry, self.director.next_room(now), self.preemption.next_look(now))
        for tenant in self._over(now):
            at = min(at, now + self.budgets.look_seconds(tenant, now))
        return at

    # --- in between ---------------------------------------------------------------------------------------------------

    def _begin(self, waiting: Waiting, decision: Decision, now: float) -> None:
        self.stats.waited(waiting, now - waiting.arrived_at)
        self.preemption.began(decision)
        if decision.record is not None:
            self._running[id(decision.record)] = waiting
            key = waiting.priority, waiting.flow
            self._active[key] = self._active.get(key, 0) + 1

    def _forget(self, waiting: Waiting) -> None:
        key = waiting.priority, waiting.flow
        if not self._active.get(key):
            self._active.pop(key, None)
            if not self.queue.waits(*key):
                self.queue.fairness(waiting.priority).forget(waiting.flow)

    def _gave_up(self, number: int) -> None:
        now = self._clock()
        waiting = self.queue.removed(number, now)
        if waiting is not None:
            entry = self.entries.pop(number)
            self._book.left(entry.place, now)
            self._watch(now)
            self.stats.given_up += not entry.held.moves
            self._forget(waiting)

    def _flow(self, headers: Headers, priority: int) -> str:
        flow = self._tenant(headers)
        known = not flow or (priority, flow) in self._active or flow in self._settings.weights or flow in self.budgets
        return flow if known or len(self._active) < MOST_TENANTS else OTHERS

    def _tenant(self, headers: Headers) -> str:
        """Whose a request is by the gateway."""
        return next((name for name in map(headers.get, FAIRNESS_HEADERS) if name), "")

    def _over(self, now: float) -> list[str]:
        """The tenants that are over their budgets, of those of which requests wait."""
        budgets, queue = self.budgets, self.queue
        return [name for name in budgets.tenants if queue.waiting_of(name) and budgets.over(name, now)]

    def _fairness(self, priority: int) -> CostFairness:
        del priority
        return CostFairness(self._settings.weights, lambda waiting: self.entries[waiting.number].hit_share)

    def _may_make_room(self, priority: int) -> bool:
        """Whether requests may be taken back for one of this band."""
        return self._settings.preempts and priority >= 0 and len(self.preemption) > 0

    def _watch(self, now: float) -> None:
        self.forecast.watch(self.director.ready(), now)

    def _late(self, waiting: Waiting, now: float) -> Rejection:
        """What a request is told that has waited for as long as it may."""
        ready = self.director.ready()
        retry = self.forecast.retry_seconds(waiting.priority, ready, now)
        if not ready:
            message = "no endpoint became ready in the time that the request may wait"
            return Rejection("ServiceUnavailable", message, Reason.NO_ENDPOINTS, REJECTED_NO_ENDPOINTS, retry)
        message = "the pool is full: the request has waited for as long as it may"
        if self._settings.budgets_bind and self.budgets.over(waiting.flow, now):
            message = "its tenant is over its budget of GPU time: the request has waited for as long as it may"
            retry = min(max(retry, self.budgets.wait_seconds(waiting.flow, now)), MOST_RETRY_SECONDS)
        return Rejection("ResourceExhausted", message, Reason.WAITED, REJECTED_TTL_EXPIRED, retry)

    def _turned_away(
        self, request: InferenceRequest, waiting: Waiting, place: QueuePlace, reason: Reason, now: float
    ) -> Rejection:
        """What a request is told that may not wait."""
        self._book.turned_off(place)
        self.stats.refused(waiting, reason)
        self._forget(waiting)
        retry = self.forecast.retry_seconds(waiting.priority, self.director.ready(), now)
        message = "the pool is full, and as many requests wait as may"
        if reason is Reason.DEADLINE:
            message = "the pool is full, and the request would wait for longer than it wants to or may"
        rejection = Rejection("ResourceExhausted", message, reason, REJECTED_SATURATED, retry)
        self.director.given_up(request, rejection, now, 0.0, _WAITED_FOR)
        return rejection


def seconds_of(decision: Decision) -> float:
    """GPU seconds that a decision is expected to cost, 0 where that is not worked out."""
    return 0.0 if decision.cost is None else decision.cost.seconds
