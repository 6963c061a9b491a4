"""Whose turn it is where connections bring more work than one turn of the loop should take.

Work is counted in units of about a microsecond: frames, header fields, messages, decisions. A connection works through
a read at once as long as the turn has units left, and as far as they reach where no other waits. What it has not come
to then waits, and of its socket one more read is taken meanwhile at most; in each further turn those go first that did
the least of late. So a flood costs the connection on which it comes its own time, and others wait for the rest of one
turn at most.
"""

from typing import Final, Generic, TypeVar

SLICE_UNITS: Final = 300
"""How much a connection works at a stretch where others wait."""

TURN_UNITS: Final = 900
"""How much all of them do in one turn of the loop."""

_PERIOD_SECONDS: Final = 0.1

Worker = TypeVar("Worker")


class Turns(Generic[Worker]):
    """Which connections wait, and what was done in this turn of the loop; for one thread."""

    def __init__(self) -> None:
        self._left = TURN_UNITS
        self._waiting: dict[Worker, None] = {}
        self._done: dict[Worker, int] = {}
        self._period_ends = 0.0
        self.reads = 0
        """How many reads there were, of all connections."""

    @property
    def left(self) -> bool:
        """Whether this turn of the loop has units left."""
        return self._left > 0

    @property
    def free(self) -> bool:
        """Whether this turn of the loop has units left, and none waits for them."""
        return self._left > 0 and not self._waiting

    @property
    def stretch(self) -> int:
        """How many units the one whose turn it is may work now: what is left of the turn where no other waits."""
        return SLICE_UNITS if self._waiting else max(SLICE_UNITS, self._left)

    @property
    def waiting(self) -> bool:
        """Whether any connection waits."""
        return bool(self._waiting)

    @property
    def used(self) -> bool:
        """Whether so much of the turn is gone that it should be counted anew soon."""
        return self._left < TURN_UNITS // 2

    def begin(self, now: float) -> None:
        """A turn of the loop begins."""
        self._left = TURN_UNITS
        if now >= self._period_ends:
            self._period_ends = now + _PERIOD_SECONDS
            self._done.clear()

    def did(self, worker: Worker, units: int) -> None:
        """It worked as much as this."""
        self._left -= units
        if self._waiting or units >= SLICE_UNITS:
            self._done[worker] = self._done.get(worker, 0) + units

    def wait(self, worker: Worker) -> None:
        """It has more to do."""
        self._waiting[worker] = None

    def forget(self, worker: Worker) -> None:
        """It is gone; harmless when repeated."""
        self._waiting.pop(worker, None)
        self._done.pop(worker, None)

    def next(self) -> Worker | None:
        """The one to go on now, which waits no longer; None where none waits or the turn is over."""
        if self._left <= 0 or not self._waiting:
            return None
        done = self._done
        found = min(self._waiting, key=lambda worker: done.get(worker, 0))
        del self._waiting[found]
        return found
