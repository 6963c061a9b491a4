"""A director whose decisions are timed and, where that is wanted, counted under the reference picker's names."""

from collections.abc import Callable
from typing import Final

from infscale.telemetry.histogram import Histogram
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, PromptDirector, Rejection, Verdict

# The type is said: the compiler does not set a tuple of floats whose length it knows.
DECISION_BOUNDS: Final[tuple[float, ...]] = (
    *(0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
)
"""Seconds; from 0.1 ms on they are the reference picker's."""


class ObservedDirector:
    """Passes on to `director`; `durations` says how long it took to decide, refusals included."""

    def __init__(self, director: PromptDirector, clock: Callable[[], float]) -> None:
        self._director = director
        self._clock = clock
        self.durations = Histogram(DECISION_BOUNDS)

    def direct(self, request: InferenceRequest, now: float) -> Verdict:
        """See `Director`."""
        began = self._clock()
        verdict = self._director.direct(request, now)
        seconds = self._clock() - began
        self.durations.observe(seconds)
        if isinstance(verdict, Decision) and verdict.record is not None:
            verdict.record.seconds = seconds
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

    def overheard(self, outcome: Outcome) -> None:
        """See `Director`."""
        self._director.overheard(outcome)
