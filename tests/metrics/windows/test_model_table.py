"""The columns by model say the same as the objects they are made of, however they came to be."""

import math
import tracemalloc
from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.sample import FloatArray, ModelLoad
from infscale.metrics.windows.model_table import (
    CELLS,
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
from infscale.metrics.windows.window import ModelWindow, WindowSummary

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
MANY = 80
"""Of which few are the first ten."""


def table_of(said: Sequence[Cells]) -> ModelTable:
    columns = ModelColumns(len(said))
    for row, each in enumerate(said):
        columns.write(row, each)
    return columns.table()


def whole(table: ModelTable, rows: int) -> dict[str | None, FloatArray]:
    """All cells of all rows, by model."""
    return {model: np.array([cells(table, model, each, rows) for each in range(CELLS)]) for model in table}


@given(
    st.sampled_from([ROWS, MANY]),
    st.lists(st.tuples(st.integers(0, MANY - 1), LOADS, WINDOWS, st.booleans()), max_size=30),
)
def test_rows_written_again_and_rows_written_once_are_the_same(
    rows: int, changes: list[tuple[int, Mapping[str, ModelLoad], WindowSummary | None, bool]]
) -> None:
    columns, said = ModelColumns(rows), [cells_of({}, None)] * rows
    read: list[tuple[ModelTable, dict[str | None, FloatArray]]] = []
    for number, loads, window, look in changes:
        row = number % rows
        said[row] = cells_of(loads, window)
        columns.write(row, said[row])
        if look:
            table = columns.table()
            read.append((table, whole(table, rows)))
    table, expected = whole(columns.table(), rows), whole(table_of(said), rows)
    assert table.keys() == expected.keys()
    assert all(np.array_equal(table[model], expected[model], equal_nan=True) for model in expected)
    for earlier, copies in read:
        now = whole(earlier, rows)
        assert now.keys() == copies.keys()
        assert all(np.array_equal(now[model], copies[model], equal_nan=True) for model in copies)


def test_models_of_one_row_take_no_memory_for_the_others() -> None:
    """A hundred names on one page, in a pool of a thousand: whole columns would take 17 MB."""
    columns, load = ModelColumns(1000), {f"m{number}": ModelLoad(1.0, 2.0) for number in range(100)}
    tracemalloc.start()
    columns.write(7, cells_of(load, None))
    table = columns.table()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 100
    assert held < 200_000
    found = cells(table, "m5", RUNNING, 1000)
    assert found[7] == 2.0
    assert np.isnan(found).sum() == 999


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
