"""Rows are sorted and filtered; what is unknown comes last, whichever way."""

import pytest

from infscale.viewing.grid import (
    STORE_VIEW,
    Cell,
    Column,
    Mark,
    Page,
    Row,
    Section,
    Sorting,
    View,
    ViewKind,
    arranged,
    by_limits,
    path_to,
    text_cell,
    unknown_cells,
    value_cell,
)
from infscale.viewing.words import count


def row(name: str, value: float | None) -> Row:
    return Row(name, (text_cell(name), value_cell(value, count, "it is gone")))


ROWS = (row("b", 2.0), row("c", None), row("A", 30.0))
PAGE = Page(path_to(STORE_VIEW), (), (Section("things", (Column("name"), Column("value")), ROWS),))


def names(page: Page) -> list[str]:
    return [each.key for each in page.sections[0].rows]


@pytest.mark.parametrize(
    ("sorting", "expected"),
    [
        (None, ["b", "c", "A"]),
        (Sorting("things", 0), ["A", "b", "c"]),
        (Sorting("things", 0, backwards=True), ["c", "b", "A"]),
        (Sorting("things", 1), ["A", "b", "c"]),
        (Sorting("things", 1, backwards=True), ["b", "A", "c"]),
        (Sorting("others", 1), ["b", "c", "A"]),
        (Sorting("things", 7), ["b", "c", "A"]),
    ],
)
def test_rows_are_sorted(sorting: Sorting | None, expected: list[str]) -> None:
    assert names(arranged(PAGE, sorting)) == expected


@pytest.mark.parametrize(("wanted", "expected"), [("a", ["A"]), ("3", ["A"]), ("", ["b", "c", "A"]), ("x", [])])
def test_rows_are_filtered_by_any_cell(wanted: str, expected: list[str]) -> None:
    assert names(arranged(PAGE, None, wanted)) == expected


def test_causes_are_those_of_cells_without_a_usable_value() -> None:
    stale = Row("d", (text_cell("d"), value_cell(4.0, count, "too old", stale=True)))
    section = Section("things", PAGE.sections[0].columns, (*ROWS, stale))
    found = unknown_cells(Page((), (), (section,)))
    assert found == {("things", "c", "value"): "it is gone", ("things", "d", "value"): "too old"}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (value_cell(None, count), Cell("–", None, Mark.UNKNOWN, "it is not reported")),
        (value_cell(0.0, count), Cell("0", 0.0)),
        (value_cell(3.0, count, "old", stale=True), Cell("3*", 3.0, Mark.STALE, "old")),
    ],
    ids=["unknown", "zero", "stale"],
)
def test_unknown_is_no_zero_and_stale_is_marked(cell: Cell, expected: Cell) -> None:
    assert cell == expected


def test_more_is_worse() -> None:
    marks = [by_limits(value, 0.8, 1.0) for value in (None, 0.5, 0.8, 1.0)]
    assert marks == [Mark.PLAIN, Mark.PLAIN, Mark.WARNING, Mark.BAD]


def test_the_path_leads_through_the_pool() -> None:
    view = View(ViewKind.ENDPOINT, "llm/chat", "llm/vllm-0")
    assert [name for name, _ in path_to(view)] == ["store", "llm/chat", "llm/vllm-0"]
