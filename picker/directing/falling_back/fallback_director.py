"""The director that has requests go elsewhere which their own pool cannot serve, or not in time.

It asks the director inside, which may have requests wait, first of the pool that a request is for, and then of that
pool's targets in order. A request that waits keeps its place while there is no better one: when its time at a pool is
over, or the pool has no endpoint any more, it goes on to the next target that can take it. It only ever goes on in the
list of the pool that it was for, so that it comes nowhere twice; the lists of the targets are not looked at, and what
another picker has sent elsewhere already stays where it is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Final, Protocol

from infscale.endpoint import ObjectKey
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.falling_back.fallback_books import FallbackBooks, Way
from picker.directing.falling_back.fallback_target import REASONS, FallbackReason, FallbackTarget, Targets
from picker.directing.pool_directors import PoolDirectors
from picker.ext_proc.headers import FALLBACK
from picker.request import (
    Decision,
    Director,
    Headers,
    Held,
    InferenceRequest,
    Outcome,
    ParsedBody,
    Rejection,
    Verdict,
)

_LOOK_SECONDS: Final = 0.05
"""How often what waits is looked at whose time is over, or whose pool may be dead."""
_AT_ONCE: Final = 256
"""How many requests that wait are looked at in one turn, the longest waiting first."""


class Queues(Protocol):
    """Knows what waits for pools."""

    def may_go(self, pool: ObjectKey, now: float) -> bool:
        """Whether a request for `pool` that came now need not wait behind others."""
        ...


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits: `held` at its own pool, or `at` one of its targets; None: it was refused there.

    `targets` are those it has not been at yet. `told` is what waits for its verdict, None: nothing does yet. `left`: it
    has waited at a target, and its own pool may be asked once more. `limited` are ways that it found closed by a limit.
    """

    request: InferenceRequest
    own: PoolDirector
    arrived_at: float
    targets: Sequence[FallbackTarget]
    told: Held | None = None
    held: Held | None = None
    why: FallbackReason = FallbackReason.UNAVAILABLE
    at: Way | None = None
    refused: Rejection | None = None
    left: bool = False
    limited: set[Way] = field(default_factory=set[Way])

    def resolve(self, verdict: Verdict) -> None:
        """Tell the exchange."""
        if self.told is not None:
            self.told.resolve(verdict)


class FallbackDirector:
    """Passes on to `director`, whose pools `directors` has; see the module. Call it from one thread only.

    `queues` None: no request waits. `alarm` is to have it rung at the time it is given, at the last one that it was.
    """

    def __init__(  # noqa: PLR0913 # what it stands between
        self,
        director: Director,
        directors: PoolDirectors,
        store: MetricStore,
        queues: Queues | None,
        targets: Targets,
        alarm: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self._director = director
        self._directors = directors
        self._store = store
        self._queues = queues
        self._targets = targets
        self._alarm = alarm
        self._alarm_at = math.inf
        self._clock = clock
        self._number = 0
        self._waiting: dict[int, _Waiting] = {}
        self.books = FallbackBooks()
        """What went elsewhere."""

    # --- what exchanges ask -------------------------------------------------------------------------------------------

    def direct(self, request: InferenceRequest, now: float) -> Verdict | Held:
        """See `Director`."""
        own = self._directors.named(request.headers)
        targets = () if own is None else self._targets.get(own.pool, ())
        if own is None or not targets or request.headers.get(FALLBACK) is not None:
            return self._director.direct(request, now)
        targets = [each for each in targets if each.takes(request)]
        if not targets:
            return self._director.direct(request, now)
        waiting = _Waiting(request, own, now, targets)
        verdict = self._first(waiting, now)
        return self._hold(waiting, verdict) if isinstance(verdict, Held) else verdict

    def _first(self, waiting: _Waiting, now: float) -> Verdict | Held:
        """What becomes of a request that has just come."""
        request, own = waiting.request, waiting.own
        if not own.serves(request, now):
            elsewhere = self._elsewhere(waiting, FallbackReason.UNAVAILABLE, now)
            if elsewhere is not None:
                if request.body is not None and not own.has_endpoints():
                    own.call_for_endpoints(now)
                return elsewhere
        verdict = self._director.direct(request, now)
        if isinstance(verdict, Rejection):
            return self._after_refusal(waiting, verdict, now) or verdict
        if isinstance(verdict, Held):
            waiting.held = verdict
            return self._forecast(waiting, verdict.expected_seconds or 0.0, now) or verdict
        return verdict

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """See `Director`."""
        self._director.refused(headers, body, rejection)

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """See `Director`."""
        return self._director.response_started(decision, status, served, now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """See `Director`."""
        self._director.finished(request, decision, outcome, now)
        self.books.ended(decision)

    def overheard(self, outcome: Outcome) -> None:
        """See `Director`."""
        self._director.overheard(outcome)

    # --- what waits ---------------------------------------------------------------------------------------------------

    def ring(self, now: float) -> None:
        """The time of the alarm has come: have go on what may."""
        self._alarm_at = math.inf
        for number, waiting in list(islice(self._waiting.items(), _AT_ONCE)):
            if number in self._waiting:
                self._look(number, waiting, now)
        if self._waiting:
            self._ring_at(now + _LOOK_SECONDS)

    def _look(self, number: int, waiting: _Waiting, now: float) -> None:
        verdict: Verdict | Held | None
        if waiting.refused is not None:
            refused = waiting.refused
            verdict = self._after_refusal(waiting, refused, now) or self._once_more(waiting, now) or refused
        elif not self._place_serves(waiting, now):
            verdict = self._elsewhere(waiting, FallbackReason.UNAVAILABLE, now)
        else:
            verdict = self._late(waiting, now)
        if verdict is None:
            return
        if isinstance(verdict, Held):
            self._listen(number, waiting, verdict)
            return
        del self._waiting[number]
        waiting.resolve(verdict)

    def _place_serves(self, waiting: _Waiting, now: float) -> bool:
        """Whether the pool where a request waits has an endpoint for it."""
        if waiting.at is None:
            return waiting.own.serves(waiting.request, now)
        director = self._directors.director(waiting.at.target.pool)
        return director is not None and director.serves(self._asked(waiting, waiting.at.target), now)

    def _late(self, waiting: _Waiting, now: float) -> Decision | Held | None:
        """Where a request goes that has waited for long enough; None: it stays."""
        waited = now - waiting.arrived_at
        late = [each for each in waiting.targets if each.after_seconds is not None and waited >= each.after_seconds]
        return self._tried(waiting, late, FallbackReason.WAITED, now, waits=False) if late else None

    def _forecast(self, waiting: _Waiting, expected: float, now: float) -> Decision | Held | None:
        """Where a request goes at once that is expected to wait for too long; None: it waits."""
        late = [each for each in waiting.targets if each.after_seconds is not None and expected > each.after_seconds]
        return self._tried(waiting, late, FallbackReason.FORECAST, now, waits=False) if late else None

    def _once_more(self, waiting: _Waiting, now: float) -> Verdict | Held | None:
        """What its own pool says of a request that no target is left for; None: it was asked already, or serves not."""
        if not waiting.left or not waiting.own.serves(waiting.request, now):
            return None
        waiting.left, waiting.targets, waiting.refused = False, (), None
        return self._director.direct(waiting.request, now)

    def _after_refusal(self, waiting: _Waiting, refused: Rejection, now: float) -> Decision | Held | None:
        """Where a request goes that has been refused; None: nowhere."""
        why = FallbackReason.UNAVAILABLE if waiting.left else REASONS.get(refused.reason)
        return None if why is None else self._elsewhere(waiting, why, now)

    def _elsewhere(self, waiting: _Waiting, why: FallbackReason, now: float) -> Decision | Held | None:
        """Where a request goes that cannot stay, for `why`: first where it goes at once, else where it waits."""
        targets = [each for each in waiting.targets if each.after(why)]
        found: Decision | Held | None = None
        if self._queues is not None:
            found = self._tried(waiting, targets, why, now, waits=False)
        found = found or self._tried(waiting, targets, why, now, waits=True)
        if found is None and not waiting.own.serves(waiting.request, now, in_doubt=True):
            # As when all pages could not be read for a moment: what was there then is worth more than what was not.
            found = self._tried(waiting, targets, why, now, waits=True, in_doubt=True)
        return found

    def _tried(  # how eagerly
        self,
        waiting: _Waiting,
        targets: Sequence[FallbackTarget],
        why: FallbackReason,
        now: float,
        *,
        waits: bool,
        in_doubt: bool = False,
    ) -> Decision | Held | None:
        """The verdict of the first of `targets` that takes a request; with `waits` also where it waits behind others.

        The request has left where it was. None: no target takes it, and it is where it was. With `in_doubt` a target
        counts that seemed alive a moment ago.
        """
        for target in targets:
            director = self._directors.director(target.pool)
            if director is None or (
                not waits and self._queues is not None and not self._queues.may_go(target.pool, now)
            ):
                continue
            asked, way = self._asked(waiting, target), Way(waiting.own.pool, target)
            if not director.serves(asked, now, in_doubt=in_doubt) or not self._has_room(waiting, way, director):
                continue
            verdict = self._director.direct(asked, now)
            if isinstance(verdict, Rejection):
                continue
            self._leave(waiting)
            self.books.entered(way)
            waiting.at, waiting.why, waiting.refused = way, why, None
            waiting.targets = waiting.targets[waiting.targets.index(target) + 1 :]
            if isinstance(verdict, Held):
                waiting.held, waiting.left = verdict, True
                return verdict
            return self._went(waiting, verdict, now)
        return None

    def _has_room(self, waiting: _Waiting, way: Way, director: PoolDirector) -> bool:
        snapshot = self._store.snapshot(way.target.pool)
        takes_each = 0.0 if snapshot is None else snapshot.state.settings.saturation.max_in_flight_requests
        if self.books.has_room(way, director.ready(), takes_each):
            return True
        if way not in waiting.limited:
            waiting.limited.add(way)
            self.books.kept_away(way)
        return False

    def _asked(self, waiting: _Waiting, target: FallbackTarget) -> InferenceRequest:
        return target.asked(waiting.request, waiting.own.priority(waiting.request))

    def _leave(self, waiting: _Waiting) -> None:
        """Take a request out of where it waits."""
        if waiting.held is not None:
            waiting.held.moves = True
            waiting.held.give_up()
            waiting.held = None
        if waiting.at is not None:
            self.books.left(waiting.at)
            waiting.at = None

    def _went(self, waiting: _Waiting, decision: Decision, now: float) -> Decision:
        """The decision about a request that goes to an endpoint of a target."""
        way = waiting.at
        if way is None:
            return decision
        self.books.began(way, waiting.why, decision)
        record = decision.record
        if record is not None:
            record.fallback = way.target.words(way.pool, waiting.why)
            waited = now - waiting.arrived_at
            if waited > 0.0:
                record.waited_seconds, record.waited_for = waited, "an endpoint, there and elsewhere"
        return replace(decision, fallback=way.target.fallback(way.pool, waiting.why))

    # --- being told ---------------------------------------------------------------------------------------------------

    def _hold(self, waiting: _Waiting, held: Held) -> Held:
        """What the exchange waits for; the request may go on to targets until there is a verdict."""
        self._number += 1
        number = self._number
        waiting.told = Held(partial(self._gave_up, number), held.expected_seconds)
        self._waiting[number] = waiting
        self._listen(number, waiting, held)
        self._ring_at(self._clock() + _LOOK_SECONDS)
        return waiting.told

    def _listen(self, number: int, waiting: _Waiting, held: Held) -> None:
        waiting.held = held
        held.listen(partial(self._verdict, number))

    def _verdict(self, number: int, verdict: Verdict) -> None:
        """The pool where a request waits has a verdict."""
        waiting, now = self._waiting[number], self._clock()
        waiting.held = None
        if isinstance(verdict, Decision):
            del self._waiting[number]
            waiting.resolve(self._went(waiting, verdict, now))
            return
        # A target may be gone, which is nothing that the client could mend.
        why = FallbackReason.UNAVAILABLE if waiting.at is not None else REASONS.get(verdict.reason)
        self._leave(waiting)
        if why is None or not (waiting.left or any(each.after(why) for each in waiting.targets)):
            del self._waiting[number]
            waiting.resolve(verdict)
            return
        # Not now: whatever refused it is in the middle of its own work.
        waiting.refused = verdict
        self._ring_at(now)

    def _gave_up(self, number: int) -> None:
        """The client has left."""
        waiting = self._waiting.pop(number)
        held, waiting.held = waiting.held, None
        if held is not None:
            held.give_up()
        self._leave(waiting)

    def _ring_at(self, at: float) -> None:
        if at < self._alarm_at:
            self._alarm_at = at
            self._alarm(at)
