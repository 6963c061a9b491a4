"""A director whose dispatches are billed: around what decides, and inside of what has requests wait."""

from picker.directing.billing.bills import Bills
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, PromptDirector, Rejection, Verdict


class BilledDirector:
    """Passes on to `director` and tells `bills` of what it sends to endpoints, and how that ends.

    A decision is billed from when it is made, however long its request has waited before.
    """

    def __init__(self, director: PromptDirector, bills: Bills) -> None:
        self._director = director
        self._bills = bills

    def direct(self, request: InferenceRequest, now: float) -> Verdict:
        """See `Director`."""
        verdict = self._director.direct(request, now)
        if isinstance(verdict, Decision):
            self._bills.began(request, verdict, now)
        return verdict

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """See `Director`."""
        self._director.refused(headers, body, rejection)

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """See `Director`."""
        decided = self._director.response_started(decision, status, served, now)
        self._bills.started(decision, decided, now)
        return decided

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """See `Director`."""
        self._director.finished(request, decision, outcome, now)
        self._bills.ended(decision, outcome, now)

    def overheard(self, outcome: Outcome) -> None:
        """See `Director`."""
        self._director.overheard(outcome)
