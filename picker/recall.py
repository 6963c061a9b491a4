"""Taking a request back that is under way: what the director that sent it and the exchange that carries it share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from picker.request import Rejection

EVICTED: Final = "evicted"
"""What ``x-llm-d-request-dropped-reason`` says to the client of a request that was taken back."""


class Recall:
    """The way back of one request, from its decision to its end.

    `cached_seconds` is what the endpoint would take to compute again what it had cached of the prompt. `fetches`: the
    endpoint gets the prompt's KV cache from another one before it makes the first token.
    """

    __slots__ = ("_listener", "_over", "begun", "cached_seconds", "evicted_for", "fetches")

    def __init__(self, cached_seconds: float = 0.0, fetches: bool = False) -> None:
        self._listener: Callable[[Rejection], None] | None = None
        self._over = False
        self.cached_seconds: Final = cached_seconds
        self.fetches: Final = fetches
        self.begun = False
        """Whether a piece of the answer was seen, which is so only where response bodies pass through the picker."""
        self.evicted_for: str | None = None
        """For what it was taken back, in words; None: it was not."""

    @property
    def fetching(self) -> bool:
        """Whether the cache may be on its way from another endpoint: some engines do not survive an abort then."""
        return self.fetches and not self.begun

    def listen(self, listener: "Callable[[Rejection], None]") -> None:
        """Have `listener`, which carries the exchange, told to end it. It is to end before the listener returns."""
        self._listener = listener

    def revoke(self, rejection: "Rejection", for_what: str) -> bool:
        """Take the request back, its client is told `rejection` where its answer has not begun; False: it is over."""
        listener, self._listener = self._listener, None
        if self._over or listener is None:
            return False
        self._over = True
        self.evicted_for = for_what
        listener(rejection)
        return True

    def close(self) -> None:
        """The exchange is over. Harmless when repeated."""
        self._over = True
        self._listener = None
