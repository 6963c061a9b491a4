"""How long a request may wait and by when its first token is due, in the reference's headers and by its rules."""

import math
import re
from dataclasses import dataclass

from picker.request import Headers
from picker.scheduling.prediction import TTFT_HEADERS

# Milliseconds of some thousand years; more digits mean the same.
_MILLISECONDS = re.compile(r"\s*\+?([0-9]{1,14})\s*")


def due_at(headers: Headers, arrived_at: float) -> float:
    """When the first token is wanted; infinite where `headers` do not say it in whole milliseconds."""
    text = next((found for name in TTFT_HEADERS if (found := headers.get(name))), "")
    said = _MILLISECONDS.fullmatch(text)
    return math.inf if said is None else arrived_at + int(said[1]) / 1e3


@dataclass(frozen=True, slots=True)
class WaitBudget:
    """How long a request may wait, seconds: while the pool has endpoints, and while it has none. Infinite: for ever."""

    seconds: float
    without_endpoints_seconds: float

    def asked(self, seconds: float | None) -> "WaitBudget":
        """The budget of a request that asks for `seconds`: it may have less than others, not more."""
        return self if seconds is None else WaitBudget(min(self.seconds, seconds), self.without_endpoints_seconds)

    def expires_at(self, arrived_at: float, changed_at: float, *, empty: bool) -> float:
        """When the wait is over, if the pool stays as it is: `empty` or not, since `changed_at`.

        Each time that a pool gets its first endpoint or loses its last, the budget for that begins anew.
        """
        return max(arrived_at, changed_at) + (self.without_endpoints_seconds if empty else self.seconds)
