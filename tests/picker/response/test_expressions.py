"""Expressions over token usage mean what CEL means by them, and end in a number, a truth or nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.response.expressions import Expression
from picker.response.reported_attributes import ReportedAttribute, reported
from picker.response.usage import Usage

USAGE = {"prompt_tokens": 32.0, "completion_tokens": 10.0, "prompt_tokens_details.cached_tokens": 8.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("usage.completion_tokens", 10),
        ("usage.prompt_tokens + usage.completion_tokens", 42),
        ("usage.prompt_tokens - usage.completion_tokens - 1", 21),
        ("usage.prompt_tokens - (usage.completion_tokens - 1)", 23),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 % 4 * 2", 6),
        ("-usage.completion_tokens * 2.5", -25),
        ("int(2.9) + int(-2.9)", 0),
        ("double(usage.completion_tokens) * 1.5e0", 15),
        ("usage.prompt_tokens_details.cached_tokens", 8),
        ("(has(usage.total_tokens) ? usage.total_tokens : 0) + 1", 1),
        ("has(usage.prompt_tokens) ? usage.prompt_tokens : 0", 32),
        ("false ? 1 : true ? 2 : 3", 2),
        ("true || has(usage.x) ? 1 : 2", 1),
        ("1 < 2 && 2 <= 2 && 3 > 2 && 2 >= 2 && 1 == 1 && 1 != 2 ? 1 : 0", 1),
        ("!(1 > 2) ? 1 : 0", 1),
        # What an operand after || or && is not asked for may be unknown.
        ("has(usage.total_tokens) && usage.total_tokens > 5 ? 1 : 0", 0),
        ("\n  usage.prompt_tokens +\n  usage.completion_tokens\n", 42),
        # Without a value.
        ("usage.total_tokens", None),
        ("usage.total_tokens + 1", None),
        ("1 / 0", None),
        ("1 % 0", None),
        ("1e300 * 1e300", None),
        ("true", None),
        ("true + 1", None),
        ("1 ? 2 : 3", None),
        ("!1 ? 2 : 3", None),
    ],
)
def test_what_an_expression_comes_to(text: str, value: int | None) -> None:
    assert Expression(text).number(USAGE) == value


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("has(usage.prompt_tokens) && has(usage.completion_tokens)", True),
        ("has(usage.total_tokens)", False),
        ("usage.prompt_tokens > 31", True),
        ("usage.total_tokens > 31", False),
        ("1", False),
    ],
)
def test_a_condition_holds_or_does_not(text: str, holds: bool) -> None:
    assert Expression(text).holds(USAGE) is holds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "character 1: expected a number, a name or '('"),
        ("1 +", "character 4: expected a number, a name or '('"),
        ("1 2", "character 3: expected an operator or the end"),
        ("(1", "character 3: expected ')'"),
        ("1 ? 2", "character 6: expected ':'"),
        ("tokens", "expected a number of the response, such as usage.prompt_tokens"),
        ("has(1)", "expected a number of the response"),
        ("1 + $", "character 5: expected a number, a name or an operator"),
        ("1_000", "character 1: expected a number, a name or an operator"),
        ("'a'", "character 1: expected a number, a name or an operator"),
        ("(" * 50 + "1" + ")" * 50, "expected at most 40 levels"),
        ("1" + " + 1" * 200, "expected at most 500 characters"),
    ],
)
def test_what_is_no_expression_is_said_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        Expression(text)


@given(
    st.lists(st.sampled_from([*"()+-*/%<>!?:", "&&", "||", "==", "1", "usage.a", "has(usage.a)", "true"]), max_size=40)
)
def test_any_text_is_refused_or_comes_to_something(tokens: list[str]) -> None:
    try:
        expression = Expression(" ".join(tokens))
    except ValueError:
        return
    number = expression.number({"a": 3.0})
    assert number is None or isinstance(number, int)


def test_the_longest_chain_is_worked_out() -> None:
    assert Expression("1" + "+1" * 249).number({}) == 250


COST = ReportedAttribute("cost", Expression("usage.completion_tokens"), Expression("has(usage.completion_tokens)"))
TOTAL = ReportedAttribute("total", Expression("usage.total_tokens"), namespace="acme")
CACHED = ReportedAttribute("cached", Expression("usage.prompt_tokens_details.cached_tokens"), namespace="acme")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(), {}),
        (Usage(32, 10, 42, 8), {"envoy.lb": {"cost": 10.0}, "acme": {"total": 42.0, "cached": 8.0}}),
        (Usage(completion_tokens=0), {"envoy.lb": {"cost": 0.0}}),
        (Usage(total_tokens=5), {"acme": {"total": 5.0}}),
    ],
    ids=["unknown", "all", "a known 0", "some"],
)
def test_what_is_known_is_reported(usage: Usage, expected: dict[str, dict[str, float]]) -> None:
    assert reported((COST, TOTAL, CACHED), usage) == expected
