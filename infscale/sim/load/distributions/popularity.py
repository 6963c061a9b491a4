"""Which of several is asked for: evenly, after Zipf's law, or one of them more than all others."""

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from infscale.errors import ConfigError

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Popularity:
    """The first is asked for by `first` of all requests; the others in proportion to ``1 / rank ** exponent``.

    With `first` 0 it has the rank 1 among all.
    """

    exponent: float = 0.0
    first: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.exponent <= 10 or not 0 <= self.first <= 1:
            raise ConfigError("", "popularity", "expected an exponent within 0–10, and a share within 0–1")

    def among(self, count: int) -> "Choice":
        """A choice among so many."""
        weights = [1.0 / rank**self.exponent for rank in range(1, count + 1)]
        if self.first and count > 1:
            weights[0] = 0.0
            others = sum(weights)
            weights = [weight * (1.0 - self.first) / others for weight in weights]
            weights[0] = self.first
        return Choice(weights)


EVENLY: Final = Popularity()


class Choice:
    """Draws numbers from 0 on, by their weights."""

    __slots__ = ("_sums",)

    def __init__(self, weights: list[float]) -> None:
        self._sums = list(accumulate(weights))

    def draw(self, rng: "Random") -> int:
        """One number."""
        # Where rounding takes the drawn one to the very end, it is the last.
        return min(bisect(self._sums, rng.uniform(0.0, self._sums[-1])), len(self._sums) - 1)
