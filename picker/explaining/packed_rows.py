"""Arrays that differ little from one to the next, kept as the first of them and what changes after it."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from infscale.metrics.sample import FloatArray

_PLACE: Final = np.dtype(np.intp)
_BITS: Final = np.dtype(np.int64)


class PackedRows:
    """A growing list of arrays of one shape, given back bit for bit: what is no number, too.

    To add one, write all of `next` and call `add`. Item i is the first one with the first `ends[i]` changes made, each
    a place and the bits that are there from then on.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.next: FloatArray = np.empty(shape)
        self._last: FloatArray = np.empty(shape)
        # The same as whole numbers in a row: not every number is equal to itself.
        self._next_bits = self.next.reshape(-1).view(_BITS)
        self._last_bits = self._last.reshape(-1).view(_BITS)
        self._first: FloatArray = self._last
        self._places = bytearray()
        self._values = bytearray()
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._ends)

    @staticmethod
    def of(first: bytes, places: bytes, values: bytes, ends: Sequence[int], shape: tuple[int, int]) -> "PackedRows":
        """Those that `parts` gave. Raises ValueError where they do not fit together."""
        rows = PackedRows(shape)
        rows._first = np.frombuffer(first, dtype=np.float64).reshape(shape)
        rows._places, rows._values, rows._ends = bytearray(places), bytearray(values), list(ends)
        changes, size = len(places) // _PLACE.itemsize, shape[0] * shape[1]
        found = np.frombuffer(places, dtype=_PLACE)
        if len(values) != changes * _BITS.itemsize or (changes and not 0 <= found.min() <= found.max() < size):
            raise ValueError("changes do not fit the array")
        if not ends or min(ends) < 0 or max(ends) > changes:
            raise ValueError("there are fewer changes than are counted")
        return rows

    def parts(self) -> tuple[bytes, bytes, bytes, list[int]]:
        """The first array, the places, the bits, and how many changes each item has behind it."""
        return self._first.tobytes(), bytes(self._places), bytes(self._values), self._ends

    @property
    def size_bytes(self) -> int:
        """What it takes once it is closed."""
        return self._first.nbytes + len(self._places) + len(self._values) + 8 * len(self._ends)

    def add(self) -> None:
        """Add what was written into `next`."""
        if not self._ends:
            self._first = self.next.copy()
            self._ends.append(0)
        else:
            at = np.not_equal(self._next_bits, self._last_bits).nonzero()[0]
            self._places += at.tobytes()
            self._values += self._next_bits.take(at).tobytes()
            self._ends.append(self._ends[-1] + len(at))
        self.next, self._last = self._last, self.next
        self._next_bits, self._last_bits = self._last_bits, self._next_bits

    def close(self) -> None:
        """Let go of what only `add` needs: nothing is added any more."""
        self.next = self._last = np.empty((0, 0))
        self._next_bits = self._last_bits = np.empty(0, dtype=_BITS)

    def item(self, number: int) -> FloatArray:
        """One array."""
        found = self._first.copy()
        stop = self._ends[number]
        # Of a place that is there several times the last value stays.
        places = np.frombuffer(self._places, dtype=_PLACE, count=stop)
        found.reshape(-1).view(_BITS)[places] = np.frombuffer(self._values, dtype=_BITS, count=stop)
        return found
