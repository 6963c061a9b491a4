"""A histogram of what is observed, in buckets that are given once."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

_INFINITE: Final = "+Inf"


class Histogram:
    """Counts observations by the first of `bounds` (ascending) that is not below them. For one thread."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds: Final = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        """The sum of all observations."""

    def observe(self, value: float) -> None:
        """Count `value`, which is finite."""
        place = 0
        # Bounds are few, and most of what is observed is small.
        for bound in self.bounds:
            if value <= bound:
                break
            place += 1
        self._counts[place] += 1
        self.total += value

    def add(self, other: "Histogram") -> None:
        """Count what `other`, of the same bounds, has counted."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.total += other.total

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def buckets(self, bounds: tuple[float, ...] | None = None) -> list[tuple[str, float]]:
        """The cumulative count at each bound, by its text, and at "+Inf"; `bounds` are some of the histogram's own."""
        sums = list(accumulate(self._counts))
        wanted = self.bounds if bounds is None else bounds
        pairs = [(str(bound), float(sums[self.bounds.index(bound)])) for bound in wanted]
        return [*pairs, (_INFINITE, float(sums[-1]))]


def merged(histograms: Sequence[Histogram]) -> Histogram:
    """What all of `histograms`, at least one and of the same bounds, have counted."""
    found = Histogram(histograms[0].bounds)
    for each in histograms:
        found.add(each)
    return found
