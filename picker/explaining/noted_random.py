"""Randomness that can be had again: what a decision drew, and the same draws for one that repeats it.

All of `random.Random` is made of two methods, so that noting these two notes every kind of draw.
"""

from collections.abc import Sequence
from random import Random

Drawn = Sequence[float | int]
"""Results of `random` (floats) and of `getrandbits` (whole numbers), in their order."""


class NotedRandom(Random):
    """Draws from `source`, draw by draw what that gives; `drawn` has what was drawn since it was last emptied."""

    def __init__(self, source: Random) -> None:
        super().__init__(0)
        self._source = source
        self.drawn: list[float | int] = []

    def random(self) -> float:
        """See `random.Random`."""
        value = self._source.random()
        self.drawn.append(value)
        return value

    def getrandbits(self, k: int, /) -> int:
        """See `random.Random`."""
        value = self._source.getrandbits(k)
        self.drawn.append(value)
        return value


class RepeatedRandom(Random):
    """Gives `drawn` again, as long as it is asked for just that; then draws of its own, from a generator of `seed`."""

    def __init__(self, drawn: Drawn, seed: int) -> None:
        super().__init__(0)
        self._left = list(reversed(drawn))
        self._own = Random(seed)

    def random(self) -> float:
        """See `random.Random`."""
        if self._left and isinstance(self._left[-1], float):
            return self._left.pop()
        self._left.clear()
        return self._own.random()

    def getrandbits(self, k: int, /) -> int:
        """See `random.Random`."""
        if self._left:
            value = self._left[-1]
            if isinstance(value, int) and not value >> k:
                self._left.pop()
                return value
        self._left.clear()
        return self._own.getrandbits(k)
