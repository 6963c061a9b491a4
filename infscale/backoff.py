"""How long to wait before trying again."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waiting with jitter: `base_seconds`, times `factor` per try, at most `cap_seconds`.

    Half of a wait is certain and half is drawn, so that clients refused together come back apart, yet never at once.
    """

    base_seconds: float = 0.1
    factor: float = 2.0
    cap_seconds: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.base_seconds <= self.cap_seconds < math.inf:
            raise ValueError("a back-off needs 0 < base_seconds <= cap_seconds")
        if not 1 <= self.factor < math.inf:
            raise ValueError("a back-off grows by a factor of at least 1")

    def ceiling(self, attempt: int) -> float:
        """Longest wait in seconds before retry number `attempt`, counted from 0."""
        if attempt < 0:
            raise ValueError("attempts are counted from 0")
        if self.factor == 1.0:
            return self.base_seconds
        # The power overflows long after the cap is reached; the logarithm says where that is.
        if attempt >= math.log(self.cap_seconds / self.base_seconds) / math.log(self.factor):
            return self.cap_seconds
        return min(self.cap_seconds, self.base_seconds * self.factor**attempt)

    def delay(self, attempt: int, rng: "random.Random") -> float:
        """Seconds to wait before retry number `attempt`, counted from 0: between half and all of `ceiling`."""
        return self.ceiling(attempt) * rng.uniform(0.5, 1.0)
