"""A director that has requests wait as the reference's configuration says: the shell around `picker.flow.reference`.

Every request of a pool enters its queue; a turn lets one go to the director inside. What that refuses then is refused,
as in the reference: it has had its turn.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infscale.endpoint import ObjectKey
from infscale.metrics.snapshot import PoolSettings
from infscale.metrics.store.metrics_store import MetricStore
from infscale.metrics.store.queue_book import QueueBook, QueuePlace
from picker.directing.holding.holding_director import POOL_GONE, Alarm, HoldingDirector
from picker.directing.pool_directors import PoolDirectors
from picker.flow.deadlines import asked_seconds
from picker.flow.reference.flow_counts import FlowCounts, PoolGauges, WaitLabels
from picker.flow.reference.flow_settings import ReferenceFlowSettings
from picker.flow.reference.identities import flow_of
from picker.flow.reference.queue_outcomes import QueueOutcome, refusal, revoked
from picker.flow.reference.reference_flow import SWEEP_SECONDS, TURN_SECONDS, ReferenceFlow
from picker.flow.reference.revocation import InFlight, confirmation_grace
from picker.flow.reference.wait_budgets import WaitBudget, due_at
from picker.flow.waiting import Waiting
from picker.request import (
    Decision,
    Held,
    InferenceRequest,
    Outcome,
    ParsedBody,
    PromptDirector,
    Rejection,
    Verdict,
)

_WAITED_FOR: Final = "its turn in a pool that has room"
_EVICTED_FOR: Final = "others of a higher priority that wait"
_NOT_REFUSED: Final = frozenset({QueueOutcome.DISPATCHED, QueueOutcome.EVICTED_CONTEXT_CANCELLED})


@dataclass(frozen=True, slots=True)
class ReferenceFlowControl:
    """How requests wait: `settings`, and the headers by which agents name their sessions.

    `scrape_seconds` is how often what engines report is read. `retry_after_seconds` goes to refused clients.
    """

    settings: ReferenceFlowSettings
    agent_headers: tuple[str, ...] = ()
    scrape_seconds: float = 0.5
    retry_after_seconds: float = 1.0


@dataclass(slots=True, eq=False)
class _Entry:
    """One request that waits; `held` None: it has not waited yet."""

    request: InferenceRequest
    labels: WaitLabels
    place: QueuePlace
    held: Held | None


@dataclass(slots=True, eq=False)
class _Running:
    """One request that was let go and has not ended."""

    waiting: Waiting
    decision: Decision
    dispatched_at: float


class _Pool:
    """What waits for one pool, and what of it runs by the record of its decision."""

    def __init__(self, flow: ReferenceFlow, book: QueueBook) -> None:
        self.flow = flow
        self.book = book
        self.entries: dict[int, _Entry] = {}
        self.running: dict[int, _Running] = {}

    def in_flight(self) -> Sequence[InFlight]:
        """What runs, as evictions see it."""
        return [
            InFlight(each.waiting.number, each.waiting.priority, each.dispatched_at, _fetching(each.decision))
            for each in self.running.values()
        ]


class ReferenceFlowDirector(HoldingDirector):
    """Passes on to `director`, whose pools `directors` has; see the module. Call it from one thread only."""

    def __init__(
        self,
        director: PromptDirector,
        directors: PoolDirectors,
        store: MetricStore,
        control: ReferenceFlowControl,
        alarm: Alarm,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(director, directors, alarm, clock)
        self._store = store
        self._control = control
        self._number = 0
        self._pools: dict[ObjectKey, _Pool] = {}
        self.counts = FlowCounts()
        """What became of requests."""

    def gauges(self) -> Mapping[str, PoolGauges]:
        """What is shown of each pool, by its name."""
        return {str(key): pool.flow.gauges() for key, pool in self._pools.items()}

    def configure(self, control: ReferenceFlowControl, now: float) -> None:
        """Go by `control` from now on: what waits enters anew in the order in which it came, if there is room."""
        self._control = control
        for key, old in self._pools.items():
            new = self._pools[key] = self._new_pool(key)
            new.entries, new.running = old.entries, old.running
            for waiting in sorted(old.flow.close(now), key=lambda each: each.number):
                outcome = new.flow.enter(waiting, self._budget(new.entries[waiting.number].request, waiting), now)
                if outcome is not None:
                    self._refuse(new, waiting, outcome, now)
        self.stir(now)

    def sync(self, now: float) -> None:
        """Follow the directors, which follow discovery: what waits for a pool that is gone is refused."""
        directors = self._directors.by_pool()
        for key in [key for key in self._pools if key not in directors]:
            pool = self._pools.pop(key)
            for waiting in pool.flow.close(now):
                held = self._ended(pool, waiting, QueueOutcome.EVICTED_OTHER, now).held
                if held is not None:
                    held.resolve(POOL_GONE)
        for key in directors:
            if key not in self._pools:
                self._pools[key] = self._new_pool(key)
        self.stir(now)

    def direct(self, request: InferenceRequest, now: float) -> Verdict | Held:
        """See `Director`."""
        body, director = request.body, self._directors.placed(request, now)
        pool = None if director is None else self._pools.get(director.pool)
        if body is None or director is None or pool is None:
            return self._director.direct(request, now)
        standing = director.standing(request, body, now)
        if isinstance(standing, Rejection):
            return standing
        if not director.has_endpoints():
            director.call_for_endpoints(now)
        began = self._clock()
        waiting = self._waiting(request, body, standing[0], now)
        labels = self.counts.labels(waiting.flow, waiting.priority, str(director.pool), body.model, standing[1])
        outcome = pool.flow.enter(waiting, self._budget(request, waiting), now)
        place = pool.book.place(standing[1], float(body.prompt_tokens), now)
        if outcome is not None:
            pool.book.turned_off(place)
            self.counts.refused(labels, outcome, self._clock() - began)
            refused = refusal(outcome, retry_after_seconds=self._control.retry_after_seconds)
            assert refused is not None  # noqa: S101 # what goes on to scheduling has entered
            return refused
        pool.book.came(place)
        entry = pool.entries[waiting.number] = _Entry(request, labels, place, None)
        self.counts.waits(labels, waiting.size_bytes, self._clock() - began)
        verdict = self._turn(director.pool, pool, now)
        if verdict is not None:
            return verdict
        held = entry.held = Held(lambda: self._gave_up(director.pool, waiting.number))
        self._ring_at(self._due(pool, now))
        return held

    def ring(self, now: float) -> None:
        """The time of the alarm has come: a turn for each pool, and an end for what has waited for long enough."""
        self._alarm_at = math.inf
        due = math.inf
        for key, pool in list(self._pools.items()):
            for waiting, outcome in pool.flow.swept(self._store.snapshot(key), now):
                self._refuse(pool, waiting, outcome, now)
            if pool.entries:
                self._turn(key, pool, now)
                due = min(due, self._due(pool, now))
        self._ring_at(due)

    def stir(self, now: float) -> None:
        """Something has changed that may make room."""
        if any([bool(pool.entries) for pool in self._pools.values()]):
            self._ring_at(now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """See `Director`."""
        self._director.finished(request, decision, outcome, now)
        pool = None if decision.pool is None else self._pools.get(decision.pool)
        running = None if pool is None else pool.running.pop(id(decision.record), None)
        if pool is not None and running is not None:
            prompt, output = outcome.prompt_tokens, outcome.completion_tokens
            tokens = None if prompt is None or output is None else (float(prompt), float(output))
            pool.flow.ended(running.waiting, tokens, now)
            self.stir(now)

    def may_go(self, pool: ObjectKey, now: float) -> bool:
        """Whether a request for `pool` that came now need not wait behind others."""
        del now
        found = self._pools.get(pool)
        return found is not None and not found.entries

    def _turn(self, key: ObjectKey, pool: _Pool, now: float) -> Verdict | None:
        """Let one request go; its verdict where it did not have to wait for it, and is not told of it otherwise."""
        began = self._clock()
        waiting = pool.flow.turn(self._store.snapshot(key), now)
        self.counts.turns.observe(max(0.0, self._clock() - began))
        if waiting is None:
            self._evict(pool, now)
            return None
        entry = self._ended(pool, waiting, QueueOutcome.DISPATCHED, now)
        verdict = self._director.direct(entry.request, now)
        if isinstance(verdict, Decision) and verdict.record is not None:
            pool.running[id(verdict.record)] = _Running(waiting, verdict, now)
            if entry.held is not None:
                verdict.record.waited_seconds, verdict.record.waited_for = now - waiting.arrived_at, _WAITED_FOR
        else:
            pool.flow.ended(waiting, None, now)
        if entry.held is None:
            return verdict
        entry.held.resolve(verdict)
        return None

    def _evict(self, pool: _Pool, now: float) -> None:
        """Take back requests in flight for those that the turn held back, where that is to be and may be now."""
        if not pool.flow.may_evict(now):
            return
        going = {each.number for each in pool.flow.evicted(pool.in_flight(), now)}
        rejection = revoked(self._control.retry_after_seconds)
        for each in [each for each in pool.running.values() if each.waiting.number in going]:
            if each.decision.recall is not None:
                each.decision.recall.revoke(rejection, _EVICTED_FOR)

    def _refuse(self, pool: _Pool, waiting: Waiting, outcome: QueueOutcome, now: float) -> None:
        """Answer a request that waits no longer."""
        refused = refusal(outcome, retry_after_seconds=self._control.retry_after_seconds)
        held = self._ended(pool, waiting, outcome, now).held
        if held is not None and refused is not None:
            held.resolve(refused)

    def _gave_up(self, key: ObjectKey, number: int) -> None:
        """The client of a request has left."""
        pool, now = self._pools.get(key), self._clock()
        waiting = None if pool is None else pool.flow.left(number, now)
        if pool is not None and waiting is not None:
            self._ended(pool, waiting, QueueOutcome.EVICTED_CONTEXT_CANCELLED, now)

    def _ended(self, pool: _Pool, waiting: Waiting, outcome: QueueOutcome, now: float) -> _Entry:
        entry = pool.entries.pop(waiting.number)
        pool.book.left(entry.place, now, refused=outcome not in _NOT_REFUSED)
        self.counts.ended(entry.labels, outcome, waiting.size_bytes, now - waiting.arrived_at)
        return entry

    def _waiting(self, request: InferenceRequest, body: ParsedBody, priority: int, now: float) -> Waiting:
        self._number += 1
        headers = request.headers
        budget = self._control.settings.budget_of(priority).asked(asked_seconds(headers))
        return Waiting(
            self._number,
            priority,
            flow_of(headers, self._control.agent_headers),
            request.size_bytes,
            float(body.prompt_tokens),
            now,
            now + budget.seconds,
            due_at(headers, now),
        )

    def _budget(self, request: InferenceRequest, waiting: Waiting) -> WaitBudget:
        return self._control.settings.budget_of(waiting.priority).asked(asked_seconds(request.headers))

    def _new_pool(self, key: ObjectKey) -> _Pool:
        snapshot = self._store.snapshot(key)
        settings = PoolSettings() if snapshot is None else snapshot.state.settings
        scrape_seconds = self._control.scrape_seconds
        grace = confirmation_grace(settings.saturation.kind, scrape_seconds, settings.staleness_limit_seconds)
        return _Pool(ReferenceFlow(self._control.settings, grace), self._store.open_queue(key, self._clock()))

    def _due(self, pool: _Pool, now: float) -> float:
        """When the next turn is: soon after one that let a request go, else when something changes or time is over."""
        if pool.flow.goes_on:
            return now + TURN_SECONDS
        decides_at = pool.flow.reclamation.decides_at
        return min(now + SWEEP_SECONDS, decides_at) if decides_at > now else now + SWEEP_SECONDS


def _fetching(decision: Decision) -> bool:
    return decision.recall is not None and decision.recall.fetching
