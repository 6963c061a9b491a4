"""The columns by model say the same as the objects they are made of, however they came to be."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.model_table import (
    COVERED,
    LEAVING,
    RUNNING,
    SERVES,
    STATISTIC_CELLS,
    WAITING,
    WAITING_SINCE,
    Cells,
    ModelColumns,
    ModelTable,
    cells,
    cells_of,
)
from infscale.metrics.sample import FloatArray, ModelLoad
from infscale.metrics.window import ModelWindow, WindowSummary

MODELS = st.sampled_from(["", "a", "b", "c"])
NUMBERS = st.none() | st.floats(0, 100)
LOADS = st.dictionaries(MODELS, st.builds(ModelLoad, NUMBERS, NUMBERS, NUMBERS), max_size=3)
SEEN = st.builds(
    ModelWindow,
    st.floats(0, 9),
    st.floats(0, 9) | st.just(math.inf),
    st.dictionaries(st.sampled_from(sorted(STATISTIC_CELLS)), st.floats(0, 9)),
)
WINDOWS = st.none() | st.builds(
    WindowSummary,
    st.floats(0, 30),
    st.floats(0, 30),
    st.just({}),
    st.just({}),
    st.dictionaries(st.none() | MODELS, SEEN, max_size=3),
)
ROWS = 3


def table_of(said: Sequence[Cells]) -> ModelTable:
    columns = ModelColumns(len(said))
    for row, each in enumerate(said):
        columns.write(row, each)
    return columns.table()


@given(st.lists(st.tuples(st.integers(0, ROWS - 1), LOADS, WINDOWS, st.booleans()), max_size=12))
def test_rows_written_again_and_rows_written_once_are_the_same(
    changes: list[tuple[int, Mapping[str, ModelLoad], WindowSummary | None, bool]],
) -> None:
    columns, said = ModelColumns(ROWS), [cells_of({}, None)] * ROWS
    read: list[tuple[ModelTable, dict[str | None, FloatArray]]] = []
    for row, loads, window, look in changes:
        said[row] = cells_of(loads, window)
        columns.write(row, said[row])
        if look:
            table = columns.table()
            read.append((table, {model: column.copy() for model, column in table.items()}))
    table, expected = columns.table(), table_of(said)
    assert table.keys() == expected.keys()
    assert all(np.array_equal(table[model], expected[model], equal_nan=True) for model in expected)
    for earlier, copies in read:
        assert earlier.keys() == copies.keys()
        assert all(np.array_equal(earlier[model], copies[model], equal_nan=True) for model in copies)


@given(LOADS, WINDOWS)
def test_cells_are_what_loads_and_windows_say(loads: Mapping[str, ModelLoad], window: WindowSummary | None) -> None:
    table = table_of([cells_of({}, None), cells_of(loads, window)])

    def cell(model: str | None, which: int) -> float | None:
        value = float(cells(table, model, which, 2)[1])
        return None if math.isnan(value) else value

    for model, load in loads.items():
        assert (cell(model, WAITING), cell(model, RUNNING)) == (load.waiting, load.running)
    assert {model for model in table if cell(model, SERVES)} == set(loads)
    for model, seen in window.models.items() if window else ():
        assert (cell(model, LEAVING), cell(model, WAITING_SINCE)) == (seen.leaving, seen.waiting_since)
        assert cell(model, COVERED) == (window.covered_seconds if window else None)
        assert {one: cell(model, STATISTIC_CELLS[one]) for one in seen.statistics} == seen.statistics
    assert np.isnan(cells(table, "nobody", WAITING, 2)).all()
