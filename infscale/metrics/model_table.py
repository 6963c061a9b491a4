"""What endpoints say of each model, as columns: one array of cells × rows per model, under None of all models together.

A thousand endpoints are read as a few arrays instead of a thousand objects each; the arrays are made where one
endpoint's row changes. NaN is unknown, also where an endpoint says nothing of a model.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from infscale.metrics.latency import PUBLISHED_LATENCIES, STATISTICS
from infscale.metrics.sample import FloatArray, HistogramName, ModelLoad, Statistic
from infscale.metrics.window import WindowSummary

PRESENT, SERVES, WAITING, RUNNING, WAITING_TOKENS, LEAVING, WAITING_SINCE, COVERED = range(8)
"""Cells: whether anything is said; whether the model is served; requests and tokens; requests per second that leave the
queue; the second since which it is not empty (+inf: it is); how many seconds back observations reach."""

_STATISTICS: list[tuple[HistogramName, Statistic]] = [(name, one) for name in PUBLISHED_LATENCIES for one in STATISTICS]

STATISTIC_CELLS = MappingProxyType({statistic: COVERED + 1 + place for place, statistic in enumerate(_STATISTICS)})
"""The cells of statistics of latencies, seconds."""

_CELLS = COVERED + 1 + len(STATISTIC_CELLS)

ModelTable = Mapping[str | None, FloatArray]
Cells = Mapping[str | None, list[float]]
"""What one endpoint says, by model."""

EMPTY: ModelTable = MappingProxyType({})


def cells_of(loads: Mapping[str, ModelLoad], window: WindowSummary | None) -> Cells:
    """The cells of an endpoint with these loads and this window."""
    found: dict[str | None, list[float]] = {}
    if window is not None:
        for model, seen in window.models.items():
            row = found[model] = [math.nan] * _CELLS
            row[PRESENT] = 1.0
            row[LEAVING], row[WAITING_SINCE], row[COVERED] = seen.leaving, seen.waiting_since, window.covered_seconds
            for statistic, value in seen.statistics.items():
                row[STATISTIC_CELLS[statistic]] = value
    for model, load in loads.items():
        row = found.setdefault(model, [math.nan] * _CELLS)
        row[PRESENT] = row[SERVES] = 1.0
        row[WAITING], row[RUNNING] = _or_nan(load.waiting), _or_nan(load.running)
        row[WAITING_TOKENS] = _or_nan(load.waiting_tokens)
    return found


def with_cells(table: ModelTable, rows: int, row: int, said: Cells) -> ModelTable:
    """`table` of so many rows with what one endpoint says now; models nobody speaks of any more leave it."""
    changed = dict(table.items())
    for model, values in said.items():
        column = table.get(model)
        copy = np.full((_CELLS, rows), math.nan) if column is None else column.copy()
        copy[:, row] = values
        copy.flags.writeable = False
        changed[model] = copy
    for model, column in table.items():
        if model not in said and not math.isnan(column[PRESENT, row]):
            copy = column.copy()
            copy[:, row] = math.nan
            copy.flags.writeable = False
            changed[model] = copy
            if np.isnan(copy[PRESENT]).all():
                del changed[model]
    return changed


def table_of(endpoints: list[Cells]) -> ModelTable:
    """The table of endpoints in row order."""
    table: dict[str | None, FloatArray] = {}
    for row, said in enumerate(endpoints):
        for model, values in said.items():
            if model not in table:
                table[model] = np.full((_CELLS, len(endpoints)), math.nan)
            table[model][:, row] = values
    for column in table.values():
        column.flags.writeable = False
    return table


def cells(table: ModelTable, model: str | None, cell: int, rows: int) -> FloatArray:
    """One cell of `model`, of every row."""
    column = table.get(model)
    return np.full(rows, math.nan) if column is None else column[cell]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
