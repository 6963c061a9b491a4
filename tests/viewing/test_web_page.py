"""Pages of HTML: addresses that say what is looked at, long sections in leaves, foreign names as text alone."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.viewing.grid import STORE_VIEW, Sorting, View, ViewKind
from infscale.viewing.seen_documents import Seen
from infscale.viewing.views import view_page
from infscale.viewing.web_page import ROWS_PER_PAGE, Asked, asked_for, web_page
from tests.viewing.documents_of_stores import HOSTILE, POOL, looked_at, store
from tests.viewing.test_markup import Read

POOL_VIEW = View(ViewKind.POOL, POOL)


def written(found: Seen, asked: Asked) -> str:
    return web_page(view_page(found, asked.view), asked).decode()


@given(
    st.builds(View, st.sampled_from(ViewKind), st.text(max_size=20), st.text(max_size=20), explains=st.booleans()),
    st.none() | st.builds(Sorting, st.text(max_size=10), st.integers(0, 99), st.booleans()),
    st.text(max_size=20),
    st.integers(0, 500),
)
def test_an_address_is_read_as_what_it_was_written_for(
    view: View, sorting: Sorting | None, wanted: str, leaf: int
) -> None:
    asked = Asked(view, sorting, wanted, leaf)
    assert asked_for(dict(parse_qsl(urlsplit(asked.address()).query))) == asked


@pytest.mark.parametrize(
    "query",
    [{"view": "secrets"}, {"page": "-1"}, {"page": "x"}, {"by": "9" * 9}, {"find": "x" * 501}, {"page": "²"}],
    ids=str,
)
def test_an_address_of_nothing_is_no_page(query: dict[str, str]) -> None:
    assert asked_for(query) is None


def test_the_first_page_needs_no_words() -> None:
    assert asked_for({}) == Asked(STORE_VIEW)
    assert Asked(STORE_VIEW).address() == "/ui"


@pytest.mark.parametrize("kind", ViewKind)
@pytest.mark.parametrize("explains", [False, True])
def test_a_hostile_name_is_text_alone(kind: ViewKind, explains: bool) -> None:
    found = looked_at()
    names = {ViewKind.MODEL: HOSTILE, ViewKind.ENDPOINT: "llm/vllm-0"}
    html = written(found, Asked(View(kind, POOL, names.get(kind, HOSTILE), explains), wanted=HOSTILE[:8]))
    assert "<script>alert" not in html
    read = Read(html)
    assert "\x1b" not in read.text
    assert read.tags.count("script") == 1


def test_rows_lead_to_what_they_stand_for_and_unknown_values_say_why() -> None:
    html = written(looked_at(), Asked(POOL_VIEW))
    assert '<a href="/ui?view=endpoint&amp;pool=llm%2Fchat&amp;name=llm%2Fvllm-0">llm/vllm-0</a>' in html
    assert 'title="it was never read: connection refused, 500 ms ago">–</abbr>' in html
    assert '<td class="number stale">' in html


def test_a_long_section_is_cut_into_leaves() -> None:
    found = looked_at(store(2 * ROWS_PER_PAGE + 1))
    pages = [written(found, Asked(POOL_VIEW, leaf=leaf)) for leaf in (0, 2, 7)]
    assert [page.count("/ui?view=endpoint&amp;") for page in pages] == [ROWS_PER_PAGE, 1, ROWS_PER_PAGE]
    assert "3 pages" in pages[0]
    assert all(len(page) < 150_000 for page in pages)


def test_rows_are_filtered_and_sorted_as_the_address_says() -> None:
    asked = Asked(POOL_VIEW, Sorting("endpoints", 0, backwards=True), "vllm-")
    html = written(looked_at(), asked)
    assert html.index("name=llm%2Fvllm-3") < html.index("name=llm%2Fvllm-0")
    assert "endpoint ▲" in html
    assert "no row has that text" in html
