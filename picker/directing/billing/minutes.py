"""What a pool's GPU-seconds were in each minute of the last day.

A request is in the minutes in which it had its seconds. Where it ends without an answer, what it had is moved to what
is wasted, in the same minutes, so that each minute adds up by itself.
"""

from collections.abc import Sequence
from typing import Final

from picker.directing.billing.billed_request import ENDINGS, Ending

MINUTE_SECONDS: Final = 60.0
KEPT_MINUTES: Final = 24 * 60

_KINDS: Final = len(ENDINGS)


def minute_of(at: float) -> int:
    """The minute of a monotonic second."""
    return int(at // MINUTE_SECONDS)


class Sums:
    """GPU-seconds of some time: all of the pool's, what of them was idle and computed again, and what rows had."""

    __slots__ = ("cells", "counted", "idle", "recomputed")

    def __init__(self) -> None:
        self.counted = 0.0
        self.idle = 0.0
        self.recomputed = 0.0
        self.cells: dict[int, float] = {}
        """By place of the row and ending (`cell`)."""

    def add(self, cell: int, gpu_seconds: float) -> None:
        """So many more in a cell."""
        self.cells[cell] = self.cells.get(cell, 0.0) + gpu_seconds

    def of(self, place: int, ending: Ending) -> float:
        """What requests of a row with this ending had; those that have not ended are among the used."""
        return self.cells.get(cell(place, ending), 0.0)

    @property
    def places(self) -> Sequence[int]:
        """The rows that had something, in order."""
        return sorted({each // _KINDS for each in self.cells})


def cell(place: int, ending: Ending) -> int:
    """The cell of a row's GPU-seconds with this ending."""
    return place * _KINDS + ENDINGS.index(ending)


class Minutes:
    """Owner of the sums of each minute, the last `KEPT_MINUTES` of them."""

    def __init__(self) -> None:
        self._sums: dict[int, Sums] = {}

    def __len__(self) -> int:
        return len(self._sums)

    def of(self, minute: int) -> Sums:
        """The sums of a minute, which is not before the last one."""
        sums = self._sums.get(minute)
        if sums is None:
            sums = self._sums[minute] = Sums()
            for old in [each for each in self._sums if each <= minute - KEPT_MINUTES]:
                del self._sums[old]
        return sums

    def ended(self, spent: Sequence[tuple[int, float]], place: int, ending: Ending) -> None:
        """What a request of a row had, by minute, was not used but has this ending."""
        for minute, gpu_seconds in spent:
            sums = self._sums.get(minute)
            if sums is not None:
                sums.add(cell(place, "used"), -gpu_seconds)
                sums.add(cell(place, ending), gpu_seconds)

    def since(self, minute: int) -> Sums:
        """The sums from a minute on."""
        found = Sums()
        for each, sums in self._sums.items():
            if each >= minute:
                found.counted += sums.counted
                found.idle += sums.idle
                found.recomputed += sums.recomputed
                for place, gpu_seconds in sums.cells.items():
                    found.add(place, gpu_seconds)
        return found
