"""A page as HTML, with links that say in their addresses what is looked at, how it is sorted and what is left out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from infscale.viewing.grid import STORE_VIEW, Cell, Mark, Page, Row, Section, Sorting, View, ViewKind, arranged
from infscale.viewing.markup import Content, Markup, document, element
from infscale.viewing.words import counted, shown

UI_PATH: Final = "/ui"
STYLE_PATH: Final = "/ui/style.css"
SCRIPT_PATH: Final = "/ui/refresh.js"

ROWS_PER_PAGE: Final = 100
_MAX_TEXT: Final = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address asks for. `leaf` counts from 0, of the pages into which long sections are cut."""

    view: View = STORE_VIEW
    sorting: Sorting | None = None
    wanted: str = ""
    leaf: int = 0

    def address(self) -> str:
        """The address that asks for this."""
        pairs = {
            "view": "" if self.view.kind is ViewKind.STORE else self.view.kind.value,
            "pool": self.view.pool,
            "name": self.view.name,
            "why": "1" if self.view.explains else "",
            "find": self.wanted,
            "page": str(self.leaf + 1) if self.leaf else "",
        }
        if self.sorting is not None:
            pairs |= {"in": self.sorting.section, "by": str(self.sorting.column)}
            pairs |= {"back": "1"} if self.sorting.backwards else {}
        query = urlencode({key: value for key, value in pairs.items() if value})
        return f"{UI_PATH}?{query}" if query else UI_PATH


def asked_for(query: Mapping[str, str]) -> Asked | None:
    """What the query of an address asks for; None where it asks for nothing that there can be."""
    if any(len(value) > _MAX_TEXT for value in query.values()):
        return None
    try:
        kind = ViewKind(query.get("view", ViewKind.STORE.value))
        by, leaf = _count(query.get("by", "")), _count(query.get("page", ""))
    except ValueError:
        return None
    view = View(kind, query.get("pool", ""), query.get("name", ""), explains=bool(query.get("why")))
    sorting = None if by is None else Sorting(query.get("in", ""), by, bool(query.get("back")))
    return Asked(view, sorting, query.get("find", ""), max(0, (leaf or 1) - 1))


def _count(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ValueError(f"{text[:6]} is no count")
    return int(text)


def web_page(page: Page, asked: Asked) -> bytes:
    """`page` as a document."""
    made = arranged(page, asked.sorting, asked.wanted)
    title = " › ".join(name for name, _ in page.path)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} – infscale"),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href=STYLE_PATH),
        element("script", src=SCRIPT_PATH, defer=""),
        element("noscript", element("meta", http_equiv="refresh", content="5")),
    )
    body = element(
        "body",
        element("header", _path(page), _controls(asked)),
        element(
            "main",
            element("ul", [element("li", fact) for fact in page.facts], class_="facts"),
            [_section(each, asked) for each in made.sections],
            id="main",
        ),
        element("footer", element("p", "read-only; ", element("span", "loading", id="state"))),
    )
    return document(head, body)


def _path(page: Page) -> Markup:
    steps: list[Content] = []
    for place, (name, view) in enumerate(page.path):
        last = place == len(page.path) - 1
        steps.append(element("li", element("b", name) if last else element("a", name, href=Asked(view).address())))
    return element("nav", element("ol", steps), aria_label="path")


def _controls(asked: Asked) -> Markup:
    hidden = [
        element("input", type="hidden", name=key, value=value)
        for key, value in (
            ("view", asked.view.kind.value),
            ("pool", asked.view.pool),
            ("name", asked.view.name),
            ("why", "1" if asked.view.explains else ""),
        )
        if value
    ]
    label = "filter rows"
    find = element("input", type="search", name="find", value=asked.wanted, placeholder=label, aria_label=label)
    other = replace(asked, view=replace(asked.view, explains=not asked.view.explains), sorting=None, leaf=0)
    link = element("a", "back to values" if asked.view.explains else "explain", href=other.address(), id="why")
    # The page of a decision is its explanation.
    links = [] if asked.view.kind is ViewKind.PICK else [link]
    return element("form", hidden, find, links, action=UI_PATH, method="get")


def _section(section: Section, asked: Asked) -> Markup:
    title = element("h2", f"{section.title} ", element("small", str(len(section.rows))))
    if not section.rows:
        empty = "no row has that text" if asked.wanted else section.empty
        return element("section", title, element("p", empty, class_="empty"))
    begin = asked.leaf * ROWS_PER_PAGE
    # A leaf is of the longest section; the others are on the first one.
    rows = section.rows[begin : begin + ROWS_PER_PAGE] or section.rows[:ROWS_PER_PAGE]
    table = element(
        "table",
        element("thead", element("tr", [_heading(section, place, asked) for place in range(len(section.columns))])),
        element("tbody", [_row(section, row) for row in rows]),
    )
    return element("section", title, element("div", table, class_="wide"), _leaves(section, asked))


def _heading(section: Section, place: int, asked: Asked) -> Markup:
    column, now = section.columns[place], asked.sorting
    sorted_now = now is not None and (now.section, now.column) == (section.title, place)
    backwards = now is not None and sorted_now and not now.backwards
    to = replace(asked, sorting=Sorting(section.title, place, backwards), leaf=0)
    arrow = "" if now is None or not sorted_now else " ▲" if now.backwards else " ▼"
    return element("th", element("a", column.title + arrow, href=to.address()), class_=_side(section, place))


def _row(section: Section, row: Row) -> Markup:
    cells = [_cell(cell, _side(section, place)) for place, cell in enumerate(row.cells)]
    if row.opens is not None:
        link = element("a", row.cells[0].text or "–", href=Asked(row.opens).address())
        cells[0] = element("td", link, class_=_side(section, 0))
    return element("tr", cells)


def _cell(cell: Cell, side: str) -> Markup:
    mark = "" if cell.mark is Mark.PLAIN else f" {cell.mark.value}"
    if cell.cause and cell.mark in (Mark.UNKNOWN, Mark.STALE):
        return element("td", element("abbr", cell.text, title=shown(cell.cause)), class_=side + mark)
    return element("td", cell.text, class_=side + mark)


def _side(section: Section, place: int) -> str:
    column = section.columns[place]
    return "number" if column.right else "prose" if column.wraps else "word"


def _leaves(section: Section, asked: Asked) -> Content:
    leaves = -(-len(section.rows) // ROWS_PER_PAGE)
    if leaves < 2:
        return ""
    shown_now = min(asked.leaf, leaves - 1) if asked.leaf < leaves else 0
    links: list[Content] = []
    for leaf in _near(shown_now, leaves):
        name = str(leaf + 1)
        links.append(
            element("b", name) if leaf == shown_now else element("a", name, href=replace(asked, leaf=leaf).address())
        )
    return element("p", f"{counted(leaves, 'page')}: ", [[each, " "] for each in links], class_="leaves")


def _near(leaf: int, leaves: int) -> list[int]:
    """The pages that are linked: the first, the last, and those around `leaf`."""
    return sorted({0, leaves - 1, *(each for each in range(leaf - 3, leaf + 4) if 0 <= each < leaves)})


def unreadable_page(problem: str) -> bytes:
    """What is shown instead of a page that cannot be made."""
    head = element("head", element("meta", charset="utf-8"), element("link", rel="stylesheet", href=STYLE_PATH))
    return document(head, element("body", element("main", element("p", problem), id="main")))


STYLE: Final = """\
:root {
  --text: #1c2330; --faint: #667085; --line: #e3e7ee; --back: #fff; --head: #f6f8fb; --link: #0b5cad;
  --good: #1a7f37; --warning: #9a6700; --bad: #c62828; --stale: #9a6700;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e3e8f0; --faint: #93a0b4; --line: #2a3342; --back: #11161f; --head: #18202c; --link: #79b8ff;
    --good: #56d364; --warning: #e3b341; --bad: #ff7b72; --stale: #e3b341;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 14px/1.45 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; justify-content: space-between;
  padding: .6rem 1.25rem; background: var(--head); border-bottom: 1px solid var(--line); position: sticky; top: 0; }
main { padding: .5rem 1.25rem 1rem; }
footer { padding: 0 1.25rem 1rem; color: var(--faint); }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
nav ol { display: flex; flex-wrap: wrap; list-style: none; margin: 0; padding: 0; font-size: 1.05rem; }
nav li + li::before { content: "›"; margin: 0 .5rem; color: var(--faint); }
nav li { overflow-wrap: anywhere; }
form { display: flex; gap: 1rem; align-items: center; margin: 0; }
input { font: inherit; color: inherit; background: var(--back); border: 1px solid var(--line); border-radius: 6px;
  padding: .25rem .6rem; }
.facts { margin: .4rem 0 1rem; padding: 0; list-style: none; color: var(--faint); overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
h2 small { color: var(--faint); font-weight: normal; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .32rem .7rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line);
  max-width: 28rem; overflow: hidden; text-overflow: ellipsis; }
th { background: var(--head); font-weight: 600; }
th a { color: var(--faint); }
tbody tr:last-child td { border-bottom: 0; }
tbody tr:hover { background: var(--head); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.prose { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; color: var(--faint); }
.good { color: var(--good); } .warning { color: var(--warning); } .bad { color: var(--bad); font-weight: 600; }
.unknown { color: var(--faint); } .stale { color: var(--stale); }
abbr { cursor: help; text-decoration-color: var(--line); }
.empty, .leaves, .gone { color: var(--faint); }
.gone { color: var(--bad); }
"""

SCRIPT: Final = """\
"use strict";
// Renews the part of the page that has values; what is typed, and where the page is scrolled to, stays.
(function () {
  const state = document.getElementById("state");
  let since = null;
  async function renew() {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(5000) });
      if (!answer.ok) throw new Error("answer " + answer.status);
      const renewed = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
      const shown = document.getElementById("main");
      const across = [...shown.querySelectorAll(".wide")].map((each) => each.scrollLeft);
      shown.replaceWith(renewed);
      [...renewed.querySelectorAll(".wide")].forEach((each, place) => { each.scrollLeft = across[place] || 0; });
      since = null;
      state.className = "";
      state.textContent = "renewed at " + new Date().toLocaleTimeString();
    } catch (error) {
      since = since || new Date();
      state.className = "gone";
      state.textContent = "infscale has not answered since " + since.toLocaleTimeString();
    }
  }
  async function follow() {
    await renew();
    setTimeout(follow, 2000);
  }
  state.textContent = "renewed every 2 s";
  setTimeout(follow, 2000);
})();
"""
