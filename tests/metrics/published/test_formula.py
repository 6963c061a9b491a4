"""The formula language: what parses, what it says where it does not, and that it computes what Python would."""

import math
import operator
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.errors import FormulaError
from infscale.metrics.published.formula import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    Binary,
    Expression,
    Extreme,
    Negative,
    Number,
    Operand,
    Valued,
    evaluate,
    operands,
    parse,
)

A, B, C = Operand("a"), Operand("b"), Operand("c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        pytest.param("a", A, id="a metric"),
        pytest.param(" 1.5e3 ", Number(1500.0), id="a number"),
        pytest.param(".5", Number(0.5), id="a number without whole part"),
        pytest.param("a + b * c", Binary("+", A, Binary("*", B, C)), id="products bind tighter than sums"),
        pytest.param("a - b - c", Binary("-", Binary("-", A, B), C), id="from the left"),
        pytest.param("a / b / c", Binary("/", Binary("/", A, B), C), id="quotients from the left"),
        pytest.param("(a - b) / c", Binary("/", Binary("-", A, B), C), id="parentheses"),
        pytest.param("a ?? b + c", Binary("??", A, Binary("+", B, C)), id="?? binds loosest"),
        pytest.param("a ?? b ?? c", Binary("??", Binary("??", A, B), C), id="?? from the left"),
        pytest.param("-a * b", Binary("*", Negative(A), B), id="a sign binds tightest"),
        pytest.param("a*--b", Binary("*", A, Negative(Negative(B))), id="signs repeat"),
        pytest.param("max(a, b ?? c, 1)", Extreme("max", (A, Binary("??", B, C), Number(1.0))), id="max of several"),
        pytest.param("min(a)", Extreme("min", (A,)), id="min of one"),
        pytest.param("max + min", Binary("+", Operand("max"), Operand("min")), id="functions only before parentheses"),
    ],
)
def test_a_formula_is_read_as_arithmetic_is(text: str, tree: Expression) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", 'at character 1: a number, a metric name or "(" is expected, not the end', id="nothing"),
        pytest.param("a +", "at character 4: a number", id="half a sum"),
        pytest.param("a b", 'at character 3: an operator or the end is expected, not "b"', id="two names"),
        pytest.param("a ** b", 'at character 4: a number, a metric name or "(" is expected, not "*"', id="a power"),
        pytest.param("a > b", "at character 3: a number, a metric name or one of", id="a comparison"),
        pytest.param("a ? b", "at character 3:", id="half of ??"),
        pytest.param("a % 2", "at character 3:", id="no such operator"),
        pytest.param("vllm:waiting", "at character 5:", id="an engine's name"),
        pytest.param("3x", "at character 1:", id="a number that runs into a name"),
        pytest.param("1.2.3", "at character 1:", id="two points"),
        pytest.param("1e999", "1e999 is too large for a number", id="an infinite number"),
        pytest.param("abs(a)", "at character 1: abs is no function, there are max and min", id="another function"),
        pytest.param(
            "max()", 'at character 5: a number, a metric name or "(" is expected, not ")"', id="max of nothing"
        ),
        pytest.param("max(a, b", 'at character 9: ")" for "max" at character 1', id="an open call"),
        pytest.param("(a + (b)", 'at character 9: ")" for "(" at character 1', id="an open parenthesis"),
        pytest.param("a)", 'at character 2: an operator or the end is expected, not ")"', id="one too many"),
        pytest.param("__import__('os')", "at character 12:", id="Python"),
        pytest.param("(" * (MAX_DEPTH + 1) + "a", "is nested at most", id="too deep in parentheses"),
        pytest.param("-" * (MAX_DEPTH + 1) + "a", "is nested at most", id="too deep in signs"),
        pytest.param("max(" * (MAX_DEPTH + 1) + "a", "is nested at most", id="too deep in calls"),
        pytest.param("+".join("a" * 200), "numbers, names and signs", id="too many parts"),
        pytest.param("a" * (MAX_CHARACTERS + 1), "characters", id="too long"),
    ],
)
def test_what_is_no_formula_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert said in str(caught.value)


def test_operands_are_the_metrics_it_names_once_each() -> None:
    assert operands(parse("max(b / a, -b) ?? c + 1")) == ("b", "a", "c")


numbers = st.floats(0, 1e6, allow_nan=False)
leaves = st.one_of(numbers.map(Number), st.sampled_from([A, B, C]))
trees: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Negative),
        st.builds(Binary, st.sampled_from(["??", "+", "-", "*", "/"]), inner, inner),
        st.builds(Extreme, st.sampled_from(["max", "min"]), st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=12,
)


@given(trees)
def test_what_is_printed_reads_back_as_the_same(tree: Expression) -> None:
    assert parse(str(tree)) == tree


PYTHON: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "max": max,
    "min": min,
}


def by_python(tree: Expression, known: Mapping[str, float | None]) -> float | None:
    """What plain Python makes of it, None being unknown."""
    match tree:
        case Number(value):
            return value
        case Operand(name):
            return known[name]
        case Negative(of):
            inner = by_python(of, known)
            return None if inner is None else -inner
        case Binary("??", left, right):
            first = by_python(left, known)
            return by_python(right, known) if first is None else first
        case Binary(sign, left, right):
            return joined(sign, by_python(left, known), by_python(right, known))
        case Extreme(function, of):
            found = by_python(of[0], known)
            for each in of[1:]:
                found = joined(function, found, by_python(each, known))
            return found


def joined(sign: str, left: float | None, right: float | None) -> float | None:
    if left is None or right is None or (sign == "/" and right == 0):
        return None
    value = PYTHON[sign](left, right)
    return value if math.isfinite(value) else None


values = st.one_of(st.none(), st.floats(-1e200, 1e200, allow_nan=False), st.just(0.0))


@given(trees, values, values, values)
def test_it_computes_what_python_would(tree: Expression, a: float | None, b: float | None, c: float | None) -> None:
    known = {"a": a, "b": b, "c": c}
    columns = {
        name: Valued(np.array([7.0, math.nan if value is None else value]), np.array([1.0, 1.0]))
        for name, value in known.items()
    }
    result = evaluate(tree, columns).values
    expected = by_python(tree, known)
    value = float(result[-1])
    assert math.isnan(value) if expected is None else value == expected


@pytest.mark.parametrize(
    ("text", "at"),
    [
        pytest.param("a + b", 3.0, id="the oldest that was used"),
        pytest.param("max(b, c ?? 1)", 5.0, id="a constant has no age"),
        pytest.param("c ?? b", 5.0, id="not one that was passed over"),
        pytest.param("c ?? 1", math.inf, id="nothing was observed"),
    ],
)
def test_a_value_is_as_old_as_its_oldest_operand(text: str, at: float) -> None:
    known = {name: Valued(np.array([1.0]), np.array([when])) for name, when in (("a", 3.0), ("b", 5.0))}
    known["c"] = Valued(np.array([math.nan]), np.array([1.0]))
    assert evaluate(parse(text), known).at[0] == at
