"""The language of formula metrics: arithmetic over published metrics in which unknown stays unknown.

    first-known  =  sum { "??" sum }                        the first value that is known; binds loosest
    sum          =  product { ("+" | "-") product }
    product      =  signed { ("*" | "/") signed }
    signed       =  "-" signed | value
    value        =  number | metric name | "(" first-known ")"
                 |  ("max" | "min") "(" first-known { "," first-known } ")"

Nothing of Python evaluates a text: it becomes a tree of the few kinds below, bounded in size and depth.
"""

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from infscale.errors import FormulaError
from infscale.metrics.sample import FloatArray

MAX_CHARACTERS = 2_000
MAX_TOKENS = 250
MAX_DEPTH = 30

_FIRST_KNOWN = "??"
_LEVELS: tuple[tuple[str, ...], ...] = ((_FIRST_KNOWN,), ("+", "-"), ("*", "/"))
"""Binary operators from the loosest to the tightest; all group from the left."""
_LEVEL_OF = {operator: level for level, operators in enumerate(_LEVELS) for operator in operators}
_SIGNED = len(_LEVELS)
_VALUE = _SIGNED + 1

_TOKEN_PATTERN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>\?\?|[-+*/(),]))",
    re.ASCII,
)


class Valued(NamedTuple):
    """Values and the monotonic second of the oldest observation in each; NaN is unknown, +inf: nothing observed."""

    values: FloatArray
    at: FloatArray


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; never negative, the sign is `Negative`."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:.0f}" if self.value.is_integer() and self.value < 1e15 else repr(self.value)


@dataclass(frozen=True, slots=True)
class Operand:
    """A published metric by its name."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Negative:
    """Minus something."""

    of: "Expression"

    def __str__(self) -> str:
        return f"-{_within(self.of, _SIGNED)}"


@dataclass(frozen=True, slots=True)
class Binary:
    """Two expressions and one of the operators ``?? + - * /``."""

    operator: str
    left: "Expression"
    right: "Expression"

    def __str__(self) -> str:
        level = _LEVEL_OF[self.operator]
        return f"{_within(self.left, level)} {self.operator} {_within(self.right, level + 1)}"


@dataclass(frozen=True, slots=True)
class Extreme:
    """The largest or smallest of some expressions; `function` is ``max`` or ``min``."""

    function: str
    of: tuple["Expression", ...]

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.of))})"


Expression = Number | Operand | Negative | Binary | Extreme


def _within(expression: Expression, level: int) -> str:
    """`expression` as text, in parentheses where it binds looser than `level`."""
    match expression:
        case Binary():
            own = _LEVEL_OF[expression.operator]
        case Negative():
            own = _SIGNED
        case _:
            own = _VALUE
    return str(expression) if own >= level else f"({expression})"


def operands(expression: Expression) -> tuple[str, ...]:
    """Names of the metrics an expression reads, each once, in the order of the text."""
    return tuple(dict.fromkeys(_names(expression)))


def _names(expression: Expression) -> Iterator[str]:
    match expression:
        case Operand():
            yield expression.name
        case Negative():
            yield from _names(expression.of)
        case Binary():
            yield from _names(expression.left)
            yield from _names(expression.right)
        case Extreme():
            for each in expression.of:
                yield from _names(each)
        case Number():
            pass


def adds_up(expression: Expression, adding: Collection[str]) -> bool:
    """Whether values of the parts of a whole add up to that of the whole, as those of the metrics in `adding` do."""
    match expression:
        case Operand():
            return expression.name in adding
        case Negative():
            return adds_up(expression.of, adding)
        case Binary("*", left, right):
            return any(not operands(one) and adds_up(other, adding) for one, other in ((left, right), (right, left)))
        case Binary("/", left, right):
            return not operands(right) and adds_up(left, adding)
        case Binary(_, left, right):
            return adds_up(left, adding) and adds_up(right, adding)
        case _:
            return False


# Reading


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int

    @property
    def shown(self) -> str:
        return "the end" if self.kind == "end" else f'"{self.text}"'


def parse(text: str) -> Expression:
    """The expression `text` writes; raises `FormulaError` that says where it goes wrong and what is expected."""
    return _Parser(text).whole()


def _tokens(text: str) -> list[_Token]:
    if len(text) > MAX_CHARACTERS:
        raise FormulaError(f"a formula has at most {MAX_CHARACTERS} characters")
    tokens: list[_Token] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN_PATTERN.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise _wrong(start, "a number, a metric name or one of ?? + - * / ( ) , is expected")
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        position = match.end()
    if len(tokens) > MAX_TOKENS:
        raise FormulaError(f"a formula has at most {MAX_TOKENS} numbers, names and signs")
    tokens.append(_Token("end", "", end))
    return tokens


def _wrong(position: int, problem: str) -> FormulaError:
    return FormulaError(f"at character {position + 1}: {problem}")


class _Parser:
    """Recursive descent; every way down passes `_binary`, which counts the depth."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Expression:
        expression = self._binary(0)
        token = self._peek()
        if token.kind != "end":
            raise _wrong(token.position, f"an operator or the end is expected, not {token.shown}")
        return expression

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _accept(self, *signs: str) -> _Token | None:
        token = self._peek()
        return self._take() if token.kind == "sign" and token.text in signs else None

    def _binary(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self._signed()
        expression = self._binary(level + 1)
        while (operator := self._accept(*_LEVELS[level])) is not None:
            expression = Binary(operator.text, expression, self._binary(level + 1))
        return expression

    def _signed(self) -> Expression:
        minus = self._accept("-")
        return self._value() if minus is None else Negative(self._deeper(minus, self._signed))

    def _value(self) -> Expression:
        token = self._take()
        if token.kind == "number":
            value = float(token.text)
            if math.isfinite(value):
                return Number(value)
            raise _wrong(token.position, f"{token.text} is too large for a number")
        if token.kind == "name":
            opening = self._accept("(")
            return Operand(token.text) if opening is None else self._call(token)
        if token.kind == "sign" and token.text == "(":
            expression = self._deeper(token, lambda: self._binary(0))
            self._close(token)
            return expression
        raise _wrong(token.position, f'a number, a metric name or "(" is expected, not {token.shown}')

    def _call(self, name: _Token) -> Expression:
        if name.text not in _EXTREMES:
            raise _wrong(name.position, f"{name.text} is no function, there are max and min")
        of = [self._deeper(name, lambda: self._binary(0))]
        while self._accept(",") is not None:
            of.append(self._deeper(name, lambda: self._binary(0)))
        self._close(name)
        return Extreme(name.text, tuple(of))

    def _close(self, opened: _Token) -> None:
        token = self._peek()
        if self._accept(")") is None:
            expected = f'")" for {opened.shown} at character {opened.position + 1} or an operator'
            raise _wrong(token.position, f"{expected} is expected, not {token.shown}")

    def _deeper(self, at: _Token, read: Callable[[], Expression]) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _wrong(at.position, f"a formula is nested at most {MAX_DEPTH} deep")
        expression = read()
        self._depth -= 1
        return expression


# Evaluating

_Operation = Callable[[FloatArray, FloatArray], FloatArray]

_ARITHMETIC: Mapping[str, _Operation] = MappingProxyType(
    {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
)
_EXTREMES: Mapping[str, _Operation] = MappingProxyType({"max": np.maximum, "min": np.minimum})


def evaluate(expression: Expression, known: Mapping[str, Valued]) -> Valued:
    """The value of `expression` in every row of its operands, which all have as many.

    Unknown in, unknown out, except that ``??`` takes the first side that is known; what divides by zero or is too large
    for a number is unknown. The age of a value is that of the oldest operand it was made of.
    """
    with np.errstate(all="ignore"):
        return _evaluate(expression, known)


def _evaluate(expression: Expression, known: Mapping[str, Valued]) -> Valued:
    match expression:
        case Number(value):
            return Valued(np.array([value]), np.array([math.inf]))
        case Operand(name):
            return known[name]
        case Negative(of):
            inner = _evaluate(of, known)
            return Valued(-inner.values, inner.at)
        case Binary(operator, left, right) if operator == _FIRST_KNOWN:
            return _first_known(_evaluate(left, known), _evaluate(right, known))
        case Binary(operator, left, right):
            return _joined(_ARITHMETIC[operator], _evaluate(left, known), _evaluate(right, known))
        case Extreme(function, of):
            first, *rest = (_evaluate(each, known) for each in of)
            for each in rest:
                first = _joined(_EXTREMES[function], first, each)
            return first


def _first_known(left: Valued, right: Valued) -> Valued:
    unknown = np.isnan(left.values)
    return Valued(np.where(unknown, right.values, left.values), np.where(unknown, right.at, left.at))


def _joined(operation: _Operation, left: Valued, right: Valued) -> Valued:
    values = operation(left.values, right.values)
    return Valued(np.where(np.isfinite(values), values, math.nan), np.minimum(left.at, right.at))
