"""Virtual time: a heap of what is due, and the moment it has come to."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVar

ArgT = TypeVar("ArgT")


class VirtualClock:
    """Owner of the time of one run; what is due at one moment happens in the order in which it was asked for."""

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        """Seconds since the first request could come; negative before that."""
        self.events = 0
        """How many have happened."""
        self._due: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._number = 0
        self._stopped = False

    def time(self) -> float:
        """`now`, for what asks a clock."""
        return self.now

    def at(self, when: float, call: Callable[[ArgT], None], argument: ArgT) -> None:
        """Have `call` get `argument` at second `when`; a time that has passed is now."""
        self._number += 1
        heappush(self._due, (when if when > self.now else self.now, self._number, call, argument))

    def after(self, seconds: float, call: Callable[[ArgT], None], argument: ArgT) -> None:
        """As `at`, `seconds` from now."""
        self.at(self.now + seconds, call, argument)

    def stop(self) -> None:
        """Let nothing more happen after what happens now."""
        self._stopped = True

    def run(self) -> None:
        """Let everything happen until nothing is due, or `stop`."""
        due, self._stopped = self._due, False
        while due and not self._stopped:
            self.now, _, call, argument = heappop(due)
            self.events += 1
            call(argument)
