import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.documents.strict_document import Field, Plain, from_plain, load, load_all, quoted
from infscale.errors import ConfigError


def value(text: str) -> Field:
    return load(f"key: {text}\n", "file.yaml").entries()["key"]


@pytest.mark.parametrize(
    ("text", "read", "expected"),
    [
        ("abc", Field.text, "abc"),
        ("'8000'", Field.text, "8000"),
        ('"\\ud83d\\ude00"', Field.text, "😀"),
        ("0", Field.integer, 0),
        ("-12", Field.integer, -12),
        ("1_000_000", Field.integer, 1_000_000),
        ("2", Field.number, 2.0),
        ("2.5", Field.number, 2.5),
        (".5", Field.number, 0.5),
        ("1e5", Field.number, 1e5),
        ("1.5e-3", Field.number, 1.5e-3),
        ("1.0e+2", Field.number, 100.0),
        ("true", Field.boolean, True),
        ("Off", Field.boolean, False),
        ("200ms", Field.duration, 0.2),
        ("1m30s", Field.duration, 90.0),
        ("1.5h", Field.duration, 5400.0),
        ("2μs", Field.duration, 2e-6),
        ("2026-01-31T12:00:00Z", Field.timestamp, "2026-01-31T12:00:00Z"),
        ("'2026-01-31T12:00:00.5+02:00'", Field.timestamp, "2026-01-31T10:00:00Z"),
        ("[1, a, {b: 2.5, c: }, true]", Field.plain, [1, "a", {"b": 2.5, "c": None}, True]),
        ("2026-01-31", Field.plain, "2026-01-31"),
    ],
)
def test_a_value_is_read_as_what_was_asked_for(text: str, read: Callable[[Field], object], expected: object) -> None:
    assert read(value(text)) == expected


@pytest.mark.parametrize(
    ("text", "read", "problem"),
    [
        ("8000", Field.text, "expected a string, got a number; put it in quotes"),
        ("yes", Field.text, "expected a string, got a boolean; put it in quotes"),
        ("2026-01-31", Field.text, "expected a string, got a date; put it in quotes"),
        ("[]", Field.text, "expected a string, got a list"),
        ("", Field.text, "expected a string, got nothing"),
        ("''", Field.text, "expected a non-empty string"),
        ("'8000'", Field.integer, "expected a whole number, got a string"),
        ("1.5", Field.integer, "expected a whole number, got a number"),
        ("010", Field.integer, "expected a whole number in plain decimal, got '010'"),
        ("0x10", Field.integer, "expected a whole number in plain decimal, got '0x10'"),
        ("1:30", Field.integer, "expected a whole number in plain decimal, got '1:30'"),
        ("0b_", Field.integer, "expected a whole number in plain decimal, got '0b_'"),
        ("010", Field.number, "expected a finite number in plain decimal, got '010'"),
        (".inf", Field.number, "expected a finite number in plain decimal, got '.inf'"),
        (".nan", Field.number, "expected a finite number in plain decimal, got '.nan'"),
        ("1e999", Field.number, "expected a finite number"),
        ("{}", Field.number, "expected a number, got a mapping"),
        ("'yes'", Field.boolean, "expected true or false, got a string"),
        ("5", Field.duration, "expected a duration such as 200ms, 30s or 1m30s, got a number"),
        ("5 s", Field.duration, "expected a duration such as 200ms, 30s or 1m30s, got '5 s'"),
        ("2026-01-31T12:00:00", Field.timestamp, "expected a time such as 2026-01-31T12:00:00Z, got '2026-01-31T12:"),
        ("'0001-01-01T00:00:00+10:00'", Field.timestamp, "expected a time such as 2026-01-31T12:00:00Z"),
        ("{}", Field.items, "expected a list, got a mapping"),
        ("[]", Field.entries, "expected a mapping, got a list"),
        ("{a: 1, a: 2}", Field.entries, "key 'a' is given twice"),
        ("{[a]: 1}", Field.entries, "expected a string as key"),
        ("{a: 1}", Field.text_mapping, "expected a string, got a number; put it in quotes"),
    ],
)
def test_another_form_is_refused_with_the_expected_one(
    text: str, read: Callable[[Field], object], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(value(text))
    assert caught.value.problem.startswith(problem)
    assert caught.value.place == "file.yaml:1"


@pytest.mark.parametrize("digits", ["9" * 65, "9" * 5000], ids=["65", "5000"])
def test_a_number_of_absurd_length_is_refused_in_a_short_message(digits: str) -> None:
    for read in (Field.integer, Field.number):
        with pytest.raises(ConfigError, match="in plain decimal") as caught:
            read(value(digits))
        assert len(str(caught.value)) < 200


def test_bounds_are_shown_exactly() -> None:
    with pytest.raises(ConfigError, match=r"expected at most 1000000, got 1000001$"):
        value("1000001").integer(1, 1_000_000)
    with pytest.raises(ConfigError, match=r"expected at least 0.01, got 0.001$"):
        value("0.001").number(0.01)


def test_an_error_names_file_line_and_path() -> None:
    root = load("a:\n  b:\n  - c: 1\n  - c: x\n", "dir/file.yaml")
    field = root.entries()["a"].entries()["b"].items()[1].entries()["c"]
    with pytest.raises(ConfigError) as caught:
        field.integer()
    assert str(caught.value) == "dir/file.yaml:4: a.b[1].c: expected a whole number, got a string"


@pytest.mark.parametrize(
    ("key", "path"),
    [("app-1", "a.app-1"), ("app.io/name", "a['app.io/name']"), ('"a\\nb"', "a['a\\nb']"), ("''", "a['']")],
)
def test_a_path_stays_readable_and_on_one_line(key: str, path: str) -> None:
    (child,) = load(f"a: {{{key}: 1}}", "f").entries()["a"].entries().values()
    assert child.path == path


def test_a_mapping_names_missing_and_unknown_keys() -> None:
    field = value("{name: x, nmae: y}")
    with pytest.raises(ConfigError, match=r"^file.yaml:1: key.nmae: unknown key; expected one of name, port$"):
        field.mapping(["name"], ["port"])
    with pytest.raises(ConfigError, match=r"^file.yaml:1: key: key 'port' is missing$"):
        value("{name: x}").mapping(["name", "port"])


def test_a_null_value_of_an_optional_key_is_absent() -> None:
    assert set(value("{a: , b: ~, c: 1}").mapping(["a"], ["b", "c"])) == {"a", "c"}


def test_unknown_keys_pass_where_the_document_is_not_strict() -> None:
    root = from_plain({"spec": {"new": 1, "name": "x"}}, "Kind default/x", strict=False)
    assert set(root.mapping(["spec"])["spec"].mapping(["name"])) == {"name"}


def test_a_value_that_never_was_text_is_placed_by_its_source() -> None:
    with pytest.raises(ConfigError, match=r"^Kind default/x: spec.port: expected a whole number, got a string$"):
        from_plain({"spec": {"port": "x"}}, "Kind default/x").entries()["spec"].entries()["port"].integer()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: expected one YAML document, found 0"),
        ("# nothing\n---\n", "f: expected one YAML document, found 0"),
        ("a: 1\n---\nb: 2\n", "f: expected one YAML document, found 2"),
        ("a: 1\nb: [", "f:2: not valid YAML: did not find expected node content"),
        ("a: &x [*x]\n", "f:1: not valid YAML: an alias may not contain itself"),
        ("a: 1\nb: !!int '1'\n", "f:2: not valid YAML: tags are not allowed"),
        ("a: !!python/object:os.system x", "f:1: not valid YAML: tags are not allowed"),
        ("a: *missing", "f:1: not valid YAML: found undefined alias 'missing'"),
        ("a: \x00", "f:1: not valid YAML: control characters are not allowed"),
        ('a: 1\nb: "\\ud800"', "f:2: not valid YAML: a character escape is half of a pair"),
        ('a: "\\UFFFFFFFF"', "f:1: not valid YAML: "),
        ("[" * 3000, "f: not valid YAML: nested too deeply"),
    ],
)
def test_text_that_is_no_single_document_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, "f")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_several_documents_keep_their_lines() -> None:
    first, second = load_all("a: 1\n---\n---\nb: 2\n", "f")
    assert (first.place, second.place) == ("f:1", "f:4")


def test_quoting_cuts_and_escapes() -> None:
    assert quoted("a\nb") == "'a\\nb'"
    assert len(quoted("x" * 1000)) < 70


plain_numbers = st.integers(-(10**60), 10**60) | st.floats(allow_nan=False, allow_infinity=False)
plain_values: st.SearchStrategy[Plain] = st.recursive(
    st.none() | st.booleans() | plain_numbers | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(plain_values)
def test_plain_data_is_itself_again(data: Plain) -> None:
    assert from_plain(data, "f").plain() == data


@given(st.dictionaries(st.text(max_size=6), plain_values, min_size=1, max_size=4))
def test_json_is_read_as_what_it_says(data: dict[str, Plain]) -> None:
    assert load(json.dumps(data), "f").plain() == data


@given(st.text(max_size=60) | st.text("{}[]:,-&*!|>'\"%@`\\ \n\tabc01.", max_size=60))
def test_any_text_is_a_document_or_a_config_error_on_one_line(text: str) -> None:
    problem = ""
    try:
        load(text, "f").plain()
    except ConfigError as error:
        problem = str(error)
    assert "\n" not in problem


def test_aliases_stand_for_what_they_name() -> None:
    root = load("a: &x {k: v}\nb: *x\nc: [*x, *x]\n", "f")
    fields = root.mapping(["a", "b", "c"])
    assert [field.text_mapping() for field in (fields["a"], fields["b"], *fields["c"].items())] == [{"k": "v"}] * 4


def test_aliases_cannot_make_a_small_document_large() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="aliases make the document larger than"):
        load("\n".join(lines), "f")
