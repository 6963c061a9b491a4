"""What endpoints say of each model, as columns: one array of cells × rows per model, under None of all models together.

A thousand endpoints are read as a few arrays instead of a thousand objects each; one endpoint writes
its row of them. NaN is unknown, also where an endpoint says nothing of a model. A model that few of many endpoints
speak of takes memory for these alone: names are whatever a page says.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from infscale.metrics.gauges import known
from infscale.metrics.sample import FloatArray, HistogramName, ModelLoad, Statistic
from infscale.metrics.windows.latency_statistics import PUBLISHED_LATENCIES, STATISTICS
from infscale.metrics.windows.window import WindowSummary

PRESENT, SERVES, WAITING, RUNNING, WAITING_TOKENS, LEAVING, WAITING_SINCE, COVERED, PREFILL = range(9)
"""Cells: whether anything is said; whether the model is served; requests and tokens; requests per second that leave the
queue; the second since which it is not empty (+inf: it is); how many seconds back observations reach; seconds of
prefill for each prompt token that was not cached."""

_STATISTICS: Final[list[tuple[HistogramName, Statistic]]] = [
    (name, one) for name in PUBLISHED_LATENCIES for one in STATISTICS
]

STATISTIC_CELLS: Final = MappingProxyType(
    {statistic: PREFILL + 1 + place for place, statistic in enumerate(_STATISTICS)}
)
"""The cells of statistics of latencies, seconds."""

CELLS: Final = PREFILL + 1 + len(STATISTIC_CELLS)
"""How many cells there are."""

# Of pools with fewer rows, the columns of all models are whole.
_MANY_ROWS: Final = 64
_FEW_OF: Final = 8

KeyT = TypeVar("KeyT")
IntArray = NDArray[np.intp]


class FewRows:
    """The cells of a model that few rows speak of: `values` has a column for each of `rows`, all others are unknown."""

    __slots__ = ("rows", "values")

    def __init__(self, rows: IntArray, values: FloatArray) -> None:
        self.rows = rows
        self.values = values

    @classmethod
    def of(cls, said: Mapping[int, list[float]]) -> "FewRows":
        """What each row says."""
        return cls(np.array(list(said), dtype=np.intp), np.array(list(said.values())).T)

    def cell(self, cell: int, rows: int) -> FloatArray:
        """One cell, of every one of `rows` rows."""
        found = np.full(rows, math.nan)
        found[self.rows] = self.values[cell]
        return found


ModelTable = Mapping[str | None, FloatArray | FewRows]
Cells = Mapping[str | None, list[float]]
"""What one endpoint says, by model."""

EMPTY: Final[ModelTable] = MappingProxyType({})


def cells_of(loads: Mapping[str, ModelLoad], window: WindowSummary | None) -> Cells:
    """The cells of an endpoint with these loads and this window."""
    found: dict[str | None, list[float]] = {}
    if window is not None:
        for model, seen in window.models.items():
            row = found[model] = [math.nan] * CELLS
            row[PRESENT] = 1.0
            row[LEAVING], row[WAITING_SINCE], row[COVERED] = seen.leaving, seen.waiting_since, window.covered_seconds
            row[PREFILL] = seen.prefill_seconds_per_token
            for statistic, value in seen.statistics.items():
                row[STATISTIC_CELLS[statistic]] = value
    for model, load in loads.items():
        row = found.setdefault(model, [math.nan] * CELLS)
        row[PRESENT] = row[SERVES] = 1.0
        row[WAITING], row[RUNNING] = known(load.waiting), known(load.running)
        row[WAITING_TOKENS] = known(load.waiting_tokens)
    return found


class Speakers(Generic[KeyT]):
    """Which rows have which keys, so that a key of no row can be dropped."""

    def __init__(self, rows: int) -> None:
        # Sets that keep their order, as dictionaries do: a row may speak of a hundred keys.
        self._of_row: list[dict[KeyT, None]] = [{}] * rows
        self._count: dict[KeyT, int] = {}

    def speaks(self, row: int, keys: Iterable[KeyT]) -> list[tuple[KeyT, bool]]:
        """Row `row` has `keys` now. Yields each key that it no longer has, and whether another row has it."""
        before, now = self._of_row[row], dict.fromkeys(keys)
        self._of_row[row] = now
        for key in now:
            if key not in before:
                self._count[key] = self._count.get(key, 0) + 1
        left = [key for key in before if key not in now]
        for key in left:
            self._count[key] -= 1
            if not self._count[key]:
                del self._count[key]
        return [(key, key in self._count) for key in left]


class ModelColumns:
    """The columns as they are written, of so many rows; models that no row has any more leave them."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._few = rows // _FEW_OF if rows > _MANY_ROWS else 0
        # Of a model that few rows speak of, what each of them says.
        self._columns: dict[str | None, FloatArray | dict[int, list[float]]] = {}
        self._made: dict[str | None, FewRows] = {}
        self._speakers = Speakers[str | None](rows)
        # Columns that a table has, and that are copied before they are written again.
        self._taken: set[str | None] = set()
        self._table: ModelTable | None = None

    def write(self, row: int, said: Cells) -> None:
        """The endpoint in `row` says this now, and nothing else."""
        self._table = None
        for model, values in said.items():
            self._say(model, row, values)
        for model, others in self._speakers.speaks(row, said):
            self._made.pop(model, None)
            column = self._columns[model]
            if not others:
                del self._columns[model]
                self._taken.discard(model)
            elif isinstance(column, dict):
                del column[row]
            else:
                self._writable(model, column)[:, row] = math.nan

    def table(self) -> ModelTable:
        """The columns as they are now, in the order in which models were first spoken of."""
        if self._table is None:
            self._table = {model: self._taken_column(model, column) for model, column in self._columns.items()}
        return self._table

    def _taken_column(self, model: str | None, column: FloatArray | dict[int, list[float]]) -> FloatArray | FewRows:
        if isinstance(column, dict):
            made = self._made.get(model)
            if made is None:
                made = self._made[model] = FewRows.of(column)
            return made
        column.flags.writeable = False
        self._taken.add(model)
        return column

    def _say(self, model: str | None, row: int, values: list[float]) -> None:
        column = self._columns.get(model)
        if column is None:
            column = self._columns[model] = {} if self._few else self._whole()
        if not isinstance(column, dict):
            self._writable(model, column)[:, row] = values
            return
        column[row] = values
        self._made.pop(model, None)
        if len(column) > self._few:
            whole = self._columns[model] = self._whole()
            for each, said in column.items():
                whole[:, each] = said

    def _whole(self) -> FloatArray:
        return np.full((CELLS, self._rows), math.nan)

    def _writable(self, model: str | None, column: FloatArray) -> FloatArray:
        if model in self._taken:
            self._taken.discard(model)
            column = self._columns[model] = column.copy()
        return column


def cells(table: ModelTable, model: str | None, cell: int, rows: int) -> FloatArray:
    """One cell of `model`, of every row."""
    column = table.get(model)
    if column is None:
        return np.full(rows, math.nan)
    return column.cell(cell, rows) if isinstance(column, FewRows) else column[cell]
