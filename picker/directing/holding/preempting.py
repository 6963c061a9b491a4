"""Taking sheddable requests of one pool back for those of higher bands that wait."""

import math
from typing import Final

from infscale.endpoint import EndpointKey
from infscale.frozen_values import value
from picker.directing.director import PoolDirector
from picker.flow.evicting.preemption import Eviction, Shortage, eviction
from picker.pick_record import KEPT_CHARACTERS
from picker.recall import EVICTED
from picker.request import Decision, InferenceRequest, Outcome, Reason, Rejection

MOST_LOOKED_AT: Final = 128
"""Of so many requests it is asked what their going would cost, the newest first: of these the least is lost."""
TIMEOUT_SECONDS: Final = 10.0
"""A request that was taken back and has not ended for so long is not waited for."""
_LOOK_SECONDS: Final = 0.005
"""So long after a look that took nothing back, there is no other."""
_MESSAGE: Final = "the request was taken back: others of a higher priority need its room; try again"


class _Rest:
    """An endpoint at which requests were taken back: those that have not ended, and until when it rests."""

    __slots__ = ("felt_seconds", "open", "until")

    def __init__(self, numbers: set[int], felt_seconds: float, until: float) -> None:
        self.open = numbers
        self.felt_seconds = felt_seconds
        self.until = until


@value
class Blocked:
    """A request that has room nowhere, of that priority.

    It would be late with its first token if it went later than in `patience_seconds`. `retry_after_seconds` is for
    clients of what is taken back.
    """

    request: InferenceRequest
    priority: int
    patience_seconds: float
    retry_after_seconds: float


class Preemption:
    """Owner of the sheddable requests of one pool that run, and of which endpoints rest. For one thread.

    An endpoint rests from an eviction until what was taken back there has ended and a step has passed, in which its
    engine has noticed.
    """

    def __init__(self, director: PoolDirector) -> None:
        self._director = director
        # By the identity of the pick's record, which goes from a decision into those that replace it.
        self._running: dict[int, Decision] = {}
        self._rests: dict[EndpointKey, _Rest] = {}
        self._looked_at = -math.inf
        self.evictions: dict[tuple[int, str], int] = {}
        """How many were taken back since start, by their priority and what was missing."""

    def __len__(self) -> int:
        """Requests that run and may be taken back."""
        return len(self._running)

    def began(self, decision: Decision) -> None:
        """A request is on its way, or has gone on to another endpoint."""
        if decision.recall is not None and decision.record is not None:
            self._running[id(decision.record)] = decision

    def ended(self, decision: Decision, outcome: Outcome, now: float) -> None:
        """A request is over."""
        if self._running.pop(id(decision.record), None) is None or outcome.kind != "evicted":
            return
        charge = decision.charge
        rest = None if charge is None else self._rests.get(charge.endpoint)
        if charge is not None and rest is not None:
            rest.open.discard(charge.number)
            if not rest.open:
                rest.until = now + rest.felt_seconds

    def make_room(self, blocked: Blocked, now: float) -> bool:
        """Take back what has to go for a request; whether anything was."""
        if blocked.priority < 0 or not self._running or self._looked_at < now < self._looked_at + _LOOK_SECONDS:
            return False
        self._looked_at = now
        self._rests = {key: rest for key, rest in self._rests.items() if now < rest.until}
        lacking = self._director.shortages(blocked.request, now)
        chosen = self._chosen(blocked, lacking, now)
        if chosen is None:
            return False
        felt_seconds = next(each.felt_seconds for each in lacking if each.endpoint == chosen.endpoint)
        numbers = {each.number for each in chosen.requests}
        self._rests[chosen.endpoint] = _Rest(numbers, felt_seconds, now + TIMEOUT_SECONDS)
        return self._take_back(chosen, blocked)

    def _chosen(self, blocked: Blocked, lacking: list[Shortage], now: float) -> Eviction | None:
        keys = {each.endpoint for each in lacking}
        there = [each for each in self._running.values() if _may_go(each, keys)]
        running = self._director.running(there[-MOST_LOOKED_AT:], now)
        return eviction(lacking, running, blocked.patience_seconds, self._rests)

    def next_look(self, now: float) -> float:
        """When an endpoint has rested, infinite where none rests."""
        return min([rest.until for rest in self._rests.values() if rest.until > now], default=math.inf)

    def _take_back(self, chosen: Eviction, blocked: Blocked) -> bool:
        rejection = Rejection("ResourceExhausted", _MESSAGE, Reason.EVICTED, EVICTED, blocked.retry_after_seconds)
        for_what = f"request {blocked.request.request_id[:KEPT_CHARACTERS]} of priority {blocked.priority}"
        numbers = {each.number: each for each in chosen.requests}
        going = [each for each in self._running.values() if each.charge is not None and each.charge.number in numbers]
        taken = 0
        for decision in going:
            charge, recall, cost = decision.charge, decision.recall, decision.cost
            if charge is None or recall is None or cost is None:
                continue
            # Known now alone: when the request has ended, no clock has it any more.
            cost.spent_seconds = numbers[charge.number].spent_seconds
            if recall.revoke(rejection, for_what):
                taken += 1
                key = decision.priority, chosen.cause
                self.evictions[key] = self.evictions.get(key, 0) + 1
            else:
                cost.spent_seconds = None
        return taken > 0


def _may_go(decision: Decision, endpoints: set[EndpointKey]) -> bool:
    """Whether a request is at one of `endpoints`, and was not taken back already."""
    charge, recall = decision.charge, decision.recall
    return charge is not None and charge.endpoint in endpoints and recall is not None and recall.evicted_for is None
