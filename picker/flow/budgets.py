"""How much may wait."""

from typing import Final, Literal

from infscale.frozen_values import value
from picker.flow.waiting import Waiting

Full = Literal["band", "all"]
"""Which budget has no room: that of the request's band, or the one of all bands together."""


@value
class Budget:
    """Requests, and bytes of their bodies, that may wait at once; None: no limit."""

    requests: int | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        if min(self.requests or 0, self.size_bytes or 0) < 0:
            raise ValueError("budgets are not negative")


NO_LIMIT: Final = Budget()


class Sums:
    """What waits: requests, bytes of their bodies, tokens of their prompts, and what they are to cost."""

    __slots__ = ("requests", "seconds", "size_bytes", "tokens")

    def __init__(self) -> None:
        self.requests = 0
        self.size_bytes = 0
        self.tokens = 0.0
        self.seconds = 0.0
        """GPU seconds, as far as they are estimated."""

    def takes(self, budget: Budget, size_bytes: int) -> bool:
        """Whether one more request of `size_bytes` is within `budget`."""
        if budget.requests is not None and self.requests >= budget.requests:
            return False
        return budget.size_bytes is None or self.size_bytes + size_bytes <= budget.size_bytes

    def count(self, sign: int, waiting: Waiting) -> None:
        """One request more (`sign` 1) or less (-1)."""
        self.requests += sign
        self.size_bytes += sign * waiting.size_bytes
        # What sums of fractions leave over goes with the last.
        self.tokens = self.tokens + sign * waiting.prompt_tokens if self.requests else 0.0
        self.seconds = self.seconds + sign * waiting.cost_seconds if self.requests else 0.0
