"""The screen is as large as the terminal, shows the chosen row, and says when nothing is answered."""

import pytest
from rich.cells import cell_len

from infscale.top.navigation import Place, State
from infscale.top.screen import Contact, Size, fitted, plain, screen
from infscale.viewing.grid import STORE_VIEW, Page, Sorting, View, ViewKind
from infscale.viewing.views import view_page
from tests.viewing.documents_of_stores import HOSTILE, POOL, looked_at, store

POOL_VIEW = View(ViewKind.POOL, POOL)
ANSWERED = Contact("http://127.0.0.1:9090", 0.4)
USUAL = Size(80, 24)
VIEWS = [
    STORE_VIEW,
    POOL_VIEW,
    View(ViewKind.POOL, POOL, explains=True),
    View(ViewKind.ENDPOINT, POOL, "llm/vllm-1"),
    View(ViewKind.MODEL, POOL, HOSTILE),
    View(ViewKind.AUTOSCALER, "", "llm/scaler"),
    View(ViewKind.TRIGGER, "", "llm/vllm waiting_requests"),
]


def page(view: View = POOL_VIEW, endpoints: int = 4) -> Page:
    return view_page(looked_at(store(endpoints)), view)


def drawn(state: State, made: Page, contact: Contact = ANSWERED, size: Size = USUAL) -> list[str]:
    return [line.plain for line in screen(state, made, contact, size)]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{view.kind.value}-{view.explains}")
@pytest.mark.parametrize("size", [Size(80, 24), Size(160, 50), Size(30, 8), Size(10, 3), Size(80, 1)], ids=str)
@pytest.mark.parametrize("endpoints", [4, 150])
def test_it_fits_whatever_the_size(view: View, size: Size, endpoints: int) -> None:
    lines = drawn(State((Place(view),)), page(view, endpoints), size=size)
    assert len(lines) == size.height
    assert all(cell_len(line) <= size.width for line in lines)
    assert not any(sign in line for line in lines for sign in "\x1b\u202e\n")


@pytest.mark.parametrize("number", [0, 1, 75, 149])
def test_the_chosen_row_is_on_the_screen_under_its_heads(number: int) -> None:
    key = f"llm/vllm-{number}"
    state = State((Place(POOL_VIEW, ("endpoints", key)),))
    lines = screen(state, page(endpoints=150), ANSWERED, USUAL)
    (chosen,) = [line for line in lines if any(span.style == "reverse" for span in line.spans)]
    assert chosen.plain.startswith(f"{key} ")
    assert any(line.plain.startswith("endpoint ") for line in lines)


def test_at_80_columns_what_matters_of_an_endpoint_is_there() -> None:
    lines = drawn(State((Place(POOL_VIEW),)), page())
    head = next(line for line in lines if line.startswith("endpoint "))
    assert head.split() == [
        "endpoint",
        "state",
        "age",
        "waiting",
        "running",
        "in",
        "flight",
        "KV",
        "sat.",
        "queue",
        "p90",
    ]
    row = next(line for line in lines if line.startswith("llm/vllm-1"))
    assert row.split()[1:6] == ["stale", "7.0", "s*", "1*", "1*"]


def test_at_80_columns_what_matters_of_a_trigger_is_there() -> None:
    lines = drawn(State((Place(STORE_VIEW),)), page(STORE_VIEW))
    [head] = [line for line in lines if line.startswith("KEDA trigger ")]
    assert head.split()[2:] == ["pool", "metric", "now", "target", "age", "active", "streams"]
    [row] = [line for line in lines if line.startswith("llm/vllm ") and "_replicas_of_load" in line]
    assert row.split()[1:] == ["chat", "…fscale_replicas_of_load", "2.25", "1", "1.5", "s", "yes", "1"]


def test_wider_screens_show_more() -> None:
    section = page().sections[0]
    assert len(fitted(section, 80)) < len(fitted(section, 160)) == len(section.columns)


def test_of_long_names_the_end_is_kept() -> None:
    lines = drawn(State((Place(POOL_VIEW),)), page(), size=Size(62, 24))
    assert any(line.startswith("…") and "gnp" in line for line in lines)


@pytest.mark.parametrize(
    ("contact", "words"),
    [
        (Contact("http://x"), "asking …"),
        (Contact("http://x", 0.4), "400 ms ago"),
        (Contact("http://x", None, 3.0, "connection refused"), "no answer for 3.0 s: connection refused"),
        (Contact("http://x", 9.0, 8.0, "timed out"), "no answer for 8.0 s: timed out; shown is 9.0 s old"),
    ],
)
def test_how_asking_goes_is_said(contact: Contact, words: str) -> None:
    assert drawn(State(), page(STORE_VIEW), contact)[0] == f" infscale top  http://x  {words}"


def test_sorting_and_filter_are_shown() -> None:
    lines = drawn(State((Place(POOL_VIEW, None, Sorting("endpoints", 2), "vllm"),)), page())
    assert any("age▼" in line for line in lines)
    assert lines[-1].startswith("filter vllm")
    assert drawn(State((Place(POOL_VIEW, wanted="vl"),), typing=True), page())[-1].startswith("/vl█")


def test_prose_takes_as_many_lines_as_it_needs() -> None:
    view = View(ViewKind.ENDPOINT, POOL, "llm/vllm-1")
    text = " ".join(" ".join(line.plain.split()[-7:]) for line in plain(page(view), 80))
    assert "timed out" in text


def test_printed_once_everything_is_there() -> None:
    lines = [line.plain for line in plain(page(endpoints=150), 160)]
    assert sum(line.startswith("llm/vllm-") for line in lines) == 150
