"""Command lines are read as Go's flag packages read them."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.errors import ConfigError
from infscale.reference.go_flags import Flags, parse

BOOLEANS = {"tracing", "secure-serving"}
VALUED = {"v", "grpc-port", "pool-name", "drain-timeout"}


def given_by(*arguments: str) -> dict[str, str]:
    return dict(parse(arguments, BOOLEANS, VALUED).given)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--grpc-port=9002"], {"grpc-port": "9002"}, id="behind an equals sign"),
        pytest.param(["--grpc-port", "9002"], {"grpc-port": "9002"}, id="in the next argument"),
        pytest.param(["-grpc-port", "9002"], {"grpc-port": "9002"}, id="one dash"),
        pytest.param(["-grpc-port=9002"], {"grpc-port": "9002"}, id="one dash and an equals sign"),
        pytest.param(["--tracing"], {"tracing": "true"}, id="a boolean alone"),
        pytest.param(["--tracing=false"], {"tracing": "false"}, id="a boolean with a value"),
        pytest.param(["--tracing", "-v=1"], {"tracing": "true", "v": "1"}, id="a boolean before another flag"),
        pytest.param(["-v", "2"], {"v": "2"}, id="short"),
        pytest.param(["-v=2"], {"v": "2"}, id="short with an equals sign"),
        pytest.param(["-v4"], {"v": "4"}, id="short with its value"),
        pytest.param(["--v=2"], {"v": "2"}, id="short with two dashes"),
        pytest.param(["--pool-name="], {"pool-name": ""}, id="empty"),
        pytest.param(["--pool-name=a=b"], {"pool-name": "a=b"}, id="an equals sign in the value"),
        pytest.param(["--pool-name", "--tracing"], {"pool-name": "--tracing"}, id="a value that looks like a flag"),
        pytest.param(["--v=1", "--v=2"], {"v": "2"}, id="the last one counts"),
        pytest.param([], {}, id="none"),
    ],
)
def test_a_flag_is_read_as_go_reads_it(arguments: Sequence[str], expected: dict[str, str]) -> None:
    assert given_by(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--grpc-prot=1"], "--grpc-prot: there is no such flag", id="unknown"),
        pytest.param(["--a\nb=1"], "'--a\\nb=1': there is no such flag", id="unknown and unprintable"),
        pytest.param(["--grpc-port"], "--grpc-port: expected a value", id="no value"),
        pytest.param(["grpc-port"], "'grpc-port': expected a flag", id="no dash"),
        pytest.param(["--tracing", "false"], "'false': expected a flag", id="a boolean's value stands behind ="),
        pytest.param(["--"], "'--': expected a flag", id="only dashes"),
        pytest.param(["---v=2"], "'---v=2': expected a flag", id="three dashes"),
        pytest.param(["-"], "'-': expected a flag", id="one dash alone"),
        pytest.param(["--=1"], "'--=1': expected a flag", id="no name"),
    ],
)
def test_what_is_no_flag_is_refused_by_name(arguments: Sequence[str], said: str) -> None:
    with pytest.raises(ConfigError, match="^" + re.escape(said)):
        given_by(*arguments)


NAMES = st.sampled_from(sorted(VALUED))
VALUES = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.lists(st.tuples(NAMES, VALUES, st.booleans(), st.sampled_from(["-", "--"]))))
def test_any_values_come_through_whichever_way_they_are_written(
    chosen: list[tuple[str, str, bool, str]],
) -> None:
    arguments: list[str] = []
    for name, value, together, dashes in chosen:
        arguments += [f"{dashes}{name}={value}"] if together else [f"{dashes}{name}", value]
    assert given_by(*arguments) == {name: value for name, value, _, _ in chosen}


@given(st.lists(st.text("-=abv\n2", max_size=8)))
def test_any_arguments_are_flags_or_one_line_of_refusal(arguments: list[str]) -> None:
    problem, found = "one line", dict[str, str]()
    try:
        found = given_by(*arguments)
    except ConfigError as error:
        problem = str(error)
    assert len(problem.splitlines()) == 1
    assert found.keys() <= BOOLEANS | VALUED


# Values


def flags(value: str) -> Flags:
    return Flags({"f": value})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50ms", 0.05),
        ("2s", 2.0),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("2h45m30.5s", 9930.5),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("10μs", 1e-5),
        ("10ns", 1e-8),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("+3s", 3.0),
        ("0", 0.0),
        ("0s", 0.0),
        ("1s1s", 2.0),
    ],
)
def test_durations_are_go_s(text: str, seconds: float) -> None:
    assert flags(text).duration("f", 7.0) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "5", "-5s", "-0", "s", ".", ".s", "5 s", "5sec", "1d", "1m30", "0x5s", "1e3s", "++1s", "+", "inf", "9999999h"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--f: expected a duration such as 50ms, 2s or 1m30s, got "):
        flags(text).duration("f", 7.0)


UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
PARTS = st.lists(st.tuples(st.decimals(0, 999, places=3), st.sampled_from(sorted(UNITS))), min_size=1, max_size=5)


@given(PARTS)
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[object, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    expected = sum(float(str(number)) * UNITS[unit] for number, unit in parts)
    assert flags(text).duration("f", 7.0) == pytest.approx(expected)


@given(PARTS)
def test_no_negative_duration_is_taken(parts: list[tuple[object, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    with pytest.raises(ConfigError):
        flags(f"-{text}").duration("f", 7.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((each, True) for each in ["1", "t", "T", "TRUE", "true", "True"]),
        *((each, False) for each in ["0", "f", "F", "FALSE", "false", "False"]),
    ],
)
def test_booleans_have_go_s_spellings(text: str, expected: bool) -> None:
    assert flags(text).boolean("f", not expected) is expected


@pytest.mark.parametrize("text", ["", "yes", "tRUE", "2", "on"])
def test_other_booleans_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--f: expected true or false, got "):
        flags(text).boolean("f")


@pytest.mark.parametrize("text", ["", "x", "-1", "65536", "9" * 30, "1.5", "0x50", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--f: expected a whole number from 0 to 65535, got "):
        flags(text).port("f", 1)


@pytest.mark.parametrize(
    ("text", "expected"), [("8000", (8000,)), ("8000,8001, 8000", (8000, 8001)), ("", ())], ids=["one", "some", "none"]
)
def test_ports_are_separated_by_commas_and_come_once(text: str, expected: tuple[int, ...]) -> None:
    assert flags(text).ports("f") == expected


@pytest.mark.parametrize("text", ["0", "8000,", "a", "65536", "8000;8001", "²", "9" * 30])
def test_what_is_no_list_of_ports_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--f: expected ports separated by commas"):
        flags(text).ports("f")


def test_what_is_not_given_has_its_default() -> None:
    none = Flags()
    assert none.text("f", "a") == "a"
    assert none.boolean("f", True)
    assert none.port("f", 5) == 5
    assert none.duration("f", 0.25) == 0.25
    assert "f" not in none
