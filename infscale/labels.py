"""Kubernetes label selectors, and the label value that stands for a model name.

The grammar is that of `k8s.io/apimachinery/pkg/labels`: requirements joined by commas, each one of ``a=b``, ``a==b``,
``a!=b``, ``a in (x,y)``, ``a notin (x)``, ``a``, ``!a``, ``a>1``, ``a<1``.
"""

import enum
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infscale.errors import SelectorError

_NAME_LIMIT = 63
_PREFIX_LIMIT = 253
_ALPHABET = "characters of [-A-Za-z0-9_.] and begins and ends with a letter or digit"
_QUOTE_LIMIT = 40
_KEY_HEAD = 54
_HASH_DIGITS = 8

_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_TOKEN = re.compile(r"[ \t\r\n]*(?P<token>==|!=|[=!()<>,]|[^=!()<>, \t\r\n]+|\Z)")
# What ends the key of a name that is no label value: eight hex digits, one of them a letter, so that names that end in
# a date stay their own keys.
_MADE = re.compile(r"(?:.*-)?(?=[0-9]{0,7}[a-f])[0-9a-f]{8}")
_DIGEST = re.compile(r"(?=[0-9]{0,7}[a-f])[0-9a-f]{8}")
_NOT_LABEL = re.compile(r"[^A-Za-z0-9._-]")


class Operator(enum.Enum):
    """How a requirement compares; the value is the operator as the string grammar writes it."""

    EQUALS = "="
    NOT_EQUALS = "!="
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    GREATER_THAN = ">"
    LESS_THAN = "<"


_ONE_VALUE = frozenset({Operator.EQUALS, Operator.NOT_EQUALS, Operator.GREATER_THAN, Operator.LESS_THAN})
_MANY_VALUES = frozenset({Operator.IN, Operator.NOT_IN})
_ORDERINGS = frozenset({Operator.GREATER_THAN, Operator.LESS_THAN})
_SYMBOLS = {
    "=": Operator.EQUALS,
    "==": Operator.EQUALS,
    "!=": Operator.NOT_EQUALS,
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    ">": Operator.GREATER_THAN,
    "<": Operator.LESS_THAN,
}
_EXPRESSION_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
}
_PUNCTUATION = frozenset({"=", "==", "!=", "!", "(", ")", "<", ">", ","})


def key_problem(key: str) -> str | None:
    """Why `key` is no label key (a qualified name: ``[dns-subdomain/]name``), or None when it is one."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not prefix or len(prefix) > _PREFIX_LIMIT or not _SUBDOMAIN.fullmatch(prefix)):
        return f"the prefix before '/' must be a lower-case DNS subdomain of at most {_PREFIX_LIMIT} characters"
    if not name or len(name) > _NAME_LIMIT or not _NAME.fullmatch(name):
        return f"a label name has 1 to {_NAME_LIMIT} {_ALPHABET}"
    return None


def value_problem(value: str) -> str | None:
    """Why `value` is no label value, or None when it is one. The empty value is legal."""
    if value and (len(value) > _NAME_LIMIT or not _NAME.fullmatch(value)):
        return f"a label value has at most {_NAME_LIMIT} {_ALPHABET}"
    return None


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. Values are kept sorted and without duplicates.

    Raises `SelectorError` for an illegal key or value, and for a number of values the operator does not take.
    """

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(sorted(set(self.values))))
        if problem := key_problem(self.key):
            raise SelectorError(f"label key {_quoted(self.key)}: {problem}")
        self._check_count()
        for value in self.values:
            if problem := value_problem(value):
                raise SelectorError(f"value {_quoted(value)} of label {self.key}: {problem}")
            if self.operator in _ORDERINGS and _integer(value) is None:
                raise SelectorError(f"label {self.key}: {self.operator.value!r} compares with a 64-bit integer")

    def _check_count(self) -> None:
        if self.operator in _ONE_VALUE:
            if len(self.values) != 1:
                raise SelectorError(f"label {self.key}: {self.operator.value!r} takes exactly one value")
        elif self.operator in _MANY_VALUES:
            if not self.values:
                raise SelectorError(f"label {self.key}: {self.operator.value!r} takes at least one value")
        elif self.values:
            raise SelectorError(f"label {self.key}: {self.operator.name} takes no values")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` fulfil this condition; an absent label fulfils ``!=``, ``notin`` and ``!``."""
        value = labels.get(self.key)
        match self.operator:
            case Operator.EQUALS | Operator.IN:
                return value in self.values
            case Operator.NOT_EQUALS | Operator.NOT_IN:
                return value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
            case Operator.GREATER_THAN | Operator.LESS_THAN:
                return self._ordered(value)

    def _ordered(self, value: str | None) -> bool:
        actual, limit = _integer(value or ""), _integer(self.values[0])
        if actual is None or limit is None:
            return False
        return actual > limit if self.operator is Operator.GREATER_THAN else actual < limit

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.IN | Operator.NOT_IN:
                # "()" is the empty set to the parser, "(,)" the set of the empty value.
                listed = ",".join(self.values) or ","
                return f"{self.key} {self.operator.value} ({listed})"
            case _:
                return f"{self.key}{self.operator.value}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all hold; none at all selects everything.

    Requirements are kept sorted, so two selectors that say the same in another order are equal, and `str` gives the
    canonical text, which parses back to an equal selector.
    """

    requirements: tuple[Requirement, ...] = ()

    def __post_init__(self) -> None:
        ordered = sorted(self.requirements, key=lambda each: (each.key, each.operator.value, each.values))
        object.__setattr__(self, "requirements", tuple(ordered))

    @classmethod
    def parse(cls, text: str) -> "Selector":
        """The selector `text` writes; blank text selects everything.

        Raises `SelectorError` saying at which character and why.
        """
        return cls(tuple(_Parser(text).requirements()))

    @classmethod
    def from_match_labels(cls, match_labels: Mapping[str, str]) -> "Selector":
        """The selector of a plain map: every label equal."""
        return cls.from_label_selector(match_labels, ())

    @classmethod
    def from_label_selector(
        cls, match_labels: Mapping[str, str], match_expressions: Iterable[tuple[str, str, Iterable[str]]]
    ) -> "Selector":
        """The selector of a `LabelSelector` object.

        Expressions are (key, operator, values) with the API's operators `In`, `NotIn`, `Exists`, `DoesNotExist`.
        Raises `SelectorError`.
        """
        requirements = [Requirement(key, Operator.EQUALS, (value,)) for key, value in match_labels.items()]
        for key, operator, values in match_expressions:
            known = _EXPRESSION_OPERATORS.get(operator)
            if known is None:
                expected = ", ".join(_EXPRESSION_OPERATORS)
                raise SelectorError(f"operator {_quoted(operator)} of label {_quoted(key)}: expected one of {expected}")
            requirements.append(Requirement(key, known, tuple(values)))
        return cls(tuple(requirements))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` fulfil every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


def model_key(model: str) -> str:
    """A legal label value for a model name, because HPA metric selectors take nothing else.

    A legal value is its own key, unless it ends as made keys do. Any other name has its illegal characters replaced by
    ``-`` and what it cannot begin with removed; 54 characters of that, ``-`` and 8 hex digits of the name's SHA-256, of
    which one is a letter, keep distinct names distinct: no name is another one's key.
    """
    if value_problem(model) is None and not _MADE.fullmatch(model):
        return model
    found = _DIGEST.search(hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest())
    # A digest without a letter has nothing to tell apart.
    digest = found[0] if found else "a" * _HASH_DIGITS
    head = _NOT_LABEL.sub("-", model).lstrip("-._")[:_KEY_HEAD]
    return f"{head}-{digest}" if head else digest


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTE_LIMIT else text[:_QUOTE_LIMIT] + "…")


def _integer(text: str) -> int | None:
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


@dataclass(frozen=True, slots=True)
class _Token:
    """A piece of the selector and the character it starts at, counted from 1; the end is the empty text."""

    text: str
    position: int

    @property
    def is_word(self) -> bool:
        return self.text != "" and self.text not in _PUNCTUATION

    def unexpected(self, expected: str) -> SelectorError:
        found = _quoted(self.text) if self.text else "the end"
        return SelectorError(f"label selector, character {self.position}: found {found}, expected {expected}")


def _tokens(text: str) -> list[_Token]:
    return [_Token(found["token"], found.start("token") + 1) for found in _TOKEN.finditer(text)]


class _Parser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._peek()
        if token.text:
            self._next += 1
        return token

    def requirements(self) -> Iterable[Requirement]:
        if not self._peek().text:
            return
        yield self._requirement()
        while (token := self._take()).text:
            if token.text != ",":
                raise token.unexpected("',' or the end")
            yield self._requirement()

    def _requirement(self) -> Requirement:
        start = self._peek()
        absent = start.text == "!"
        if absent:
            self._take()
        key = self._take()
        if not key.is_word:
            raise key.unexpected("a label key" if absent else "'!' or a label key")
        operator, values = (Operator.DOES_NOT_EXIST, ()) if absent else self._condition()
        try:
            return Requirement(key.text, operator, values)
        except SelectorError as error:
            raise SelectorError(f"label selector, character {start.position}: {error}") from None

    def _condition(self) -> tuple[Operator, tuple[str, ...]]:
        if self._peek().text in ("", ","):
            return Operator.EXISTS, ()
        token = self._take()
        operator = _SYMBOLS.get(token.text)
        if operator is None:
            raise token.unexpected("one of =, ==, !=, in, notin, <, >, ',' or the end")
        if operator in _MANY_VALUES:
            return operator, self._value_list()
        return operator, (self._value(),)

    def _value(self) -> str:
        if self._peek().text in ("", ","):
            return ""
        token = self._take()
        if not token.is_word:
            raise token.unexpected("a value")
        return token.text

    def _value_list(self) -> tuple[str, ...]:
        opening = self._take()
        if opening.text != "(":
            raise opening.unexpected("'('")
        if self._peek().text == ")":
            self._take()
            return ()
        values: list[str] = []
        while True:
            values.append(self._take().text if self._peek().is_word else "")
            token = self._take()
            if token.text == ")":
                return tuple(values)
            if token.text != ",":
                raise token.unexpected("',' or ')'")
