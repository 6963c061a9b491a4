"""A director that has requests wait until an endpoint can begin them: the shell around `picker.flow`.

It asks the director inside about each request. What that refuses with `Reason.NO_ROOM` waits, and so does what comes
behind it. At every change that may make room (an answer ended, values came, endpoints came, time passed) a turn goes
through what waits, in order, and lets go all that fits, each charged before the next is judged. All work on what waits
is cut into slices, turns, refusals and what a pool leaves behind that goes, so that others of the event loop have
theirs; a turn goes on in the next slice where it was.
"""

import math
from collections.abc import Callable
from typing import Final

from infscale.endpoint import ObjectKey
from picker.directing.billing.bills import Bills
from picker.directing.holding.holding_director import POOL_GONE, Alarm, HoldingDirector
from picker.directing.holding.pool_flow import FlowSettings, PoolFlow
from picker.directing.pool_directors import PoolDirectors
from picker.flow.flow_queue import Turn
from picker.flow.waiting import Waiting
from picker.request import (
    Decision,
    Held,
    InferenceRequest,
    Outcome,
    PromptDirector,
    Reason,
    Rejection,
    Verdict,
)

SLICE_SECONDS: Final = 0.0008
_BREATH_SECONDS: Final = 0.002
"""Changes that come one upon the other are looked at together."""
_FOR_NOW: Final = frozenset(
    {
        Reason.NO_ROOM,
        Reason.NO_ENDPOINTS,
        Reason.UNKNOWN_LOAD,
        Reason.ASLEEP,
        Reason.SCREENED_OUT,
        Reason.FILTERED_OUT,
        Reason.SATURATED,
    }
)
"""Refusals that another moment may take back: what has waited keeps its place."""
_FOR_ALL: Final = frozenset({Reason.NO_ENDPOINTS, Reason.UNKNOWN_LOAD, Reason.ASLEEP})
"""Refusals that hold for all requests of the pool, but for what the gateway narrows."""


class FlowDirector(HoldingDirector):
    """Passes on to `director`, whose pools `directors` has; see the module. Call it from one thread only."""

    def __init__(
        self,
        director: PromptDirector,
        directors: PoolDirectors,
        settings: FlowSettings,
        alarm: Alarm,
        clock: Callable[[], float],
        bills: Bills | None = None,
    ) -> None:
        """By `bills`, which know the pools before this does, tenants have budgets."""
        super().__init__(director, directors, alarm, clock)
        self._settings = settings
        self._bills = bills
        self._rang_at = -math.inf
        # The pool that is looked at first, so that each has its slices.
        self._first: ObjectKey | None = None
        # What waits for pools that are gone.
        self._left: list[PoolFlow] = []
        self.flows: dict[ObjectKey, PoolFlow] = {}

    def sync(self, now: float) -> None:
        """Follow the directors, which follow discovery: what waits for a pool that is gone is refused."""
        directors = self._directors.by_pool()
        self._left += [self.flows.pop(pool) for pool in [pool for pool in self.flows if pool not in directors]]
        for pool, director in directors.items():
            flow = self.flows.get(pool)
            if flow is None:
                bill = None if self._bills is None else self._bills.bill(pool)
                flow = self.flows[pool] = PoolFlow(director, self._settings, self._clock, bill)
            flow.forecast.follow(director.endpoints(), now)
        if self._left and self._close(now, self._clock() + SLICE_SECONDS):
            self._ring_at(now)
        self.stir(now)

    def direct(self, request: InferenceRequest, now: float) -> Verdict | Held:
        """See `Director`."""
        body = request.body
        flow = None if body is None else self._flow(request, now)
        if body is None or flow is None:
            return self._director.direct(request, now)
        bound = flow.is_bound(request.headers, now)
        if not bound and flow.nothing_ahead(request.headers, now):
            flow.end_turn()
            verdict = self._director.direct(request, now)
            if isinstance(verdict, Decision):
                flow.passed(request, verdict, now)
                return verdict
            if verdict.reason is not Reason.NO_ROOM and not self._waits_for_endpoints(verdict, flow):
                return verdict
        elif not flow.director.has_endpoints():
            flow.director.call_for_endpoints(now)
        prospect = flow.director.prospect(request, body, now)
        if isinstance(prospect, Rejection):
            return prospect
        lane = flow.lane(request, prospect, now)
        first = not bound and not flow.queue.waits_in(lane, prospect.priority)
        held = flow.hold(request, prospect, lane, now)
        if isinstance(held, Held):
            # Behind others of its lane it has no room either, unless they are of lower bands.
            self._ring_at(now if first else min(flow.due(now), self._alarm_at))
            flow.stirred |= first
        return held

    def ring(self, now: float) -> None:
        """The time of the alarm has come: let go all that fits, as far as a slice reaches."""
        self._alarm_at = math.inf
        self._rang_at = now
        until = self._clock() + SLICE_SECONDS
        pools = list(self.flows)
        start = pools.index(self._first) if self._first is not None and self._first in self.flows else 0
        due = now if self._close(now, until) else math.inf
        for place in range(len(pools)):
            pool = pools[(start + place) % len(pools)]
            flow = self.flows[pool]
            if not len(flow.queue):
                continue
            if place and self._clock() > until:
                self._first, due = pool, now
                break
            done = self._work(flow, now, until)
            if len(flow.queue):
                due = min(due, self._next_look(flow, now) if done else now)
        self._ring_at(due)

    def _next_look(self, flow: PoolFlow, now: float) -> float:
        """When to look at a flow again of which all has gone that may."""
        return min(flow.due(now), now + _BREATH_SECONDS if flow.stirred else math.inf)

    def stir(self, now: float) -> None:
        """Something has changed that may make room."""
        waiting = [flow for flow in self.flows.values() if len(flow.queue)]
        for flow in waiting:
            flow.stirred = True
        if waiting:
            self._ring_at(max(now, self._rang_at + _BREATH_SECONDS))

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """See `Director`."""
        decided = super().response_started(decision, status, served, now)
        if decided is not decision:
            flow = None if decided.pool is None else self.flows.get(decided.pool)
            if flow is not None:
                flow.preemption.began(decided)
            self.stir(now)
        return decided

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """See `Director`."""
        self._director.finished(request, decision, outcome, now)
        flow = None if decision.pool is None else self.flows.get(decision.pool)
        if flow is not None:
            flow.ended(decision, outcome, now)
            self.stir(now)

    def may_go(self, pool: ObjectKey, now: float) -> bool:
        """Whether a request for `pool` that came now need not wait behind others, and may have room."""
        flow = self.flows.get(pool)
        if flow is None or len(flow.queue):
            return False
        found = flow.director.open_rows(now)
        return found is not None and any(found[1])

    def _close(self, now: float, until: float) -> bool:
        """Refuse what waits for pools that are gone; whether more is left to refuse."""
        while self._left:
            if not self._left[-1].end(POOL_GONE, now):
                self._left.pop()
            elif self._clock() > until:
                return True
        return False

    def _work(self, flow: PoolFlow, now: float, until: float) -> bool:
        """Refuse what is late and let go what fits; False: time is up before the end."""
        while flow.expire(now):
            if self._clock() > until:
                return False
        if not flow.director.has_endpoints():
            flow.end_turn()
            flow.stirred = False
            return True
        turn = flow.turn(now)
        while (waiting := turn.next(now)) is not None:
            if self._step(flow, turn, waiting, now):
                break
            if self._clock() > until:
                return False
        flow.end_turn()
        return True

    def _step(self, flow: PoolFlow, turn: Turn, waiting: Waiting, now: float) -> bool:
        """Ask about one request; True: none can go."""
        request = flow.entries[waiting.number].request
        verdict = self._director.direct(request, now)
        if isinstance(verdict, Decision):
            flow.let_go(turn, waiting, verdict, now)
        elif verdict.reason in _FOR_ALL and request.subset is None:
            return True
        elif verdict.reason in _FOR_NOW:
            no_room = verdict.reason is Reason.NO_ROOM
            # Where room was made, the request is asked about again.
            if no_room and flow.make_room(waiting, now):
                flow.director.claims.withdraw()
                return False
            if flow.director.claims.made:
                turn.passed(waiting)
            else:
                flow.keep(turn, waiting, verdict.lane if no_room else None, now)
        else:
            flow.queue.removed(waiting.number, now)
            flow.refuse(waiting, verdict, now)
        return False

    def _waits_for_endpoints(self, verdict: Rejection, flow: PoolFlow) -> bool:
        missing = verdict.reason is Reason.NO_ENDPOINTS and not flow.director.has_endpoints()
        return missing and self._settings.no_endpoint_seconds > 0.0

    def _flow(self, request: InferenceRequest, now: float) -> PoolFlow | None:
        director = self._directors.placed(request, now)
        return None if director is None else self.flows.get(director.pool)
