"""Values of Go's templates: how they are printed and compared, and the functions that templates call.

Source: text/template and fmt of the Go library, their documentation.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from infscale.errors import InfscaleError

Value = str | int | bool | Sequence[str] | Mapping[str, str]


class TemplateError(InfscaleError):
    """A template cannot be read, or makes nothing of what it is given; the message says where, and why."""


def truthy(value: Value) -> bool:
    """What ``if`` takes for true: what is not empty and not 0."""
    return bool(value)


def shown(value: Value) -> str:
    """`value` as Go prints it: ``[a b]``, ``map[a:b]``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{each}' for key, each in sorted(value.items()))}]"
    return f"[{' '.join(value)}]"


def go_quoted(text: str) -> str:
    """`text` as ``%q`` writes it, which is also a string of PromQL."""
    pieces: list[str] = []
    for character in text:
        if character in _ESCAPES:
            pieces.append(_ESCAPES[character])
        elif character.isprintable():
            pieces.append(character)
        else:
            code = ord(character)
            pieces.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(pieces)}"'


_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\v": "\\v",
}
_VERBS: Final = re.compile(r"%(?P<verb>[sdvq%])")


def _printf(values: Sequence[Value]) -> Value:
    if not values or not isinstance(values[0], str):
        raise TemplateError("printf begins with its format")
    left = list(values[1:])

    def filled(found: "re.Match[str]") -> str:
        verb = found["verb"]
        if verb == "%":
            return "%"
        if not left:
            raise TemplateError(f"printf has no value for %{verb}")
        value = left.pop(0)
        return go_quoted(shown(value)) if verb == "q" else shown(value)

    if "%" in _VERBS.sub("", values[0]):
        raise TemplateError("printf knows %s, %d, %v, %q and %%")
    text = _VERBS.sub(filled, values[0])
    if left:
        raise TemplateError("printf has more values than its format takes")
    return text


def _index(values: Sequence[Value]) -> Value:
    if len(values) != 2:
        raise TemplateError("index takes a map or list and one key")
    held, key = values
    if isinstance(held, Mapping):
        return held.get(shown(key), "")
    if isinstance(held, str | int) or not isinstance(key, int):
        raise TemplateError("index takes a map and a name, or a list and a number")
    if not 0 <= key < len(held):
        raise TemplateError(f"index {key} is outside the list of {len(held)}")
    return held[key]


def _length(values: Sequence[Value]) -> Value:
    if len(values) != 1 or isinstance(values[0], int):
        raise TemplateError("len takes one string, list or map")
    return len(values[0])


def _all_of(values: Sequence[Value]) -> Value:
    return next((each for each in values if not truthy(each)), values[-1] if values else False)


def _any_of(values: Sequence[Value]) -> Value:
    return next((each for each in values if truthy(each)), values[-1] if values else False)


def _negated(values: Sequence[Value]) -> Value:
    if len(values) != 1:
        raise TemplateError("not takes one value")
    return not truthy(values[0])


def _compared(name: str, holds: Callable[[Any, Any], bool]) -> Callable[[Sequence[Value]], Value]:
    def compare(values: Sequence[Value]) -> Value:
        kinds = {type(each) for each in values}
        if len(values) < 2 or len(kinds) > 1 or not kinds <= {str, int, bool}:
            raise TemplateError(f"{name} compares strings with strings or numbers with numbers")
        first, *others = values
        return any([holds(first, each) for each in others])

    return compare


def _print(values: Sequence[Value]) -> Value:
    pieces: list[str] = []
    for place, value in enumerate(values):
        # A space stands between operands of which neither is a string.
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            pieces.append(" ")
        pieces.append(shown(value))
    return "".join(pieces)


FUNCTIONS: Final[Mapping[str, Callable[[Sequence[Value]], Value]]] = MappingProxyType(
    {
        "index": _index,
        "printf": _printf,
        "print": _print,
        "len": _length,
        "and": _all_of,
        "or": _any_of,
        "not": _negated,
        **{name: _compared(name, getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    }
)
"""By name; each takes its operands and raises `TemplateError` where these are not for it."""
