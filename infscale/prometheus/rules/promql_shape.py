"""The plain forms of PromQL, recognised: a selector, a function of one, an aggregation of either.

It is no parser of PromQL: of any other query it says nothing, and what it recognises it understands whole.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_QUERY_CHARACTERS: Final = 16_384
"""Of a query that is looked at."""

_NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL: Final = r"[a-zA-Z_][a-zA-Z0-9_]*"
_STRING: Final = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"
_CONDITION: Final = re.compile(rf"\s*({_LABEL})\s*(=~|!~|!=|=)\s*({_STRING})\s*(,|\Z)")
_SELECTOR: Final = re.compile(rf"\s*({_NAME})\s*(?:\{{((?:[^\"'{{}}]|{_STRING})*)\}})?\s*(\[[0-9a-z]+\])?\s*")
_BY: Final = rf"by\s*\((\s*(?:{_LABEL}\s*(?:,\s*{_LABEL}\s*)*)?)\)\s*"
_HEAD: Final = re.compile(rf"\s*({_LABEL})\s*(?:{_BY})?\(")
_TAIL: Final = re.compile(rf"\s*(?:{_BY})?")
_STRINGS: Final = re.compile(_STRING)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_LABELS: Final = re.compile(_LABEL)
_AGGREGATIONS: Final = frozenset({"sum", "avg", "min", "max"})
_FUNCTIONS: Final = frozenset(
    {"rate", "irate", "increase", "delta", "deriv", "avg_over_time", "max_over_time", "min_over_time", "sum_over_time"}
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One matcher of a selector; the value without quotes and escapes."""

    label: str
    sign: str
    value: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A query of a plain form. `by` None: not aggregated by labels; `function` None: the value of the moment.

    `selector` is the text of the selector without a range.
    """

    aggregation: str | None
    by: tuple[str, ...] | None
    function: str | None
    metric: str
    conditions: tuple[Condition, ...]
    selector: str

    @property
    def timestamps(self) -> str:
        """A query for when each row's oldest series was last sampled, with the labels of this query's rows."""
        if self.aggregation is None:
            return f"timestamp({self.selector})"
        return f"min by ({','.join(self.by or ())}) (timestamp({self.selector}))"


@dataclass(frozen=True, slots=True)
class _Called:
    """A name with parentheses, and the labels of a ``by`` on either side of these."""

    name: str
    by: tuple[str, ...] | None
    inner: str


def shape_of(query: str) -> Shape | None:
    """The shape of `query`; None where it is of no plain form."""
    if len(query) > MAX_QUERY_CHARACTERS:
        return None
    inner, aggregation, function = query, None, None
    called = _called(inner)
    by: tuple[str, ...] | None = None
    if called is not None and called.name in _AGGREGATIONS:
        aggregation, by, inner = called.name, called.by, called.inner
        called = _called(inner)
    if called is not None:
        if called.name not in _FUNCTIONS or called.by is not None:
            return None
        function, inner = called.name, called.inner
    selected = _SELECTOR.fullmatch(inner)
    if selected is None or (selected[3] is None) == (function is not None):
        return None
    conditions = _conditions(selected[2] or "")
    if conditions is None:
        return None
    return Shape(aggregation, by, function, selected[1], conditions, f"{selected[1]}{{{(selected[2] or '').strip()}}}")


def _called(text: str) -> _Called | None:
    """What `text` calls, where it is one call and nothing else."""
    head = _HEAD.match(text)
    end = -1 if head is None else _closing(text, head.end())
    tail = None if end < 0 else _TAIL.fullmatch(text, end + 1)
    if head is None or tail is None or (head[2] is not None and tail[1] is not None):
        return None
    labels = head[2] if head[2] is not None else tail[1]
    return _Called(head[1], None if labels is None else tuple(_LABELS.findall(labels)), text[head.end() : end])


def _closing(text: str, begin: int) -> int:
    """Where the parenthesis closes that was opened before `begin`; -1: nowhere."""
    depth, place = 1, begin
    while place < len(text):
        string = _STRINGS.match(text, place)
        if string is not None:
            place = string.end()
            continue
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if not depth:
            return place
        place += 1
    return -1


def _conditions(text: str) -> tuple[Condition, ...] | None:
    """The matchers between the braces of a selector; None where they are none."""
    found: list[Condition] = []
    place = 0
    while text[place:].strip():
        each = _CONDITION.match(text, place)
        if each is None:
            return None
        found.append(Condition(each[1], each[2], _ESCAPED.sub(r"\1", each[3][1:-1])))
        place = each.end()
    return tuple(found)
