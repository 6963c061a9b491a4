import contextlib
import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from infscale.errors import ExpositionError
from infscale.metrics.pages.exposition import MAX_SERIES, MetricSpec, Selection, Series, unasked_families
from tests.reference_tables import TABLES


def select(page: bytes, names: Iterable[str], *, whole: bool = True) -> dict[str, list[Series]]:
    """The series of each asked sample name on one page."""
    selected = Selection(names).read(page, whole=whole)
    return {name: selected.series(name) for name in selected.names}


def values(page: bytes, name: str) -> list[float]:
    return [series.value for series in select(page, [name])[name]]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        pytest.param(b"up 1\n", [Series({}, 1.0)], id="no labels"),
        pytest.param(b'up{a="b",c="d"} 2.5\n', [Series({"a": "b", "c": "d"}, 2.5)], id="labels"),
        pytest.param(b'up{a="1"} 1\nup{a="2"} 2\n', [Series({"a": "1"}, 1.0), Series({"a": "2"}, 2.0)], id="series"),
        pytest.param(b"up 1\nother 2\nup 3\n", [Series({}, 1.0), Series({}, 3.0)], id="family in two places"),
        pytest.param(
            b"up_total 5\nup 1\nwarmup 2\nup:x 3\n", [Series({}, 1.0)], id="names that only begin or end alike"
        ),
        pytest.param(b'up{a="b"} 1e-3 1700000000000\n', [Series({"a": "b"}, 0.001)], id="exponent and timestamp"),
        pytest.param(b"up 4\t1700000000000\n", [Series({}, 4.0)], id="timestamp after a tab"),
        pytest.param(b'up{a="b"}\t4\n', [Series({"a": "b"}, 4.0)], id="tab"),
        pytest.param(b'  up { a = "b" , } 4  \n', [Series({"a": "b"}, 4.0)], id="blanks everywhere"),
        pytest.param(b'up{a="b"}4\n', [Series({"a": "b"}, 4.0)], id="no blank after labels"),
        pytest.param(b"up{} 4\n", [Series({}, 4.0)], id="empty labels"),
        pytest.param(b'up{a="x\\"y\\\\z\\nw"} 1\n', [Series({"a": 'x"y\\z\nw'}, 1.0)], id="escapes"),
        pytest.param(b'up{a="} 7",b="{"} 1\n', [Series({"a": "} 7", "b": "{"}, 1.0)], id="braces in a label value"),
        pytest.param('up{a="é"} 1\n'.encode(), [Series({"a": "é"}, 1.0)], id="UTF-8"),
        pytest.param(b'# HELP up is\r\nup{a="b"} 1\r\nup 2\r\n', [Series({"a": "b"}, 1.0), Series({}, 2.0)], id="CRLF"),
        pytest.param(b'up{a="b"} 1', [Series({"a": "b"}, 1.0)], id="no final newline"),
        pytest.param(b"up 1\n# EOF", [Series({}, 1.0)], id="OpenMetrics end"),
        pytest.param(b'up 1 # {trace_id="x"} 0.5\n', [Series({}, 1.0)], id="exemplar"),
        pytest.param(b"# up 7\n#up 8\n# HELP up up 9\n", [], id="comments"),
        pytest.param(b"", [], id="empty page"),
        pytest.param(b"junk junk {{{\n\xff\xfe\nup 1\n", [Series({}, 1.0)], id="unasked junk is skipped"),
    ],
)
def test_asked_series_are_read(page: bytes, expected: list[Series]) -> None:
    assert select(page, ["up"])["up"] == expected


def test_special_values_are_kept() -> None:
    page = b"up NaN\nup +Inf\nup -Inf\nup Inf\nup -0.0\n"
    found = values(page, "up")
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf, math.inf, 0.0]


@pytest.mark.parametrize(
    "line",
    [
        b"up",
        b"up ",
        b"up{",
        b'up{a="b"',
        b'up{a="b} 1',
        b"up{a=b} 1",
        b'up{a="b"} ',
        b'up{a="b"} one',
        b"up 1_000",
        b"up 1 yesterday",
        b"up 1 2 3",
        b'up{a="b" c="d"} 1',
        b'up{a="1",a="2"} 1',
        b'up{a="\xff"} 1',
        b'up{a="b"}{c="d"} 1',
    ],
    ids=repr,
)
def test_a_malformed_line_of_an_asked_name_is_an_error_and_of_another_name_is_not(line: bytes) -> None:
    with pytest.raises(ExpositionError):
        select(b"x 1\n" + line + b"\ny 2\n", ["up"])
    assert values(b"x 1\n" + line + b"\ny 2\n", "y") == [2.0]


def test_a_remembered_label_string_does_not_hide_a_malformed_value() -> None:
    selection = Selection(["up"])
    assert selection.read(b'up{a="b"} 1\n').columns["up"].values == [1.0]
    for number in (b"one", b"1_0", b"", b"1 2 3"):
        with pytest.raises(ExpositionError):
            selection.read(b'up{a="b"} ' + number + b"\n")


@pytest.mark.parametrize(
    "page", [b"up 1\nothe", b"up 1\nother{a=", b"up 1\n# TYPE ot", b'up 1\nother{a="b"} '], ids=repr
)
def test_a_page_cut_within_a_line_is_truncated_whatever_the_line(page: bytes) -> None:
    with pytest.raises(ExpositionError, match="page truncated"):
        select(page, ["up"])


def test_a_missing_final_newline_is_truncation_when_nobody_vouches_for_the_end() -> None:
    assert select(b"up 12\n", ["up"], whole=False)["up"] == [Series({}, 12.0)]
    with pytest.raises(ExpositionError, match="page truncated"):
        select(b"up 12", ["up"], whole=False)


def test_labels_that_repeat_are_the_same_object() -> None:
    selection = Selection(["up"])
    first = selection.read(b'up{a="b"} 1\n').columns["up"].labels[0]
    assert selection.read(b'up{a="b"} 2\n').columns["up"].labels[0] is first


def test_memory_of_label_strings_is_bounded_and_forgetting_changes_nothing() -> None:
    selection = Selection(["up"], remember=3)
    for number in range(20):
        column = selection.read(f'up{{a="{number}"}} {number}\nup{{b="x"}} 1\n'.encode()).columns["up"]
        assert column.values == [float(number), 1.0]
        assert list(column.labels) == [{"a": str(number)}, {"b": "x"}]


def test_pages_whose_lines_begin_alike_are_read_as_pages_seen_first() -> None:
    names = ["a", "b", "bc"]
    selection = Selection(names)
    pages = (
        b'a{x="1"} 1\nb 2\na{x="2"} 3\n',
        b'a{x="1"} 4\nb NaN\na{x="2"} +Inf\n',
        b'a{x="1"} 5\nb 6 1700000000\na{x="2"} 7\n',
        b'a{x="1"} 8\nb\t9\na{x="2"} 10\n',
        b'a{x="1"} 8\nbc\t9\na{x="2"} 10\n',
        b'a{x="1"} 8\nb 9 \na{x="2"} 10\n',
        b'a{x="1"} 8\nb {y="3"}9\na{x="2"} 10\n',
        b'a{x="1"} 8\nb{y="3"}9\na{x="2"}\t10\n',
        b'b 2\na{x="1"} 1\na{x="2"} 3\n',
        b'a{x="1"} 11\nb 12\n',
        b'a{x="1"} 1\nb 2\na{x="2"} 3\n',
    )
    for page in pages:
        selected = selection.read(page)
        assert selected.fingerprint == Selection(names).read(page).fingerprint
        for name, column in selected.columns.items():
            fresh = select(page, names)[name]
            assert list(column.labels) == [series.labels for series in fresh]
            assert [repr(value) for value in column.values] == [repr(series.value) for series in fresh]
    with pytest.raises(ExpositionError, match="malformed value of b"):
        selection.read(b'a{x="1"} 1\nb 1_0\na{x="2"} 3\n')


def test_pages_that_say_the_same_are_of_one_layout_however_lines_end() -> None:
    selection = Selection(["a", "b"])
    plain = selection.read(b'a{x="1"} 1\nb 2\n').layout
    for page in (b'a{x="1"} 5 1700000000\nb 6 1700000001\n', b'a{x="1"}\t7\nb 8 \n', b'a{x="1"} 9\nb 10\n'):
        assert selection.read(page).layout is plain
    assert selection.read(b'a{x="2"} 1\nb 2\n').layout is not plain


def test_what_is_read_apart_is_apart_however_its_lines_end() -> None:
    selection = Selection(["a", "info"], apart=["info"])
    selected = selection.read(b'a 1\ninfo{n="x, y"} 5\ninfo{n="z"}\t6\n')
    assert [(name, dict(each.labels), each.value) for name, each in selected.apart] == [
        ("info", {"n": "x, y"}, 5.0),
        ("info", {"n": "z"}, 6.0),
    ]
    assert selection.read(b"a 2\n").layout is selected.layout


def test_what_is_read_apart_is_remembered_and_pushes_nothing_else_out() -> None:
    selection = Selection(["a", "info"], remember=3, apart=["info"])
    first = selection.read(b'a{x="1"} 1\ninfo{n="0"} 5\n')
    again = selection.read(b'a{x="1"} 1\ninfo{n="0"} 6\n')
    assert again.apart[0][1] == Series({"n": "0"}, 6.0)
    assert again.apart[0][1].labels is first.apart[0][1].labels
    assert again.fingerprint != first.fingerprint
    for number in range(20):
        page = f'a{{x="1"}} 1\ninfo{{n="{number}"}} {number}\n'.encode()
        assert selection.read(page).apart == [("info", Series({"n": str(number)}, float(number)))]
    labels = selection.read(b'a{x="1"} 7\n').columns["a"].labels
    assert labels[0] is first.columns["a"].labels[0]


def test_a_page_with_more_series_than_a_model_server_has_is_refused() -> None:
    page = b"".join(b'a{n="%d"} 1\n' % number for number in range(MAX_SERIES))
    assert len(select(page, ["a"])["a"]) == MAX_SERIES
    assert select(page + b"b 2\n", ["b"])["b"][0].value == 2
    with pytest.raises(ExpositionError, match="more than 10000 series"):
        select(page + b"a 1\n", ["a"])


def test_fingerprint_moves_with_asked_lines_only() -> None:
    selection = Selection(["up"])
    before = selection.read(b"up 1\nother 1\n").fingerprint
    assert selection.read(b"up 1\nother 2\n").fingerprint == before
    assert selection.read(b"up 2\nother 1\n").fingerprint != before
    assert selection.read(b'up{a="b"} 1\nother 1\n').fingerprint != before


def test_a_page_with_families_nobody_asked_for_is_noticed() -> None:
    names = ["a_total", "h_bucket", "h_sum"]
    asked = b"# TYPE a_total counter\na_total 1\n# TYPE h histogram\nh_sum 1\n"
    assert not unasked_families(asked, names)
    assert unasked_families(asked + b"# TYPE a_total_more gauge\n", names)


LABEL_NAMES = st.sampled_from(["a", "le", "model_name", "engine"])
LABEL_VALUES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e"), max_size=6
)
VALUES = st.one_of(
    st.floats().map(repr), st.integers(-(10**6), 10**6).map(str), st.sampled_from(["NaN", "+Inf", "-Inf", "1e5"])
)
NAMES = ["vllm:waiting", "vllm:waiting_by_reason", "vllm:x_bucket", "vllm:x_sum", "vllm:x"]


def escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@st.composite
def sample_lines(draw: st.DrawFn) -> str:
    labels = draw(st.dictionaries(LABEL_NAMES, LABEL_VALUES, max_size=3))
    inside = ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())
    blank = draw(st.sampled_from([" ", "  "]))
    timestamp = draw(st.sampled_from(["", " 1700000000000"]))
    indent = draw(st.sampled_from(["", "", " ", "\t"]))
    return (
        f"{indent}{draw(st.sampled_from(NAMES))}{'{' + inside + '}' if labels else ''}{blank}{draw(VALUES)}{timestamp}"
    )


@st.composite
def pages(draw: st.DrawFn) -> str:
    other = st.sampled_from(
        ["", "# TYPE vllm:x histogram", "# HELP vllm:waiting A gauge.", "# a comment", "junk_total 1"]
    )
    lines = draw(st.lists(st.one_of(sample_lines(), other), max_size=12))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    return "".join(line + ending for line in lines)


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


@settings(max_examples=150, deadline=None)
@given(page=pages(), repeats=st.integers(1, 2))
def test_reads_what_prometheus_client_reads(page: str, repeats: int) -> None:
    expected: dict[str, list[tuple[dict[str, str], float]]] = {name: [] for name in NAMES}
    for family in text_string_to_metric_families(page.replace("\r\n", "\n")):
        for sample in family.samples:
            if sample.name in expected:
                expected[sample.name].append((sample.labels, float(sample.value)))
    selection = Selection(NAMES)
    for _ in range(repeats):
        columns = selection.read(page.encode()).columns
        for name, series in expected.items():
            assert [dict(labels) for labels in columns[name].labels] == [labels for labels, _ in series]
            assert all(map(same, columns[name].values, [value for _, value in series]))
            assert len(columns[name]) == len(series)


@settings(max_examples=100, deadline=None)
@given(
    asked=st.sets(st.text("ab_:", min_size=1, max_size=4), max_size=8),
    on_page=st.lists(st.text("ab_:", min_size=1, max_size=5), max_size=20),
)
def test_names_that_begin_alike_are_told_apart(asked: set[str], on_page: list[str]) -> None:
    page = "".join(f"{name} {row}\n" for row, name in enumerate(on_page))
    found = select(page.encode(), asked)
    assert {name: [each.value for each in series] for name, series in found.items()} == {
        name: [row for row, other in enumerate(on_page) if other == name] for name in asked
    }


@given(page=st.binary(max_size=200), tail=st.binary(max_size=40))
def test_no_page_breaks_the_parser_with_anything_but_its_own_error(page: bytes, tail: bytes) -> None:
    selection = Selection(["up", "up_bucket"])
    for text in (page, b"up{" + page, b"x\nup " + page + b"\nup_bucket" + tail):
        with contextlib.suppress(ExpositionError):
            selection.read(text)


def test_a_hostile_line_costs_one_pass() -> None:
    for line in (
        b'up{a="' + b"\\" * 400_000,
        b'up{a="b"' + b" " * 400_000,
        b"up{" + b'a="",' * 100_000,
        b"up" + b" " * 400_000,
        b"up" + b"\t" * 400_000,
    ):
        with pytest.raises(ExpositionError):
            select(line + b"!\n", ["up"])


@pytest.mark.parametrize(("text", "expected"), TABLES["metric_spec"])
def test_metric_spec_as_the_reference_reads_it(text: str, expected: Any) -> None:
    if expected == "error":
        with pytest.raises(ValueError, match="metric spec"):
            MetricSpec.parse(text)
    else:
        spec = MetricSpec.parse(text)
        assert (None if spec is None else [spec.name, dict(spec.labels)]) == expected


@pytest.mark.parametrize(
    ("text", "labels"),
    [('m{a="x y"}', {"a": "x y"}), ('m{ a = "x,y" , b=z }', {"a": "x,y", "b": "z"}), ("m{}", {})],
)
def test_metric_spec_takes_quotes_and_blanks(text: str, labels: dict[str, str]) -> None:
    spec = MetricSpec.parse(text)
    assert spec is not None
    assert spec.labels == labels


def test_metric_spec_matches_a_subset_of_labels() -> None:
    spec = MetricSpec("m", {"a": "1"})
    assert spec.matches({"a": "1", "b": "2"})
    assert not spec.matches({"b": "2"})
    assert not spec.matches({"a": "2"})
