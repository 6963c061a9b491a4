"""What each key makes of where someone is."""

from functools import reduce

import pytest

from infscale.top.navigation import Place, State, pressed
from infscale.viewing.grid import STORE_VIEW, Sorting, View, ViewKind, arranged
from infscale.viewing.seen_documents import Seen
from infscale.viewing.views import view_page
from tests.viewing.documents_of_stores import POOL, looked_at, store

SEEN = looked_at()
POOL_VIEW = View(ViewKind.POOL, POOL)
LINES = 10


def after(*keys: str, state: State | None = None, seen: Seen = SEEN) -> State:
    def press(state: State, key: str) -> State:
        here = state.here
        return pressed(state, key, arranged(view_page(seen, here.view), here.sorting, here.wanted), LINES)

    return reduce(press, keys, State() if state is None else state)


IN_POOL = after("enter")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["enter"], POOL_VIEW),
        (["j", "enter"], View(ViewKind.AUTOSCALER, "", "llm/scaler")),
        (["down", "up", "enter"], POOL_VIEW),
        (["enter", "down", "enter"], View(ViewKind.ENDPOINT, POOL, "llm/vllm-1")),
        (["enter", "G", *["up"] * 5, "enter"], View(ViewKind.MODEL, POOL, "llama")),
        (["enter", "G", *["up"] * 3, "enter"], View(ViewKind.AUTOSCALER, "", "llm/scaler")),
        (["enter", "end", "enter"], View(ViewKind.TRIGGER, "", "llm/vllm waiting_requests #2")),
        (["enter", "G", "g", "l"], View(ViewKind.ENDPOINT, POOL, "llm/vllm-0")),
        (["enter", "enter", "escape"], POOL_VIEW),
        (["enter", "enter", "backspace", "h"], STORE_VIEW),
        (["escape"], STORE_VIEW),
        (["e"], View(ViewKind.POOL, POOL, explains=True)),
        (["e", "e"], STORE_VIEW),
        (["enter", "j", "e"], View(ViewKind.ENDPOINT, POOL, "llm/vllm-1", explains=True)),
        (["enter", "enter", "e"], View(ViewKind.ENDPOINT, POOL, "llm/vllm-0", explains=True)),
        (["x", "é"], STORE_VIEW),
    ],
)
def test_keys_lead_to_views(keys: list[str], expected: View) -> None:
    assert after(*keys).here.view == expected


def test_the_choice_is_kept_on_the_way_back() -> None:
    assert after("enter", "j", "j", "enter", "escape").here.chosen == ("endpoints", "llm/vllm-2")


def test_what_is_chosen_stays_chosen_where_rows_move() -> None:
    state = after("j", "S", "s", "S", state=IN_POOL)
    assert after("enter", state=state).here.view.name == "llm/vllm-1"


def test_a_page_moves_by_the_lines_of_the_screen() -> None:
    large = looked_at(store(50))
    state = after("enter", "page down", seen=large)
    assert state.here.chosen == ("endpoints", f"llm/vllm-{LINES - 1}")
    assert after("page up", "page up", state=state, seen=large).here.chosen == ("endpoints", "llm/vllm-0")


def test_sorting_goes_through_the_columns_and_back_to_none() -> None:
    columns = next(each for each in view_page(SEEN, POOL_VIEW).sections if each.title == "endpoints").columns
    states = [after(*["s"] * times, state=IN_POOL).here.sorting for times in range(len(columns) + 2)]
    assert states == [None, *(Sorting("endpoints", place) for place in range(len(columns))), None]
    assert after("s", "S", state=IN_POOL).here.sorting == Sorting("endpoints", 0, backwards=True)


@pytest.mark.parametrize(
    ("keys", "wanted", "typing"),
    [
        (["/"], "", True),
        (["/", "v", "q", "s"], "vqs", True),
        (["/", "v", "1", "backspace"], "v", True),
        (["/", "v", "enter"], "v", False),
        (["/", "v", "escape"], "", False),
        (["/", "v", "enter", "escape"], "", False),
        (["/", "up", "v"], "v", True),
        (["/", *"x" * 100], "x" * 60, True),
    ],
)
def test_a_filter_is_typed(keys: list[str], wanted: str, typing: bool) -> None:
    state = after(*keys, state=IN_POOL)
    assert (state.here.wanted, state.typing, state.ended) == (wanted, typing, False)


def test_a_filtered_row_is_opened() -> None:
    assert after("/", "-", "2", "enter", "enter", state=IN_POOL).here.view.name == "llm/vllm-2"


def test_q_ends_it() -> None:
    assert after("q").ended


def test_decisions_are_wanted_where_they_are_shown() -> None:
    assert not IN_POOL.looks_at_picks
    why = after("e", state=IN_POOL)
    assert why.looks_at_picks
    pick = after("end", "up", "enter", state=State((Place(View(ViewKind.POOL, POOL, explains=True)),)))
    assert pick.here.view.kind is ViewKind.PICK
    assert pick.looks_at_picks


@pytest.mark.parametrize("key", ["j", "enter", "s", "end"])
def test_where_nothing_is_shown_keys_do_nothing(key: str) -> None:
    nothing = State((Place(View(ViewKind.POOL, "llm/none")),))
    assert after(key, state=nothing) == nothing
