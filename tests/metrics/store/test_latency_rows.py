"""Histograms added up at once are those added up one by one, and only for the latest snapshot."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.sample import Histogram
from infscale.metrics.store.latency_rows import LatencyTable
from infscale.metrics.windows.merged_histograms import merged
from infscale.metrics.windows.window import WindowSummary

BOUNDS = (0.1, 1.0, float("inf"))
ROWS = 4
EMPTY = WindowSummary(0.0, 0.0, {}, {}, {})


def window(counts: list[int], bounds: tuple[float, ...] = BOUNDS, *, with_sum: bool = True) -> WindowSummary:
    total = float(sum(counts)) / 4 if with_sum else math.nan
    histogram = Histogram(bounds, np.cumsum(counts[: len(bounds)]).astype(np.float64), total)
    return replace(EMPTY, histograms={("queue_time", "m"): histogram, ("queue_time", None): histogram})


COUNTS = st.lists(st.integers(0, 9), min_size=3, max_size=3)


@given(
    st.lists(st.tuples(COUNTS, st.booleans()), min_size=ROWS, max_size=ROWS),
    st.sets(st.integers(0, ROWS - 1), min_size=1),
    st.integers(0, 3),
)
def test_added_up_at_once_and_one_by_one_are_the_same(
    counts: list[tuple[list[int], bool]], chosen: set[int], times: int
) -> None:
    """Whatever the rows that are not asked for say, also where they publish no sum."""
    table, windows = LatencyTable(ROWS), [window(each, with_sum=with_sum) for each, with_sum in counts]
    for row in range(ROWS):
        table.write(row, window([9, 9, 9]))
        table.write(row, windows[row])
    rows = sorted(chosen)
    found = table.view().added_up(("queue_time", "m"), np.array(rows), rows[0], times)
    parts = [windows[row].histograms["queue_time", "m"] for row in (*rows, *[rows[0]] * times)]
    expected = merged(parts)
    assert found is not None
    assert expected is not None
    assert (found.bounds, found.counts.tolist()) == (expected.bounds, expected.counts.tolist())
    assert found.sum == pytest.approx(expected.sum, nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | COUNTS), max_size=30), st.sets(st.integers(0, 9), min_size=1))
def test_rows_that_come_and_go_leave_nothing_behind(
    changes: list[tuple[int, list[int] | None]], chosen: set[int]
) -> None:
    table, said = LatencyTable(10), dict[int, WindowSummary]()
    for row, counts in changes:
        if counts is None:
            said.pop(row, None)
            table.write(row, None)
        else:
            said[row] = window(counts)
            table.write(row, said[row])
    rows = sorted(chosen & said.keys())
    found = table.view().added_up(("queue_time", "m"), np.array(rows, dtype=np.intp), 0, 0)
    expected = merged([said[row].histograms["queue_time", "m"] for row in rows])
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.counts.tolist() == expected.counts.tolist()
        assert found.sum == pytest.approx(expected.sum)


def test_a_view_that_is_not_the_latest_says_so() -> None:
    table = LatencyTable(1)
    table.write(0, window([1, 0, 0]))
    before = table.view()
    table.write(0, window([2, 0, 0]))
    assert before.added_up(("queue_time", "m"), np.array([0]), 0, 0) is None
    assert table.view().added_up(("queue_time", "m"), np.array([0]), 0, 0) is not None


def test_bounds_that_differ_are_left_to_whoever_can_bring_them_together() -> None:
    table = LatencyTable(2)
    table.write(0, window([1, 0, 0]))
    table.write(1, window([1, 0], (0.5, float("inf"))))
    assert table.view().added_up(("queue_time", "m"), np.array([0, 1]), 0, 0) is None
    assert table.view().added_up(("queue_time", "n"), np.array([0]), 0, 0) is None


def test_what_nobody_observes_any_more_takes_no_room() -> None:
    table = LatencyTable(2)
    for number in range(100):
        histogram = Histogram(BOUNDS, np.array([1.0, 1.0, 1.0]), 1.0)
        table.write(number % 2, replace(EMPTY, histograms={("queue_time", f"m{number}"): histogram}))
    found = [table.view().added_up(("queue_time", f"m{number}"), np.array([number % 2]), 0, 0) for number in range(100)]
    assert [each is not None for each in found] == [False] * 98 + [True] * 2
    table.write(0, None)
    assert table.view().added_up(("queue_time", "m98"), np.array([0]), 0, 0) is None
