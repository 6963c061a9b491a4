"""Where someone is, and what keys change about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from infscale.top.keys import BACKSPACE, DOWN, END, ENTER, ESCAPE, HOME, PAGE_DOWN, PAGE_UP, UP
from infscale.viewing.grid import STORE_VIEW, Page, Row, Section, Sorting, View, ViewKind

_MAX_FILTER: Final = 60


@dataclass(frozen=True, slots=True)
class Place:
    """A view, with the section and key of the chosen row (None: the first), and how its rows are arranged."""

    view: View = STORE_VIEW
    chosen: tuple[str, str] | None = None
    sorting: Sorting | None = None
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """The way to where someone is, the last place last; `typing`: keys go into the filter; `ended`: it is over."""

    places: tuple[Place, ...] = (Place(),)
    typing: bool = False
    ended: bool = False

    @property
    def here(self) -> Place:
        """Where it is."""
        return self.places[-1]

    @property
    def looks_at_picks(self) -> bool:
        """Whether what is shown has decisions in it."""
        return any(place.view.explains for place in self.places)


def rows_of(page: Page) -> list[tuple[Section, Row]]:
    """Every row that can be chosen, in order."""
    return [(section, row) for section in page.sections for row in section.rows]


def chosen_place(place: Place, rows: Sequence[tuple[Section, Row]]) -> int:
    """Which of `rows` is chosen; a row that has gone leaves the choice to the first."""
    names = [(section.title, row.key) for section, row in rows]
    return names.index(place.chosen) if place.chosen in names else 0


def pressed(state: State, key: str, page: Page, lines: int) -> State:
    """What `key` makes of `state`, which shows `page` as it is arranged, with so many lines of rows on the screen."""
    if state.typing:
        return _typed(state, key)
    move = _MOVES.get(key)
    if move is not None:
        return _moved(state, page, move(max(1, lines - 1)))
    act = _ACTS.get(key)
    return state if act is None else act(state, page)


def _typed(state: State, key: str) -> State:
    wanted = state.here.wanted
    match key:
        case "enter":
            return replace(state, typing=False)
        case "escape":
            return replace(_here(state, wanted=""), typing=False)
        case "backspace":
            return _here(state, wanted=wanted[:-1])
        case _ if len(key) == 1 and len(wanted) < _MAX_FILTER:
            return _here(state, wanted=wanted + key)
        case _:
            return state


def _here(state: State, **changes: object) -> State:
    return replace(state, places=(*state.places[:-1], replace(state.here, **changes)))  # type: ignore[arg-type] # of Place


_FAR: Final = 10**9
_MOVES: Final[Mapping[str, Callable[[int], int]]] = {
    UP: lambda _: -1,
    "k": lambda _: -1,
    DOWN: lambda _: 1,
    "j": lambda _: 1,
    PAGE_UP: lambda lines: -lines,
    PAGE_DOWN: lambda lines: lines,
    HOME: lambda _: -_FAR,
    "g": lambda _: -_FAR,
    END: lambda _: _FAR,
    "G": lambda _: _FAR,
}


def _moved(state: State, page: Page, rows_on: int) -> State:
    rows = rows_of(page)
    if not rows:
        return state
    place = min(max(chosen_place(state.here, rows) + rows_on, 0), len(rows) - 1)
    section, row = rows[place]
    return _here(state, chosen=(section.title, row.key))


def _chosen(state: State, page: Page) -> tuple[Section, Row] | None:
    rows = rows_of(page)
    return rows[chosen_place(state.here, rows)] if rows else None


def _into(state: State, page: Page) -> State:
    chosen = _chosen(state, page)
    if chosen is None or chosen[1].opens is None or chosen[1].opens == state.here.view:
        return state
    section, row = chosen
    stays = _here(state, chosen=(section.title, row.key))
    return replace(stays, places=(*stays.places, Place(chosen[1].opens)))


def _out(state: State, _: Page) -> State:
    if state.here.wanted:
        return _here(state, wanted="")
    return state if len(state.places) == 1 else replace(state, places=state.places[:-1])


def _explain(state: State, page: Page) -> State:
    """Explain what is chosen, or what is shown where that is nothing of its own."""
    if state.here.view.kind is ViewKind.PICK:
        return state
    if state.here.view.explains:
        return replace(state, places=state.places[:-1])
    chosen = _chosen(state, page)
    opens = None if chosen is None else chosen[1].opens
    stays = state if chosen is None else _here(state, chosen=(chosen[0].title, chosen[1].key))
    view = replace(opens or state.here.view, explains=True)
    return replace(stays, places=(*stays.places, Place(view)))


def _sort(state: State, page: Page) -> State:
    """By the next column of the section of the chosen row; after the last, as it comes."""
    chosen = _chosen(state, page)
    if chosen is None:
        return state
    section, now = chosen[0], state.here.sorting
    column = now.column + 1 if now is not None and now.section == section.title else 0
    return _here(state, sorting=Sorting(section.title, column) if column < len(section.columns) else None)


def _turn(state: State, _: Page) -> State:
    now = state.here.sorting
    return state if now is None else _here(state, sorting=replace(now, backwards=not now.backwards))


_ACTS: Final[Mapping[str, Callable[[State, Page], State]]] = {
    ENTER: _into,
    "l": _into,
    ESCAPE: _out,
    BACKSPACE: _out,
    "h": _out,
    "e": _explain,
    "s": _sort,
    "S": _turn,
    "/": lambda state, _: replace(state, typing=True),
    "q": lambda state, _: replace(state, ended=True),
}
