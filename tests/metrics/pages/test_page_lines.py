import re
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.errors import ExpositionError
from infscale.metrics.pages.exposition import Selection
from infscale.metrics.pages.page_lines import Cut, LineFinder

NAMES = ("up", "up_total")
PAGE = b'# TYPE up gauge\nup{a="1"} 1\nup_total{a="1"} 2\nup_to 3\nuptime 4\n\nother{a="up 1"} 5\n'
CUT = Cut((b'up{a="1"} ', b'up_total{a="1"} '), (b"1", b"2"))


def finder(*pages: bytes) -> LineFinder:
    made = LineFinder(NAMES, most=10)
    for page in pages:
        made.cut(page)
    return made


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(PAGE, id="the same"),
        pytest.param(PAGE.replace(b"uptime 4", b"upper 40000"), id="another name"),
        pytest.param(PAGE.replace(b"up_to 3", b"up_tot 3"), id="longer, but none yet"),
        pytest.param(PAGE.replace(b"# TYPE up gauge", b"# HELP up up 1"), id="another comment"),
        pytest.param(PAGE.replace(b"other", b"o"), id="shorter"),
    ],
)
def test_other_lines_may_change_as_long_as_they_are_not_read(page: bytes) -> None:
    for before in ((), (PAGE,), (PAGE, PAGE), (PAGE, PAGE, page, page)):
        assert finder(*before).cut(page) == CUT


@pytest.mark.parametrize("line", [b"up 1", b" up 1", b"\tup 1", b"up_total 1", b"up{} 1", b"up", b"up_total"], ids=repr)
@pytest.mark.parametrize(
    "before", [b"# TYPE up gauge", b"up_to 3", b"uptime 4", b"\n\n", b'other{a="up 1"} 5'], ids=repr
)
def test_no_line_that_is_read_is_passed_over(line: bytes, before: bytes) -> None:
    page = PAGE.replace(before, b"\n" + line + b"\n" if before == b"\n\n" else line)
    assert page != PAGE
    assert finder(PAGE, PAGE).cut(page) == finder().cut(page)
    assert len(finder().cut(page).heads) == 3


@pytest.mark.parametrize("line", [b"up", b'up{a="1"}1', b"up_time 1", b"# up 1", b"x", b""], ids=repr)
def test_a_line_that_was_read_is_looked_at_again(line: bytes) -> None:
    page = PAGE.replace(b'up{a="1"} 1', line)
    assert finder(PAGE, PAGE).cut(page) == finder().cut(page)


def test_several_kinds_of_pages_with_as_many_lines_are_known() -> None:
    other = b"".join(reversed(PAGE.splitlines(keepends=True)))
    made = finder(PAGE, PAGE, other, other)
    assert made.cut(PAGE) == CUT
    assert made.cut(other) == Cut(CUT.heads[::-1], CUT.numbers[::-1])


def test_more_lines_than_may_be_are_refused_on_a_known_page_too() -> None:
    page = PAGE.replace(b"uptime", b"up")
    made = LineFinder(NAMES, most=2)
    for _ in range(3):
        made.cut(PAGE)
        with pytest.raises(ExpositionError, match="more than 2 series"):
            made.cut(page)


def a_long_name(number: int) -> bytes:
    return b"up_t%d_" % number + b"x" * 200_000 + b" 1\n"


def many_names(number: int) -> bytes:
    return b"".join(b"up_t%d_%d 1\n" % (number, line) for line in range(2_000))


def many_lines(number: int) -> bytes:
    return b"upper_total_letters 1\n" * (5_000 + number)


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(a_long_name, id="long names"),
        pytest.param(many_names, id="many names"),
        pytest.param(many_lines, id="many numbers of lines"),
    ],
)
def test_what_pages_leave_in_memory_is_bounded(others: Callable[[int], bytes]) -> None:
    made = finder(PAGE, PAGE)
    tracemalloc.start()
    try:
        for number in range(60):
            for _ in range(2):
                assert made.cut(others(number) + b"#\n" * number + b"up 1\n") == Cut((b"up ",), (b"1",))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000


LINES = st.sampled_from(
    [
        *(b"up 1", b"up 2.5", b'up{a="1"} 3', b'up{a="2"} NaN', b"up_total 4", b"up_total{} 5", b"up{"),
        *(b"up\t6", b"up 7 1700000000", b"up 8 ", b"  up 9", b"", b"# TYPE up gauge", b"# up 1", b"up_total_x 1"),
        *(b"upx 1", b"u 1", b"up: 1", b"other 1", b'other{a="up 1"} 2', b" other 3", b"up 1_0", b"up\r", b"x" * 40),
    ]
)


@settings(max_examples=300, deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=8), changes=st.lists(st.tuples(st.integers(0, 7), LINES), max_size=8))
def test_pages_are_read_as_those_seen_first(lines: list[bytes], changes: list[tuple[int, bytes]]) -> None:
    selection = Selection(NAMES)

    def check() -> None:
        page = b"".join(line + b"\n" for line in lines)
        try:
            expected = Selection(NAMES).read(page)
        except ExpositionError as error:
            with pytest.raises(ExpositionError, match=f"^{re.escape(str(error))}$"):
                selection.read(page)
            return
        found = selection.read(page)
        assert found.fingerprint == expected.fingerprint
        assert found.layout.labels == expected.layout.labels
        assert list(map(repr, found.values)) == list(map(repr, expected.values))

    for _ in range(3):
        check()
    for place, line in changes:
        lines[place % len(lines)] = line
        check()
        check()
