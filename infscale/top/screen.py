"""A page as the lines of a terminal's screen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from infscale.top.navigation import State, chosen_place, rows_of
from infscale.viewing.grid import Cell, Column, Mark, Page, Row, Section, Sorting, arranged
from infscale.viewing.words import seconds, shown

_WIDE: Final = 100
"""From so many columns on there are two between the cells of a row, else one."""
_GOOD_NAME: Final = 24
"""So many columns of a name are worth more than columns that can be spared."""
_LEAST_NAME: Final = 12
_LEAST_PROSE: Final = 20
_AROUND: Final = 3
"""Lines that are not the body: the title, the path, the keys."""

_STYLES: Final[Mapping[Mark, str]] = {
    Mark.PLAIN: "",
    Mark.GOOD: "green",
    Mark.WARNING: "yellow",
    Mark.BAD: "bold red",
    Mark.UNKNOWN: "dim",
    Mark.STALE: "yellow dim",
}
_KEYS: Final = "↑↓ move  Enter open  Esc back  e explain  s sort  / filter  q quit"


@dataclass(frozen=True, slots=True)
class Size:
    """Of a screen, in columns and lines."""

    width: int
    height: int

    @property
    def body(self) -> int:
        """Lines for what is shown."""
        return max(1, self.height - _AROUND)


@dataclass(frozen=True, slots=True)
class Contact:
    """How asking `address` goes: the age of what is shown (None: nothing came yet), since when it fails, and why."""

    address: str
    age_seconds: float | None = None
    failing_seconds: float | None = None
    problem: str = ""


def screen(state: State, page: Page, contact: Contact, size: Size) -> list[Text]:
    """The whole screen: as many lines as it has, none wider than it is."""
    here = state.here
    made = arranged(page, here.sorting, here.wanted)
    lines = [_title(contact), _path(made), *_body(state, made, size), _footer(state)]
    lines = [*lines[: size.height - 1], lines[-1]] if size.height > 1 else lines[:1]
    for line in lines:
        line.truncate(size.width, overflow="ellipsis")
    return lines


def plain(page: Page, width: int) -> list[Text]:
    """All of a page, however long, without anything chosen."""
    lines = [_path(page), *(line for line in _laid_out(page, width, None, None).lines)]
    for line in lines:
        line.rstrip()
    return lines


def _title(contact: Contact) -> Text:
    line = Text.assemble((" infscale top ", "bold reverse"), " ", shown(contact.address), "  ")
    if contact.failing_seconds is not None:
        gone = f"no answer for {seconds(contact.failing_seconds)}: {contact.problem}"
        shown_age = "" if contact.age_seconds is None else f"; shown is {seconds(contact.age_seconds)} old"
        return line.append(shown(gone + shown_age), style="bold red")
    if contact.age_seconds is None:
        return line.append("asking …", style="dim")
    return line.append(f"{seconds(contact.age_seconds)} ago", style="dim")


def _path(page: Page) -> Text:
    return Text(" › ").join(Text(shown(name), style="bold cyan") for name, _ in page.path)


def _footer(state: State) -> Text:
    if state.typing:
        return Text.assemble(("/", "bold"), shown(state.here.wanted), ("█", "blink"), ("  Enter keep  Esc all", "dim"))
    if state.here.wanted:
        return Text.assemble(("filter ", "dim"), shown(state.here.wanted), (f"  Esc all  {_KEYS}", "dim"))
    return Text(_KEYS, style="dim")


@dataclass(slots=True)
class _Laid:
    """Lines, and for each the one with the heads of its columns (None: it has none); `chosen` are those of a row."""

    lines: list[Text]
    heads: list[int | None]
    chosen: range


def _body(state: State, page: Page, size: Size) -> list[Text]:
    rows = rows_of(page)
    chosen = rows[chosen_place(state.here, rows)] if rows else None
    laid = _laid_out(page, size.width, chosen, state.here.sorting)
    begin = _begin(laid, size.body)
    window = laid.lines[begin : begin + size.body]
    head = laid.heads[begin] if window else None
    if head is not None and head < begin:
        window[0] = laid.lines[head]
    return window + [Text() for _ in range(size.body - len(window))]


def _begin(laid: _Laid, room: int) -> int:
    """The first line in the window: the chosen row is in it, in the middle where that is possible."""
    middle = laid.chosen.start - room // 2 + len(laid.chosen) // 2
    # Two rows of room above: what is at the very top is under the heads.
    least = max(0, laid.chosen.stop - room)
    return max(0, least, min(middle, len(laid.lines) - room)) if len(laid.lines) > room else 0


def _laid_out(page: Page, width: int, chosen: tuple[Section, Row] | None, sorting: Sorting | None) -> _Laid:
    laid, gap = _Laid([], [], range(0)), Text(" " * _gap(width))
    for fact in page.facts:
        _add(laid, [Text(line, style="dim") for line in wrap(shown(fact), max(width, 20)) or [""]], None)
    for section in page.sections:
        _add(laid, [Text(), Text.assemble((section.title, "bold"), (f"  {len(section.rows)}", "dim"))], None)
        if not section.rows:
            _add(laid, [Text(f"  {shown(section.empty)}", style="dim")], None)
            continue
        columns = fitted(section, width)
        head = len(laid.lines)
        _add(laid, [_heads(section, columns, gap, sorting)], None)
        for row in section.rows:
            lines = _row(section, row, columns, gap)
            if chosen is not None and chosen == (section, row):
                laid.chosen = range(len(laid.lines), len(laid.lines) + len(lines))
                for line in lines:
                    line.pad_right(max(0, width - line.cell_len))
                    line.stylize("reverse")
            _add(laid, lines, head)
    return laid


def _add(laid: _Laid, lines: Sequence[Text], head: int | None) -> None:
    laid.lines += lines
    laid.heads += [head] * len(lines)


def fitted(section: Section, width: int) -> list[tuple[int, int]]:
    """Which columns of `section` are shown, and how wide: those that can be spared go first, then texts are cut.

    Prose is cut before names, and of these the text with the most to spare.
    """
    wide = {place: _natural(section, place) for place in range(len(section.columns))}
    while len(wide) > 1 and _total(wide, section, width, _GOOD_NAME) > width:
        spared = max(wide, key=lambda place: section.columns[place].spare)
        if not section.columns[spared].spare:
            break
        del wide[spared]
    too_wide = _total(wide, section, width) - width
    for _ in range(too_wide):
        room = {place: each - _least(section.columns[place], each) for place, each in wide.items()}
        cut = max(wide, key=lambda place: (room[place] > 0, section.columns[place].wraps, room[place]))
        if room[cut] <= 0:
            break
        wide[cut] -= 1
    return list(wide.items())


def _natural(section: Section, place: int) -> int:
    # The arrow of a sorted column has room.
    texts = [section.columns[place].title + " ", *(shown(row.cells[place].text) for row in section.rows)]
    return max(cell_len(text) for text in texts)


def _least(column: Column, natural: int) -> int:
    if column.right:
        return natural
    return min(natural, _LEAST_PROSE if column.wraps else _LEAST_NAME)


def _gap(width: int) -> int:
    return 2 if width >= _WIDE else 1


def _total(wide: Mapping[int, int], section: Section, width: int, most_of_names: int | None = None) -> int:
    """How many columns of the screen `wide` takes, names and prose cut to so many where that is given."""
    widths = [
        each if most_of_names is None or section.columns[place].right else min(each, most_of_names)
        for place, each in wide.items()
    ]
    return sum(widths) + _gap(width) * (len(widths) - 1)


def _heads(section: Section, columns: Sequence[tuple[int, int]], gap: Text, sorting: Sorting | None) -> Text:
    parts: list[Text] = []
    for place, width in columns:
        column = section.columns[place]
        arrow = ""
        if sorting is not None and (sorting.section, sorting.column) == (section.title, place):
            arrow = "▲" if sorting.backwards else "▼"
        parts.append(Text(_sized(column.title + arrow, width, right=column.right), style="dim underline"))
    return gap.join(parts)


def _row(section: Section, row: Row, columns: Sequence[tuple[int, int]], gap: Text) -> list[Text]:
    """The lines of a row: prose takes as many as it needs, all else one."""
    texts: list[list[str]] = []
    for place, width in columns:
        cell = row.cells[place]
        text = shown(cell.text)
        prose = section.columns[place].wraps and cell_len(text) > width
        texts.append(wrap(text, width) if prose else [text])
    height = max(map(len, texts))
    return [
        gap.join(
            _styled(row.cells[place], parts[line] if line < len(parts) else "", width, section.columns[place])
            for (place, width), parts in zip(columns, texts, strict=True)
        )
        for line in range(height)
    ]


def _styled(cell: Cell, text: str, width: int, column: Column) -> Text:
    return Text(_sized(text, width, right=column.right), style=_STYLES[cell.mark])


def _sized(text: str, width: int, *, right: bool) -> str:
    length = cell_len(text)
    if length > width:
        return _cut(text, width)
    return " " * (width - length) + text if right else text + " " * (width - length)


def _cut(text: str, width: int) -> str:
    """The end of `text`: names of pods differ there."""
    kept = text
    while kept and cell_len(kept) > width - 1:
        kept = kept[1:]
    return set_cell_size("…" + kept, width)
