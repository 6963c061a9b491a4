"""Arrays that differ little from one to the next, kept as the first of them and what changes after it."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from infscale.metrics.sample import FloatArray

_PLACE: Final = np.dtype(np.intp)
_BITS: Final = np.dtype(np.int64)


class PackedRows:
    """A growing list of arrays of one shape, given back bit for bit: what is no number, too.

    Item i is the first one with the first `ends[i]` changes made, each a place and the bits that are there from then
    on. Several are added at a time, for the price of little more than one.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._first: FloatArray = np.empty(0)
        self._last: FloatArray = self._first
        self._places = bytearray()
        self._values = bytearray()
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._ends)

    @staticmethod
    def of(first: bytes, places: bytes, values: bytes, ends: Sequence[int], shape: tuple[int, int]) -> "PackedRows":
        """Those that `parts` gave. Raises ValueError where they do not fit together."""
        rows = PackedRows(shape)
        rows._first = np.frombuffer(first, dtype=np.float64)
        rows._places, rows._values, rows._ends = bytearray(places), bytearray(values), list(ends)
        changes, size = len(places) // _PLACE.itemsize, shape[0] * shape[1]
        found = np.frombuffer(places, dtype=_PLACE)
        if len(rows._first) != size:
            raise ValueError("the array has another shape")
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

    def add(self, pieces: list[FloatArray], count: int) -> None:
        """Add `count` arrays, at least one; `pieces`, of one dimension, are their numbers one after the other."""
        size = self._shape[0] * self._shape[1]
        block = np.concatenate([self._last, *pieces] if self._ends else pieces)
        if not self._ends:
            self._first = block[:size].copy()
            self._ends.append(0)
            count -= 1
        self._last = block[-size:].copy()
        # As whole numbers: not every number is equal to itself.
        bits = block.view(_BITS)
        after = bits[size:]
        at = np.not_equal(after, bits[:-size]).nonzero()[0]
        before = self._ends[-1]
        if not len(at):
            self._ends += [before] * count
            return
        self._places += (at % size).tobytes()
        self._values += after.take(at).tobytes()
        if count > 1:
            ends = at.searchsorted(np.arange(size, len(after), size)) + before
            self._ends += ends.tolist()
        self._ends.append(before + len(at))

    def follow(self, item: FloatArray) -> None:
        """Add one array of one dimension, of which nothing is held."""
        if not self._ends:
            self._first, self._last = item.copy(), item.copy()
            self._ends.append(0)
            return
        bits, last = item.view(_BITS), self._last.view(_BITS)
        at = np.not_equal(bits, last).nonzero()[0]
        if len(at):
            values = bits.take(at)
            last[at] = values
            self._places += at.tobytes()
            self._values += values.tobytes()
        self._ends.append(self._ends[-1] + len(at))

    def close(self) -> None:
        """Let go of what only `add` needs: nothing is added any more."""
        self._last = np.empty(0)

    def item(self, number: int) -> FloatArray:
        """One array."""
        found = self._first.copy()
        stop = self._ends[number]
        # Of a place that is there several times the last value stays.
        places = np.frombuffer(self._places, dtype=_PLACE, count=stop)
        found.view(_BITS)[places] = np.frombuffer(self._values, dtype=_BITS, count=stop)
        return found.reshape(self._shape)
