"""The forms a document is written in: JSON, JSON for people, and YAML; all say the same."""

import enum
import json
import re
from collections.abc import Iterator

import orjson

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.-]+)*", re.ASCII)
# Words that YAML 1.1 reads as something else than themselves.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
# What JSON's escapes and YAML's do not agree on: beyond the first plane JSON writes two, DEL it leaves as it is.
_ODD = re.compile(r"[^\x00-\x7e\x80-\uffff]")


class Form(enum.Enum):
    """How a document is written; the value is its content type."""

    JSON = "application/json"
    YAML = "application/yaml"


def rewritten(body: bytes, form: Form, *, pretty: bool = False) -> bytes:
    """The compact JSON document `body` in another form; `pretty` makes a difference to JSON only."""
    if form is Form.YAML:
        return yaml_text(orjson.loads(body)).encode()
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2) if pretty else body


def yaml_text(content: object) -> str:
    """What `content`, made of JSON's types, is in YAML; a list of a thousand items must not hold up the loop."""
    return "".join(_lines(content, 0)).lstrip("\n ") + "\n"


def _lines(content: object, indent: int) -> Iterator[str]:
    """`content` as the value of what stands before it: on the same line, or below, `indent` columns to the right."""
    match content:
        case dict() if content:
            for key, value in content.items():
                yield f"\n{' ' * indent}{_scalar(key)}:"
                yield from _lines(value, indent + (2 if isinstance(value, dict) else 0))
        case list() if content:
            for value in content:
                yield f"\n{' ' * indent}-"
                inner = "".join(_lines(value, indent + 2))
                # The first line of a mapping or list goes behind the dash.
                yield " " + inner.lstrip("\n ")
        case _:
            yield f" {_scalar(content)}"


def _scalar(value: object) -> str:
    match value:
        case str() if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        case str():
            return "".join(_quoted(value))
        case dict():
            return "{}"
        case list():
            return "[]"
        case _:
            return json.dumps(value)


def _quoted(text: str) -> Iterator[str]:
    yield '"'
    last = 0
    for found in _ODD.finditer(text):
        yield json.dumps(text[last : found.start()])[1:-1]
        yield f"\\U{ord(found[0]):08x}"
        last = found.end()
    yield json.dumps(text[last:])[1:-1]
    yield '"'
