"""A director that has requests wait until an endpoint can begin them: the shell around `picker.flow`.

It asks the director inside about each request. What that refuses with `Reason.NO_ROOM` waits, and so does what comes
behind it. At every change that may make room (an answer ended, values came, endpoints came, time passed) a turn goes
through what waits, in order, and lets go all that fits, each charged before the next is judged. A turn is cut into
slices, so that others of the event loop have theirs.
"""

import math
from collections.abc import Callable
from typing import Final

from infscale.endpoint import ObjectKey
from picker.directing.holding.holding_director import POOL_GONE, Alarm, HoldingDirector
from picker.directing.holding.pool_flow import FlowSettings, PoolFlow, seconds_of
from picker.directing.pool_directors import PoolDirectors
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

SLICE_SECONDS: Final = 0.001
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


class FlowDirector(HoldingDirector):
    """Passes on to `director`, whose pools `directors` has; see the module. Call it from one thread only."""

    def __init__(
        self,
        director: PromptDirector,
        directors: PoolDirectors,
        settings: FlowSettings,
        alarm: Alarm,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(director, directors, alarm, clock)
        self._settings = settings
        self._rang_at = -math.inf
        self.flows: dict[ObjectKey, PoolFlow] = {}

    def sync(self, now: float) -> None:
        """Follow the directors, which follow discovery: what waits for a pool that is gone is refused."""
        directors = self._directors.by_pool()
        for pool in [pool for pool in self.flows if pool not in directors]:
            self.flows.pop(pool).end_all(POOL_GONE, now)
        for pool, director in directors.items():
            if pool not in self.flows:
                self.flows[pool] = PoolFlow(director, self._settings, self._clock)
        self.stir(now)

    def direct(self, request: InferenceRequest, now: float) -> Verdict | Held:
        """See `Director`."""
        body = request.body
        flow = None if body is None else self._flow(request)
        if body is None or flow is None:
            return self._director.direct(request, now)
        if not len(flow.queue):
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
        first = not flow.queue.waits_in(prospect.lane, prospect.priority)
        held = flow.hold(request, prospect, now)
        if isinstance(held, Held):
            # Behind others of its lane it has no room either, unless they are of lower bands.
            self._ring_at(now if first else min(flow.due(now), self._alarm_at))
        return held

    def ring(self, now: float) -> None:
        """The time of the alarm has come: let go all that fits."""
        self._alarm_at = math.inf
        self._rang_at = now
        until = self._clock() + SLICE_SECONDS
        due = math.inf
        for flow in list(self.flows.values()):
            if len(flow.queue):
                flow.expire(now)
                done = not flow.director.has_endpoints() or self._turn(flow, now, until)
                if len(flow.queue):
                    due = min(due, flow.due(now) if done else now)
        self._ring_at(due)

    def stir(self, now: float) -> None:
        """Something has changed that may make room."""
        if any([len(flow.queue) for flow in self.flows.values()]):
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

    def _turn(self, flow: PoolFlow, now: float, until: float) -> bool:
        """Let go what fits; False: time is up before the end of the turn."""
        turn = flow.queue.turn()
        while (waiting := turn.next(now)) is not None:
            verdict = self._director.direct(flow.entries[waiting.number].request, now)
            if isinstance(verdict, Decision):
                charged = waiting.costing(seconds_of(verdict))
                turn.left(charged, now)
                flow.let_go(charged, verdict, now)
            elif verdict.reason in _FOR_NOW:
                # Where there is room now, the request is judged again.
                if verdict.reason is not Reason.NO_ROOM or not flow.make_room(waiting, now):
                    turn.blocked(waiting)
            else:
                flow.queue.removed(waiting.number, now)
                flow.refuse(waiting, verdict, now)
            if self._clock() > until:
                return False
        return True

    def _waits_for_endpoints(self, verdict: Rejection, flow: PoolFlow) -> bool:
        missing = verdict.reason is Reason.NO_ENDPOINTS and not flow.director.has_endpoints()
        return missing and self._settings.no_endpoint_seconds > 0.0

    def _flow(self, request: InferenceRequest) -> PoolFlow | None:
        director = self._directors.named(request.headers)
        return None if director is None else self.flows.get(director.pool)
