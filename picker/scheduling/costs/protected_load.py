"""What requests that may not be shed ask of a pool: by it, room is kept for them beside those that may."""

import math
from typing import Final

from infscale.frozen_values import value

WINDOW_SECONDS: Final = 30.0
"""What happened so long ago counts for 1/e."""
_SHORTEST_SECONDS: Final = 1.0
"""A load of less is not told from a coincidence."""


@value
class ProtectedLoad:
    """Of a pool, over the last half minute: the requests that are not sheddable.

    `prefill_share` is the seconds of prefill that they asked for in each second: as many endpoints would be busy with
    nothing else. `prefill_seconds` is that of one of them, `requests` how many were in flight on average, with
    `context_tokens` together.
    """

    prefill_share: float
    prefill_seconds: float
    requests: float
    context_tokens: float


NO_LOAD: Final = ProtectedLoad(0.0, 0.0, 0.0, 0.0)


class ProtectedBooks:
    """Owner of what `ProtectedLoad` is made from: sums that fade. The director of the pool writes it.

    Numbers are those of charges; a request is in the books from `dispatched` to `ended`.
    """

    def __init__(self) -> None:
        self._contexts: dict[int, float] = {}
        self._context_tokens = 0.0
        self._since = math.nan
        self._at = 0.0
        self._seconds = 0.0
        self._count = 0.0
        self._request_seconds = 0.0
        self._token_seconds = 0.0
        self._told: ProtectedLoad | None = None

    @staticmethod
    def of(load: ProtectedLoad) -> "ProtectedBooks":
        """Books that say `load` at any time."""
        books = ProtectedBooks()
        books._told = load
        return books

    def __len__(self) -> int:
        return len(self._contexts)

    def dispatched(self, number: int, prefill_seconds: float, context_tokens: float, now: float) -> None:
        """Request `number` was sent to an endpoint."""
        if math.isnan(self._since):
            self._since = self._at = now
        self._fade(now)
        self._seconds += prefill_seconds
        self._count += 1.0
        self._contexts[number] = context_tokens
        self._context_tokens += context_tokens

    def ended(self, number: int, now: float) -> None:
        """Request `number` has ended; one that is not in the books is sheddable."""
        context_tokens = self._contexts.get(number)
        if context_tokens is not None:
            self._fade(now)
            del self._contexts[number]
            self._context_tokens -= context_tokens

    def moved(self, number: int, to: int) -> None:
        """Request `number` went to another endpoint, where it is number `to`."""
        context_tokens = self._contexts.pop(number, None)
        if context_tokens is not None:
            self._contexts[to] = context_tokens

    def load(self, now: float) -> ProtectedLoad:
        """The load of late."""
        if self._told is not None:
            return self._told
        if math.isnan(self._since):
            return NO_LOAD
        self._fade(now)
        age = max(now - self._since, _SHORTEST_SECONDS)
        span = WINDOW_SECONDS * -math.expm1(-age / WINDOW_SECONDS)
        each = self._seconds / self._count if self._count > 0.0 else 0.0
        return ProtectedLoad(self._seconds / span, each, self._request_seconds / span, self._token_seconds / span)

    def _fade(self, now: float) -> None:
        passed = now - self._at
        if passed <= 0.0:
            return
        self._at = now
        kept = math.exp(-passed / WINDOW_SECONDS)
        self._seconds *= kept
        self._count *= kept
        # What is in flight counted through all that passed, of which the beginning has faded.
        counted = WINDOW_SECONDS * (1.0 - kept)
        self._request_seconds = self._request_seconds * kept + len(self._contexts) * counted
        self._token_seconds = self._token_seconds * kept + self._context_tokens * counted
