"""The requests of one pool that wait, with what fairness knows of those that run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from infscale.metrics.store.queue_book import QueuePlace
from picker.directing.admission import REJECTED_NO_ENDPOINTS, REJECTED_SATURATED
from picker.directing.director import PoolDirector
from picker.directing.holding.flow_stats import OTHERS, FlowStats
from picker.directing.holding.preempting import Blocked, Preemption
from picker.flow.budgets import NO_LIMIT, Budget
from picker.flow.deadlines import EarliestDeadline, due_at
from picker.flow.drain import Drain
from picker.flow.flow_queue import FlowQueue
from picker.flow.prospect import Prospect
from picker.flow.tenants import FAIRNESS_HEADERS, MOST_TENANTS, CostFairness
from picker.flow.waiting import Waiting
from picker.request import Decision, Headers, Held, InferenceRequest, Outcome, Reason, Rejection

REJECTED_TTL_EXPIRED: Final = "rejected-ttl-expired"
_LEAST_RETRY_SECONDS: Final = 1.0
_MOST_RETRY_SECONDS: Final = 600.0


_WAITED_FOR: Final = "an endpoint with room for it"


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How requests wait.

    A request waits for `max_wait_seconds` at most, in a pool without a ready endpoint for `no_endpoint_seconds` (0: it
    does not). `budget` is what may wait in one pool. `weights` are those of flows that are named by the fairness header
    which the gateway sets; 1 for others. With `preempts` sheddable requests in flight are taken back for those of
    higher bands that wait.
    """

    max_wait_seconds: float = 60.0
    no_endpoint_seconds: float = 60.0
    budget: Budget = NO_LIMIT
    weights: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    preempts: bool = True

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


class PoolFlow:
    """Owner of what waits for one pool."""

    def __init__(self, director: PoolDirector, settings: FlowSettings, clock: Callable[[], float]) -> None:
        self.director = director
        self._clock = clock
        self.stats = FlowStats()
        self._book = director.open_queue(clock())
        self._settings = settings
        self.queue = FlowQueue(EarliestDeadline(), self._fairness, settings.budget)
        self.entries: dict[int, Entry] = {}
        self.preemption = Preemption(director)
        """What of it runs and may be taken back."""
        self._drain = Drain()
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
        self._begin(waiting, decision, now)

    def hold(self, request: InferenceRequest, prospect: Prospect, now: float) -> Held | Rejection:
        """Let a request wait, or say why it may not."""
        self._number += 1
        due = due_at(now, prospect.wanted_seconds, prospect.prefill_seconds)
        patience = self._settings.max_wait_seconds
        if not self.director.has_endpoints():
            patience = self._settings.no_endpoint_seconds
        elif prospect.wanted_seconds:
            patience = min(patience, max(0.0, prospect.wanted_seconds - prospect.prefill_seconds))
        waiting = Waiting(
            self._number,
            prospect.priority,
            self._flow(request.headers, prospect.priority),
            request.size_bytes,
            prospect.prompt_tokens,
            now,
            now + patience,
            due,
            prospect.cost_seconds,
        )
        number = waiting.number
        held = Held(lambda: self._gave_up(number, self._clock()))
        # Fairness may ask for it as soon as the request is in the queue.
        place = self._book.place(prospect.model, prospect.prompt_tokens, now)
        self.entries[number] = Entry(request, held, prospect.hit_share, prospect.prefill_seconds, place)
        if self.queue.add(waiting, prospect.lane, now) is not None:
            del self.entries[number]
            self._book.turned_off(place)
            return self._refusal(waiting, Reason.QUEUE_FULL, now)
        self._book.came(place)
        self.stats.came(waiting)
        return held

    # --- going --------------------------------------------------------------------------------------------------------

    def let_go(self, waiting: Waiting, decision: Decision, now: float) -> None:
        """The request, which a turn has taken out of the queue, goes where `decision` says."""
        entry = self.entries.pop(waiting.number)
        if decision.record is not None:
            decision.record.waited_seconds, decision.record.waited_for = now - waiting.arrived_at, _WAITED_FOR
        self._book.left(entry.place, now)
        self._begin(waiting, decision, now)
        entry.held.resolve(decision)

    def refuse(self, waiting: Waiting, rejection: Rejection, now: float) -> None:
        """Answer a request that was taken out of the queue."""
        entry = self.entries.pop(waiting.number)
        self._book.left(entry.place, now, refused=True)
        self.stats.refused(waiting, rejection.reason)
        self._forget(waiting)
        entry.held.resolve(rejection)

    def expire(self, now: float) -> None:
        """Refuse what has waited for as long as it may."""
        for waiting in self.queue.expired(now):
            self.refuse(waiting, self._late(waiting, now), now)

    def end_all(self, rejection: Rejection, now: float) -> None:
        """Refuse all that waits: the pool is gone."""
        for number in list(self.entries):
            waiting = self.queue.removed(number, now)
            if waiting is not None:
                self.refuse(waiting, rejection, now)

    def ended(self, decision: Decision, outcome: Outcome, now: float) -> None:
        """What was let go is over."""
        self.preemption.ended(decision, outcome, now)
        waiting = self._running.pop(id(decision.record), None)
        if waiting is None:
            return
        cost = 0.0 if decision.cost is None else decision.cost.settled(outcome)
        fairness = self.queue.fairness(waiting.priority)
        fairness.ended(waiting, cost, now)
        self.stats.took(waiting, cost)
        key = waiting.priority, waiting.flow
        self._active[key] -= 1
        self._forget(waiting)

    def make_room(self, waiting: Waiting, now: float) -> bool:
        """Take back what has to go for a request that has room nowhere; whether anything was."""
        if not self._settings.preempts:
            return False
        entry = self.entries[waiting.number]
        patience = max(0.0, waiting.due_at - entry.prefill_seconds - now)
        retry_after = self._retry_after(self.queue.priorities[-1], now)
        return self.preemption.make_room(Blocked(entry.request, waiting.priority, patience, retry_after), now)

    def due(self, now: float) -> float:
        """When to look at the queue again, if nothing else happens."""
        return min(self.queue.next_expiry, self.director.next_room(now), self.preemption.next_look(now))

    # --- in between ---------------------------------------------------------------------------------------------------

    def _begin(self, waiting: Waiting, decision: Decision, now: float) -> None:
        self.stats.waited(waiting, now - waiting.arrived_at)
        self._drain.left(waiting.cost_seconds, now)
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

    def _gave_up(self, number: int, now: float) -> None:
        waiting = self.queue.removed(number, now)
        if waiting is not None:
            self._book.left(self.entries.pop(number).place, now)
            self.stats.given_up += 1
            self._forget(waiting)

    def _flow(self, headers: Headers, priority: int) -> str:
        for name in FAIRNESS_HEADERS:
            flow = headers.get(name)
            if flow:
                known = (priority, flow) in self._active or flow in self._settings.weights
                return flow if known or len(self._active) < MOST_TENANTS else OTHERS
        return ""

    def _fairness(self, priority: int) -> CostFairness:
        del priority
        return CostFairness(self._settings.weights, lambda waiting: self.entries[waiting.number].hit_share)

    def _late(self, waiting: Waiting, now: float) -> Rejection:
        if not self.director.has_endpoints():
            message = "no endpoint became ready in the time that the request may wait"
            return Rejection(
                "ServiceUnavailable", message, Reason.NO_ENDPOINTS, REJECTED_NO_ENDPOINTS, _LEAST_RETRY_SECONDS
            )
        return self._refusal(waiting, Reason.WAITED, now)

    def _refusal(self, waiting: Waiting, reason: Reason, now: float) -> Rejection:
        retry = self._retry_after(waiting.priority, now)
        if reason is Reason.QUEUE_FULL:
            self.stats.refused(waiting, reason)
            message = "the pool is full, and as many requests wait as may"
            return Rejection("ResourceExhausted", message, reason, REJECTED_SATURATED, retry)
        message = "the pool is full: the request has waited for as long as it may"
        return Rejection("ResourceExhausted", message, reason, REJECTED_TTL_EXPIRED, retry)

    def _retry_after(self, priority: int, now: float) -> float:
        """When it is worth coming back for a request of a band: when what waits before it has left, seconds."""
        ahead = sum([self.queue.band(each).seconds for each in self.queue.priorities if each >= priority])
        seconds = self._drain.seconds_for(ahead, now)
        return min(max(seconds or 0.0, _LEAST_RETRY_SECONDS), _MOST_RETRY_SECONDS)


def seconds_of(decision: Decision) -> float:
    """GPU seconds that a decision is expected to cost, 0 where that is not worked out."""
    return 0.0 if decision.cost is None else decision.cost.seconds
