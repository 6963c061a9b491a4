"""Requests that came while a pool had no ready endpoint, which is what a pool of no endpoints is scaled up by."""

from collections import deque
from typing import Final

_STEPS: Final = 32


class TurnedAway:
    """The requests of one pool that were turned away over the last window, counted in steps of a part of it."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        # The second of the first and of the last request of a step, and their number.
        self._steps: deque[tuple[float, float, int]] = deque(maxlen=_STEPS + 1)

    def count(self, now: float, window_seconds: float) -> None:
        """One more, at `now`."""
        if self._steps and now - self._steps[-1][0] < window_seconds / _STEPS:
            first, _, requests = self._steps.pop()
            self._steps.append((first, now, requests + 1))
        else:
            self._steps.append((now, now, 1))

    def steps(self) -> tuple[tuple[float, int], ...]:
        """Each step's last second, and how many there were."""
        # Nearly always there is none, and each snapshot asks.
        if not self._steps:
            return ()
        return tuple([(last, requests) for _, last, requests in self._steps])
