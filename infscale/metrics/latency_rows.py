"""Histograms of latencies side by side, one row per endpoint, so that those of a thousand are added up at once.

They would be too large to copy for every snapshot: there is one table, written in place, and a snapshot keeps the
version it was taken at. Who asks a snapshot that is not the latest any more is told so and adds up the windows instead.
"""

import math
from collections.abc import Mapping

import numpy as np

from infscale.metrics.latency import PUBLISHED_LATENCIES
from infscale.metrics.model_table import Speakers
from infscale.metrics.sample import FloatArray, Histogram, HistogramName
from infscale.metrics.snapshot import IntArray, LatencyRows
from infscale.metrics.window import WindowSummary

_Key = tuple[HistogramName, str | None]


class _Matrix:
    """Counts by bucket, then the sum, of each row; `bounds` are those of all rows."""

    __slots__ = ("bounds", "cells")

    def __init__(self, bounds: tuple[float, ...], rows: int) -> None:
        self.bounds = bounds
        self.cells: FloatArray = np.zeros((rows, len(bounds) + 1))


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
        for key, histogram in published.items():
            if key not in self._matrices:
                self._matrices[key] = _Matrix(histogram.bounds, self._rows)
            matrix = self._matrices[key]
            if matrix is None:
                continue
            if histogram.bounds is not matrix.bounds and histogram.bounds != matrix.bounds:
                self._matrices[key] = None
                continue
            cells = matrix.cells[row]
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
        cells: FloatArray = np.einsum("i,ij->j", weights, matrix.cells)
        if math.isnan(cells[-1]):
            # A row that is not asked for may have a sum that is not published: 0 times NaN is NaN.
            cells = np.einsum("i,ij->j", weights[rows], matrix.cells[rows])
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
