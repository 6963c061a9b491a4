"""The columns by model say the same as the objects they are made of, however they came to be."""

import math
from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.model_table import (
    COVERED,
    EMPTY,
    LEAVING,
    RUNNING,
    SERVES,
    STATISTIC_CELLS,
    WAITING,
    WAITING_SINCE,
    cells,
    cells_of,
    table_of,
    with_cells,
)
from infscale.metrics.sample import ModelLoad
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
    WindowSummary, st.floats(0, 30), st.just({}), st.just({}), st.dictionaries(st.none() | MODELS, SEEN, max_size=3)
)
ROWS = 3


@given(st.lists(st.tuples(st.integers(0, ROWS - 1), LOADS, WINDOWS), max_size=12))
def test_row_by_row_and_all_at_once_are_the_same(
    changes: list[tuple[int, Mapping[str, ModelLoad], WindowSummary | None]],
) -> None:
    table, said = EMPTY, [cells_of({}, None)] * ROWS
    for row, loads, window in changes:
        said[row] = cells_of(loads, window)
        before = {model: column.copy() for model, column in table.items()}
        after = with_cells(table, ROWS, row, said[row])
        assert all(np.array_equal(before[model], table[model], equal_nan=True) for model in table)
        table = after
    expected = table_of(said)
    assert table.keys() == expected.keys()
    assert all(np.array_equal(table[model], expected[model], equal_nan=True) for model in expected)


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
