"""Numbers worked out of a response's token usage: the part of CEL that such expressions need.

Numbers, ``true``, ``false``, ``usage.name``, ``has(usage.name)``, ``int(…)``, ``double(…)``, ``+ - * / %``,
comparisons, ``&& || !``, ``a ? b : c`` and parentheses. All numbers are of one kind, so that an integer may be added to
what a response says, which CEL takes for a double. What touches a number that the response does not say has no value.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Never

Value = float | bool
UsageNumbers = Mapping[str, float]
Evaluate = Callable[[UsageNumbers], Value]

_LONGEST: Final = 500
_DEEPEST: Final = 40
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])"
    r"|(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:()]))",
    re.ASCII,
)
# How tightly operators bind; all but the choice group from the left.
_CHOICE, _OR, _AND, _EQUAL, _ORDER, _SUM, _PRODUCT, _SIGNED = range(1, 9)
_ARITHMETIC: Final[Mapping[str, tuple[int, Callable[[float, float], Value]]]] = {
    "<": (_ORDER, operator.lt),
    "<=": (_ORDER, operator.le),
    ">": (_ORDER, operator.gt),
    ">=": (_ORDER, operator.ge),
    "+": (_SUM, operator.add),
    "-": (_SUM, operator.sub),
    "*": (_PRODUCT, operator.mul),
    "/": (_PRODUCT, operator.truediv),
    "%": (_PRODUCT, math.fmod),
}
_BINDING: Final = {name: power for name, (power, _) in _ARITHMETIC.items()} | {
    "?": _CHOICE,
    "||": _OR,
    "&&": _AND,
    "==": _EQUAL,
    "!=": _EQUAL,
}
_USAGE: Final = "usage."


class _NoValue(Exception):
    """The expression touches what the response does not say, or takes a truth for a number."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression, read once; raises ValueError that says where it is none. Equal if written alike."""

    text: str
    _evaluate: Evaluate = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_evaluate", _Reader(self.text).whole())

    def number(self, usage: UsageNumbers) -> int | None:
        """Its value without what is behind the point; None: it has none, or it is no number."""
        value = self._value(usage)
        return None if value is None or isinstance(value, bool) or not math.isfinite(value) else int(value)

    def holds(self, usage: UsageNumbers) -> bool:
        """Whether it has the value true."""
        return self._value(usage) is True

    def _value(self, usage: UsageNumbers) -> Value | None:
        try:
            return self._evaluate(usage)
        except (_NoValue, ArithmeticError, ValueError):
            return None


class _Reader:
    """Reads one expression by how tightly operators bind."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise ValueError(f"expected at most {_LONGEST} characters")
        self._text = text.rstrip()
        self._start = self._end = 0
        self._depth = 0
        self._kind: str | None = None
        self._token = ""
        self._next()

    def whole(self) -> Evaluate:
        found = self._expression(0)
        if self._kind is not None:
            self._refuse("an operator or the end")
        return found

    def _next(self) -> None:
        rest = self._text[self._end :]
        self._start = self._end + len(rest) - len(rest.lstrip())
        match = _TOKEN.match(self._text, self._end)
        if match is None and self._start < len(self._text):
            self._refuse("a number, a name or an operator")
        self._kind, self._token = (match.lastgroup, match[match.lastgroup or 0]) if match else (None, "")
        self._end = match.end() if match else self._end

    def _refuse(self, expected: str) -> Never:
        raise ValueError(f"character {self._start + 1}: expected {expected}")

    def _take(self, sign: str) -> None:
        if self._token != sign:
            self._refuse(repr(sign))
        self._next()

    def _expression(self, power: int) -> Evaluate:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(f"at most {_DEEPEST} levels")
        left = self._operand()
        while self._kind == "sign" and _BINDING.get(self._token, 0) > power:
            sign = self._token
            self._next()
            left = self._choice(left) if sign == "?" else _joined(sign, left, self._expression(_BINDING[sign]))
        self._depth -= 1
        return left

    def _choice(self, condition: Evaluate) -> Evaluate:
        then = self._expression(0)
        self._take(":")
        otherwise = self._expression(0)
        return lambda usage: then(usage) if _truth(condition(usage)) else otherwise(usage)

    def _operand(self) -> Evaluate:
        kind, token = self._kind, self._token
        if kind == "number":
            self._next()
            number = float(token)
            return lambda _: number
        if kind == "name":
            return self._named(token)
        match token:
            case "(":
                return self._in_parentheses()
            case "-":
                self._next()
                negated = self._expression(_SIGNED)
                return lambda usage: -_number(negated(usage))
            case "!":
                self._next()
                denied = self._expression(_SIGNED)
                return lambda usage: not _truth(denied(usage))
            case _:
                self._refuse("a number, a name or '('")

    def _in_parentheses(self) -> Evaluate:
        self._take("(")
        inner = self._expression(0)
        self._take(")")
        return inner

    def _named(self, name: str) -> Evaluate:
        if name not in ("true", "false", "has", "int", "double"):
            said = self._said(name)
            return lambda usage: _of(usage, said)
        self._next()
        match name:
            case "int":
                whole = self._in_parentheses()
                return lambda usage: float(math.trunc(_number(whole(usage))))
            case "double":
                double = self._in_parentheses()
                return lambda usage: _number(double(usage))
            case "has":
                self._take("(")
                asked = self._said(self._token)
                self._take(")")
                return lambda usage: asked in usage
            case _:
                return lambda _: name == "true"

    def _said(self, name: str) -> str:
        if not name.startswith(_USAGE):
            self._refuse("a number of the response, such as usage.prompt_tokens")
        self._next()
        return name.removeprefix(_USAGE)


def _joined(sign: str, left: Evaluate, right: Evaluate) -> Evaluate:
    match sign:
        case "||":
            return lambda usage: _truth(left(usage)) or _truth(right(usage))
        case "&&":
            return lambda usage: _truth(left(usage)) and _truth(right(usage))
        case "==":
            return lambda usage: left(usage) == right(usage)
        case "!=":
            return lambda usage: left(usage) != right(usage)
        case _:
            apply: Callable[[float, float], Value] = _ARITHMETIC[sign][1]
            return lambda usage: apply(_number(left(usage)), _number(right(usage)))


def _of(usage: UsageNumbers, name: str) -> float:
    value = usage.get(name)
    if value is None:
        raise _NoValue
    return value


def _number(value: Value) -> float:
    if isinstance(value, bool):
        raise _NoValue
    return value


def _truth(value: Value) -> bool:
    if not isinstance(value, bool):
        raise _NoValue
    return value
