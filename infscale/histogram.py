"""A histogram of what is observed, in buckets that are given once."""

from bisect import bisect_left
from itertools import accumulate
from typing import Final


class Histogram:
    """Counts observations by the first of `bounds` (ascending) that is not below them. For one thread."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        """The sum of all observations."""

    def observe(self, value: float) -> None:
        """Count `value`, which is finite."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def buckets(self, bounds: tuple[float, ...] | None = None) -> list[tuple[str, float]]:
        """The cumulative count at each bound, by its text, and at "+Inf"; `bounds` are some of the histogram's own."""
        sums = list(accumulate(self._counts))
        wanted = self._bounds if bounds is None else bounds
        pairs = [(str(bound), float(sums[self._bounds.index(bound)])) for bound in wanted]
        return [*pairs, (_INFINITE, float(sums[-1]))]


_INFINITE: Final = "+Inf"
