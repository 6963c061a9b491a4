"""What directors that have requests wait have in common: the director inside, and the alarm that ends waits."""

import math
from collections.abc import Callable
from typing import Final

from picker.directing.pool_directors import PoolDirectors
from picker.request import Decision, Headers, Outcome, ParsedBody, PromptDirector, Reason, Rejection

Alarm = Callable[[float], None]
"""Has `ring` called at that time, or as soon as possible after it; once for the last time that was set."""

POOL_GONE: Final = Rejection("NotFound", "the pool is no longer there", Reason.UNKNOWN_POOL)


class HoldingDirector:
    """Passes on to `director`, whose pools `directors` has. Call it from one thread only."""

    def __init__(
        self, director: PromptDirector, directors: PoolDirectors, alarm: Alarm, clock: Callable[[], float]
    ) -> None:
        self._director = director
        self._directors = directors
        self._clock = clock
        self._alarm = alarm
        self._alarm_at = math.inf

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """See `Director`."""
        self._director.refused(headers, body, rejection)

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """See `Director`."""
        return self._director.response_started(decision, status, served, now)

    def overheard(self, outcome: Outcome) -> None:
        """See `Director`."""
        self._director.overheard(outcome)

    def _ring_at(self, at: float) -> None:
        """Ring at that time, if not before."""
        if at < self._alarm_at:
            self._alarm_at = at
            self._alarm(at)
