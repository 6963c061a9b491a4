"""Histograms of latencies side by side, one row per endpoint, so that those of a thousand are added up at once.

They would be too large to copy for every snapshot: there is one table, written in place, and a snapshot keeps the
version it was taken at. A reader of an older snapshot is told so and adds up the windows instead.
"""

import math
from collections.abc import Mapping

import numpy as np

from infscale.metrics.sample import FloatArray, Histogram, HistogramName
from infscale.metrics.snapshot import IntArray, LatencyRows
from infscale.metrics.windows.latency_statistics import PUBLISHED_LATENCIES
from infscale.metrics.windows.model_table import Speakers
from infscale.metrics.windows.window import WindowSummary

_Key = tuple[HistogramName, str | None]


class _Matrix:
    """Counts by bucket, then the sum, of each row that has any; `bounds` are those of all of them.

    There is a line for each of these rows and for none of the others: names of models are whatever a page says.
    """

    __slots__ = ("_lines", "_rows", "bounds", "cells")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.cells: FloatArray = np.zeros((1, len(bounds) + 1))
        self._rows: IntArray = np.zeros(1, dtype=np.intp)
        self._lines: dict[int, int] = {}

    def line(self, row: int) -> FloatArray:
        """The line of `row`, to be written; it has one from now on."""
        line = self._lines.get(row)
        if line is None:
            line = self._lines[row] = len(self._lines)
            if line == len(self._rows):
                self.cells = np.resize(self.cells, (2 * line, self.cells.shape[1]))
                self._rows = np.resize(self._rows, 2 * line)
            self._rows[line] = row
        found: FloatArray = self.cells[line]
        return found

    def leave(self, row: int) -> None:
        """`row` has none any more."""
        line = self._lines.pop(row, None)
        last = len(self._lines)
        if line is None or line == last:
            return
        moved = int(self._rows[last])
        self.cells[line], self._rows[line], self._lines[moved] = self.cells[last], moved, line

    def weighed(self, weights: FloatArray) -> FloatArray:
        """The sum of the lines, by what each row weighs; a row that weighs nothing counts for nothing."""
        count = len(self._lines)
        weights, cells = weights[self._rows[:count]], self.cells[:count]
        found: FloatArray = np.einsum("i,ij->j", weights, cells)
        if math.isnan(found[-1]):
            # A row that is not asked for may have a sum that is not published: 0 times NaN is NaN.
            asked = weights > 0
            found = np.einsum("i,ij->j", weights[asked], cells[asked])
        return found


class LatencyTable:
    """The table of one pool, of so many rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        # None: endpoints differ in their bounds.
        self._matrices: dict[_Key, _Matrix | None] = {}
        self._speakers = Speakers[_Key](rows)
        self.version = 0

    def write(self, row: int, window: WindowSummary | None) -> None:
        """The endpoint in `row` has this window now."""
        self.version += 1
        published = _published(window)
        for key, others in self._speakers.speaks(row, published):
            if not others:
                del self._matrices[key]
                continue
            left = self._matrices[key]
            if left is not None:
                left.leave(row)
        for key, histogram in published.items():
            if key not in self._matrices:
                self._matrices[key] = _Matrix(histogram.bounds)
            matrix = self._matrices[key]
            if matrix is None:
                continue
            if histogram.bounds is not matrix.bounds and histogram.bounds != matrix.bounds:
                self._matrices[key] = None
                continue
            cells = matrix.line(row)
            cells[:-1] = histogram.counts
            cells[-1] = histogram.sum

    def view(self) -> LatencyRows:
        """The table as it is now."""
        return _View(self, self.version)

    def added_up(self, key: _Key, rows: IntArray, once_more: int, times: int) -> Histogram | None:
        """See `LatencyRows`."""
        matrix = self._matrices.get(key)
        if matrix is None or not len(rows):
            return None
        weights = np.zeros(self._rows)
        weights[rows] = 1.0
        if times:
            weights[once_more] += times
        cells = matrix.weighed(weights)
        return Histogram(matrix.bounds, cells[:-1], float(cells[-1]))


class _View:
    """A table at one version."""

    __slots__ = ("_table", "_version")

    def __init__(self, table: LatencyTable, version: int) -> None:
        self._table = table
        self._version = version

    def added_up(self, key: _Key, rows: IntArray, once_more: int, times: int) -> Histogram | None:
        """See `LatencyRows`."""
        if self._table.version != self._version:
            return None
        return self._table.added_up(key, rows, once_more, times)


def _published(window: WindowSummary | None) -> Mapping[_Key, Histogram]:
    if window is None:
        return {}
    return {key: histogram for key, histogram in window.histograms.items() if key[0] in PUBLISHED_LATENCIES}
