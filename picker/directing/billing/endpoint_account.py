"""The account of one endpoint: how long it worked, and for which requests.

It is *settled* from time to time, and everything up to then is divided: what is in flight is looked at then, not at
each step, nor when a request comes or goes.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from picker.directing.billing.billed_request import BilledRequest
from picker.directing.billing.time_shares import NOTHING, Claim, StepCost, divided

MOST_CLOSING: Final = 512
"""Of so many requests that have ended since it was settled it wants to be settled."""

_STREAMED: Final = 0.1
"""An answer that came in the last tenth of its request's time was not streamed, but for one that is hardly there."""
_LONGEST_STEP_SECONDS: Final = 0.5


class EndpointView(NamedTuple):
    """What is known of an endpoint as it is settled.

    `ready`: its time counts also where nothing is in flight. `waiting` requests wait in its engine, by a page that was
    read at `observed_at`; None: it does not say. `runs` says whether any request is in it, None: it does not say.
    Its engine took `preemptions_per_second` requests out of its batch, to compute them again. `served` is the model
    that its page names, "" where it names none or several.
    """

    ready: bool
    gpus: float
    cost: StepCost
    waiting: float | None = None
    runs: bool | None = None
    observed_at: float = float("-inf")
    preemptions_per_second: float = 0.0
    served: str = ""


class Settled(NamedTuple):
    """A time of one endpoint, in seconds: all that counts, of it idle and computed again, and shares of requests."""

    counted: float
    idle: float
    recomputed: float
    shares: list[tuple[BilledRequest, float]]
    gpus: float


class EndpointAccount:
    """Owner of what is in flight at one endpoint since it was settled; times that it is given never go back."""

    def __init__(self, now: float, view: EndpointView) -> None:
        self.view = view
        self.settled_at = now
        self.open: dict[int, BilledRequest] = {}
        self.closing: list[BilledRequest] = []
        self._worked = 0.0
        self._works_since = now
        # How long a step took of late.
        self._step_seconds = view.cost.base

    def began(self, request: BilledRequest, now: float) -> None:
        """A request was sent there."""
        if not self.open:
            self._works_since = max(now, self.settled_at)
        self.open[request.number] = request

    def ended(self, number: int, now: float) -> BilledRequest | None:
        """It has ended; what it had since the account was settled is known when that is settled again."""
        request = self.open.pop(number, None)
        if request is None:
            return None
        request.ended_at = now
        self.closing.append(request)
        if not self.open:
            self._worked += max(0.0, now - self._works_since)
        return request

    def moved(self, number: int, now: float) -> BilledRequest | None:
        """It went on to another endpoint before it was answered here, and has had nothing."""
        request = self.open.pop(number, None)
        if request is not None and not self.open:
            self._worked += max(0.0, now - self._works_since)
        return request

    def settle(self, now: float, view: EndpointView) -> Settled:
        """Divide the time since it was settled last; from now on the endpoint is as `view` says."""
        began, before = self.settled_at, self.view
        now = max(now, began)
        self.view, self.settled_at = view, now
        elapsed = now - began
        worked = self._worked
        if self.open:
            worked += max(0.0, now - self._works_since)
        self._worked, self._works_since = 0.0, now
        requests = [*self.closing, *self.open.values()]
        self.closing = []
        worked = min(worked, elapsed)
        if not requests or _is_known_idle(before, view, requests):
            worked = 0.0
        # What is not ready has no time but that in which it works: it drains.
        counted = elapsed if before.ready else worked
        if not worked > 0.0:
            return Settled(counted, counted, 0.0, [(each, 0.0) for each in requests], before.gpus)
        again = _recomputed(view, requests, worked)
        shares = self._shares(requests, worked - again, began, now)
        return Settled(counted, counted - worked, again, shares, before.gpus)

    def _shares(
        self, requests: list[BilledRequest], worked: float, began: float, now: float
    ) -> list[tuple[BilledRequest, float]]:
        claims = self._claims(requests, began, now)
        found: list[tuple[BilledRequest, float]] = []
        division = divided(worked, self.view.cost, claims)
        self._step_seconds = min(division.step_seconds, _LONGEST_STEP_SECONDS)
        for each, share in zip(requests, division.shares, strict=True):
            each.prefill_tokens -= share.prefill_tokens
            found.append((each, share.seconds))
        return found

    def _claims(self, requests: list[BilledRequest], began: float, now: float) -> list[Claim]:
        """What each may have had since `began`: prompts are computed one after the other, answers at the same time."""
        waiting = self._waiting(requests)
        per_token, computed_at = self.view.cost.per_prefill_token, began
        claims: list[Claim] = []
        for each in requests:
            if each.refused or each.number in waiting:
                claims.append(NOTHING)
                continue
            until, begins = now if each.ended_at is None else each.ended_at, max(began, each.began_at)
            if each.prefill_tokens > 0.0:
                computed_at = max(computed_at, begins) + per_token * each.prefill_tokens
                # The step that runs as it comes has to end first, and one in which its prompt is computed.
                begins = computed_at + self._step_seconds
            answered_at = each.answered_at
            if answered_at is not None and until - answered_at > _STREAMED * (until - each.began_at):
                # Its answer is a stream, which some servers begin before there is a token.
                begins = max(begins, answered_at)
            decoding = max(0.0, until - begins) if each.generates else 0.0
            claims.append(Claim(each.prefill_tokens, each.context_tokens, decoding))
        return claims

    def _waiting(self, requests: list[BilledRequest]) -> Collection[int]:
        """The numbers of those that wait in the engine: the last whose answers have not begun, then the last that have.

        What was sent since the page was read waits as well where others do. An engine without room for what runs takes
        out what came last.
        """
        view = self.view
        if not view.waiting:
            return ()
        answered = [each.number for each in requests if each.ended_at is None and each.answered_at is not None]
        unanswered = [each for each in requests if each.ended_at is None and each.answered_at is None]
        since = sum([each.began_at > view.observed_at for each in unanswered])
        line = answered + [each.number for each in unanswered]
        return set(line[max(0, len(line) - int(view.waiting) - since) :])


def _recomputed(view: EndpointView, requests: list[BilledRequest], worked: float) -> float:
    """Seconds for what preempted requests had and was computed again: their mean context at each preemption."""
    if not view.preemptions_per_second > 0.0:
        return 0.0
    contexts = sum([each.context_tokens for each in requests]) / len(requests)
    again = view.preemptions_per_second * worked * contexts * view.cost.per_prefill_token
    return min(again, 0.5 * worked)


def _is_known_idle(before: EndpointView, view: EndpointView, requests: list[BilledRequest]) -> bool:
    """Whether the last two pages say that nothing is in the engine, although we know of requests since before these.

    They hang, or have ended and nothing said so. One page may have been read just before the end of a request came.
    """
    if not (before.runs is False and view.runs is False and view.observed_at > before.observed_at):
        return False
    return all([each.ended_at is None and each.began_at < before.observed_at for each in requests])
