"""Bounded series: the last minutes of one signal, and no more."""

import numpy as np

from infscale.metrics.sample import FloatArray

_FIRST_ROWS = 8


class BoundedSeries:
    """Samples of one signal (or of `width` signals that always come together) in time order.

    Keeps `retention_seconds` of them and the one before, one per `resolution_seconds`: the newest sample is always
    there, and replaces its predecessor while it is closer than the resolution to the one before that. So any two gaps
    together are longer than the resolution, which bounds how many there are. Owner of its arrays: the views it hands
    out are valid until the next append.
    """

    __slots__ = ("_resolution", "_retention", "_start", "_stop", "_times", "_values")

    def __init__(self, width: int, retention_seconds: float, resolution_seconds: float) -> None:
        if width < 0 or not 0 < resolution_seconds <= retention_seconds:
            raise ValueError("a series has no negative width, and keeps at least one resolution step")
        self._retention = retention_seconds
        self._resolution = resolution_seconds
        self._times: FloatArray = np.empty(_FIRST_ROWS)
        self._values: FloatArray = np.empty((_FIRST_ROWS, width))
        self._start = 0
        self._stop = 0

    def __len__(self) -> int:
        return self._stop - self._start

    @property
    def times(self) -> FloatArray:
        """Seconds of the kept samples, ascending."""
        return self._times[self._start : self._stop]

    @property
    def values(self) -> FloatArray:
        """Kept samples, one row per time, one column per signal."""
        return self._values[self._start : self._stop]

    def append(self, at: float, row: float | FloatArray) -> None:
        """Add a sample; one that is not newer than the newest is ignored."""
        count = len(self)
        if count and at <= self._times[self._stop - 1]:
            return
        replaces = count >= 2 and at - self._times[self._stop - 2] <= self._resolution
        if not replaces:
            self._make_room()
            self._stop += 1
        self._times[self._stop - 1] = at
        self._values[self._stop - 1] = row
        while self._stop - self._start > 1 and self._times[self._start + 1] <= at - self._retention:
            self._start += 1

    def _make_room(self) -> None:
        """Have a row behind the last: in larger arrays, where more than half of these are kept."""
        rows = len(self._times)
        if self._stop < rows:
            return
        kept = len(self)
        times, values = self.times, self.values
        if 2 * kept > rows:
            self._times, self._values = np.empty(2 * rows), np.empty((2 * rows, values.shape[1]))
        self._times[:kept] = times
        self._values[:kept] = values
        self._start, self._stop = 0, kept
