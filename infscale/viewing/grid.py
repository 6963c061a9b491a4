"""What a page is made of: facts, and sections of rows whose cells say how they are to be looked at.

Terminals and HTML are made of the same ones.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from infscale.viewing.seen_documents import Told
from infscale.viewing.words import STALE_SIGN, UNKNOWN, Write


class Mark(enum.Enum):
    """How a cell is to be looked at; the value names a style of both terminals and HTML."""

    PLAIN = "plain"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"
    STALE = "stale"


class ViewKind(enum.Enum):
    """What can be looked at; the value is its name in addresses."""

    STORE = "store"
    POOL = "pool"
    ENDPOINT = "endpoint"
    MODEL = "model"
    AUTOSCALER = "autoscaler"
    TRIGGER = "trigger"
    PICK = "pick"


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at: a kind, and the names that tell it from others of the kind; `explains`: why it is so."""

    kind: ViewKind
    pool: str = ""
    name: str = ""
    explains: bool = False

    @property
    def pick(self) -> str:
        """The id of the pick that it shows, "" where it shows none."""
        return self.name.partition(" ")[0] if self.kind is ViewKind.PICK else ""


STORE_VIEW: Final = View(ViewKind.STORE)


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, by what it is sorted (None: unknown, which comes last), and why it is unknown."""

    text: str
    order: float | str | None = None
    mark: Mark = Mark.PLAIN
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; those with a higher `spare` go first where there is no room, 0 never. `wraps`: it is prose."""

    title: str
    right: bool = True
    spare: int = 0
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Cells, one for each column; `key` tells the row from the others of its section, `opens` is what it stands for."""

    key: str
    cells: tuple[Cell, ...]
    opens: View | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A table of a page; `empty` is said where it has no rows."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    empty: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What is shown of a view. `path` leads to it: the names of views, and these."""

    path: tuple[tuple[str, View], ...]
    facts: tuple[str, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Sorting:
    """By which column rows of a section are sorted, and whether the other way round."""

    section: str
    column: int
    backwards: bool = False


def arranged(page: Page, sorting: Sorting | None = None, wanted: str = "") -> Page:
    """`page` with its rows sorted, and without those in which no cell has the text `wanted`."""
    return replace(page, sections=tuple(_arranged(each, sorting, wanted.casefold()) for each in page.sections))


def _arranged(section: Section, sorting: Sorting | None, wanted: str) -> Section:
    rows = section.rows
    if wanted:
        rows = tuple(row for row in rows if any(wanted in cell.text.casefold() for cell in row.cells))
    if sorting is not None and sorting.section == section.title and sorting.column < len(section.columns):
        rows = _sorted(rows, sorting)
    return section if rows is section.rows else replace(section, rows=rows)


def _sorted(rows: tuple[Row, ...], sorting: Sorting) -> tuple[Row, ...]:
    """Texts ascending, numbers from the highest, unknown ones last either way."""
    numbers: list[tuple[float, Row]] = []
    texts: list[tuple[str, Row]] = []
    unknown: list[Row] = []
    for row in rows:
        match row.cells[sorting.column].order:
            case None:
                unknown.append(row)
            case str() as text:
                texts.append((text.casefold(), row))
            case value:
                numbers.append((float(value), row))
    texts.sort(key=lambda pair: pair[0], reverse=sorting.backwards)
    numbers.sort(key=lambda pair: pair[0], reverse=not sorting.backwards)
    return (*(row for _, row in numbers), *(row for _, row in texts), *unknown)


def path_to(view: View) -> tuple[tuple[str, View], ...]:
    """The names of the views that lead to `view`, and its own."""
    path = [("store", STORE_VIEW)]
    if view.pool:
        path.append((view.pool, View(ViewKind.POOL, view.pool)))
    if view.name:
        path.append((view.name, View(view.kind, view.pool, view.name)))
    return tuple(path)


def text_cell(text: str, mark: Mark = Mark.PLAIN, cause: str = "") -> Cell:
    """A cell that is a word."""
    return Cell(text, text, mark, cause)


def value_cell(
    value: float | None, write: Write, cause: str = "", *, stale: bool = False, mark: Mark = Mark.PLAIN
) -> Cell:
    """A cell that is a number; without one it is unknown for `cause`, which of a stale one says why it is not used."""
    if value is None:
        return Cell(UNKNOWN, None, Mark.UNKNOWN, cause or "it is not reported")
    if stale:
        return Cell(f"{write(value)}{STALE_SIGN}", value, Mark.STALE, cause)
    return Cell(write(value), value, mark)


def told_cell(told: Told, write: Write, mark: Mark = Mark.PLAIN) -> Cell:
    """A cell that is what readers are told."""
    return value_cell(told.value, write, told.cause, mark=mark)


def by_limits(value: float | None, warning: float, bad: float) -> Mark:
    """The mark of a value of which more is worse."""
    if value is None:
        return Mark.PLAIN
    return Mark.BAD if value >= bad else Mark.WARNING if value >= warning else Mark.PLAIN


def unknown_cells(page: Page) -> Mapping[tuple[str, str, str], str]:
    """Section, row and column of each cell that is not a usable value, with the cause."""
    return {
        (section.title, row.cells[0].text, column.title): cell.cause
        for section in page.sections
        for row in section.rows
        for column, cell in zip(section.columns, row.cells, strict=True)
        if cell.mark in (Mark.UNKNOWN, Mark.STALE) and cell.cause
    }
