"""YAML documents read strictly: every value knows its file, line and path, so that errors can say where.

A reader asks a `Field` for what it expects (`text`, `integer`, `mapping` …) and gets our types or a `ConfigError`
naming the place and the expected form. Unknown and duplicate keys are errors. JSON is YAML, and `from_plain` makes the
same fields of data that is already decoded, such as objects from a Kubernetes API server.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Never

import yaml
from yaml.composer import ComposerError

from infscale.errors import ConfigError

_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
# YAML 1.1 reads 010 as 8, 0x10 as 16 and 1:30 as 90; people do not, so only plain decimals are numbers here.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_NUMBER_DIGITS = 64
_DURATION_CHARACTERS = 64
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_QUOTE_LIMIT = 60

_TAG = "tag:yaml.org,2002:"
_NULL, _STR, _BOOL, _INT, _FLOAT, _TIMESTAMP = (
    _TAG + kind for kind in ("null", "str", "bool", "int", "float", "timestamp")
)
_KINDS = {
    _STR: "a string",
    _INT: "a number",
    _FLOAT: "a number",
    _BOOL: "a boolean",
    _NULL: "nothing",
    _TIMESTAMP: "a date",
}

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


def quoted(text: str) -> str:
    """`text` in quotes on one line, cut where it is long: what an error message may repeat of it."""
    return repr(text if len(text) <= _QUOTE_LIMIT else text[:_QUOTE_LIMIT] + "…")


def seconds_of_duration(text: str) -> float | None:
    """The seconds of a Go-style duration without a sign, such as ``200ms``, ``1m30s`` or ``0``; None: it is none."""
    if text == "0":
        return 0.0
    parts = _DURATION_PART.findall(text) if len(text) <= _DURATION_CHARACTERS else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return float(sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts))


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a document with its place.

    `strict` is the document's rule for unknown keys: refused, because a person wrote them, or let pass, because an API
    server newer than this reader did.
    """

    node: yaml.Node
    source: str
    path: str
    strict: bool = True

    @property
    def place(self) -> str:
        """``file:line``, or the source alone where the value never was text."""
        mark: yaml.Mark | None = self.node.start_mark
        return self.source if mark is None else f"{self.source}:{mark.line + 1}"

    def refuse(self, problem: str) -> Never:
        """Raise the `ConfigError` that says `problem` about this value."""
        raise ConfigError(self.place, self.path, problem)

    @property
    def is_null(self) -> bool:
        """Whether the value is an explicit null or left empty."""
        return self.node.tag == _NULL

    @property
    def is_text(self) -> bool:
        """Whether the value is a string, for readers that also take another form."""
        return self.node.tag == _STR

    def _scalar(self, tags: Sequence[str], expected: str) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag not in tags:
            self.refuse(f"expected {expected}, got {_kind(self.node)}")
        return str(self.node.value)

    def text(self, *, empty: bool = False) -> str:
        """A string; numbers and booleans are refused rather than guessed at. Empty only where allowed."""
        if isinstance(self.node, yaml.ScalarNode) and self.node.tag in {_INT, _FLOAT, _BOOL, _TIMESTAMP}:
            self.refuse(f"expected a string, got {_kind(self.node)}; put it in quotes")
        value = self._scalar([_STR], "a string")
        if not value and not empty:
            self.refuse("expected a non-empty string")
        return value

    def choice(self, options: Sequence[str]) -> str:
        """One of `options`."""
        value = self.text(empty=True)
        if value not in options:
            self.refuse(f"expected one of {', '.join(options)}, got {quoted(value)}")
        return value

    def integer(self, minimum: int | None = None, maximum: int | None = None) -> int:
        """A whole number within the bounds."""
        value = self._scalar([_INT], "a whole number").strip()
        if not _INTEGER.fullmatch(value) or len(value) > _NUMBER_DIGITS:
            self.refuse(f"expected a whole number in plain decimal, got {quoted(value)}")
        number = int(value)
        self._check_bounds(number, minimum, maximum)
        return number

    def number(self, minimum: float | None = None, maximum: float | None = None) -> float:
        """A finite number within the bounds."""
        value = self._scalar([_INT, _FLOAT], "a number").strip()
        if not _NUMBER.fullmatch(value) or len(value) > _NUMBER_DIGITS:
            self.refuse(f"expected a finite number in plain decimal, got {quoted(value)}")
        number = float(value.replace("_", ""))
        if not math.isfinite(number):
            self.refuse("expected a finite number")
        self._check_bounds(number, minimum, maximum)
        return number

    def _check_bounds(self, value: float, minimum: float | None, maximum: float | None) -> None:
        if minimum is not None and value < minimum:
            self.refuse(f"expected at least {_shown(minimum)}, got {_shown(value)}")
        if maximum is not None and value > maximum:
            self.refuse(f"expected at most {_shown(maximum)}, got {_shown(value)}")

    def boolean(self) -> bool:
        """``true`` or ``false``."""
        return _BOOLEANS[self._scalar([_BOOL], "true or false").lower()]

    def duration(self, minimum: float = 0.0) -> float:
        """Seconds from a Go-style duration: ``200ms``, ``1m30s``."""
        value = self.text()
        seconds = seconds_of_duration(value)
        if seconds is None:
            self.refuse(f"expected a duration such as 200ms, 30s or 1m30s, got {quoted(value)}")
        self._check_bounds(seconds, minimum, None)
        return seconds

    def timestamp(self) -> str:
        """A moment in RFC 3339, given back in UTC in the one form that sorts by time: ``2026-01-31T12:00:00Z``."""
        value = self._scalar([_STR, _TIMESTAMP], "a time")
        try:
            moment = datetime.fromisoformat(value)
            # A moment at the calendar's end has no equivalent in UTC.
            utc = None if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            utc = None
        if utc is None:
            self.refuse(f"expected a time such as 2026-01-31T12:00:00Z, got {quoted(value)}")
        return utc.replace(microsecond=0, tzinfo=None).isoformat() + "Z"

    def items(self) -> tuple["Field", ...]:
        """The elements of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse(f"expected a list, got {_kind(self.node)}")
        return tuple(
            Field(node, self.source, f"{self.path}[{i}]", self.strict) for i, node in enumerate(self.node.value)
        )

    def entries(self) -> dict[str, "Field"]:
        """A mapping with free keys, each a string and given once."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse(f"expected a mapping, got {_kind(self.node)}")
        found: dict[str, Field] = {}
        for key_node, value_node in self.node.value:
            key_field = Field(key_node, self.source, self.path)
            if not isinstance(key_node, yaml.ScalarNode):
                key_field.refuse("expected a string as key")
            key = str(key_node.value)
            if key in found:
                key_field.refuse(f"key {quoted(key)} is given twice")
            found[key] = Field(value_node, self.source, _child(self.path, key), self.strict)
        return found

    def mapping(self, required: Sequence[str] = (), optional: Sequence[str] = ()) -> dict[str, "Field"]:
        """A mapping with exactly these keys; null values of optional keys count as absent."""
        found = self.entries()
        known = [*required, *optional]
        for key, value in found.items():
            if key not in known and self.strict:
                raise ConfigError(value.place, value.path, f"unknown key; expected one of {', '.join(sorted(known))}")
        for key in required:
            if key not in found:
                self.refuse(f"key {quoted(key)} is missing")
        return {
            key: value for key, value in found.items() if key in required or (key in optional and not value.is_null)
        }

    def text_mapping(self) -> dict[str, str]:
        """A mapping of strings to strings, such as labels."""
        return {key: value.text(empty=True) for key, value in self.entries().items()}

    def plain(self) -> Plain:
        """The value as plain Python data, for parts that another schema owns."""
        if isinstance(self.node, yaml.SequenceNode):
            return [item.plain() for item in self.items()]
        if isinstance(self.node, yaml.MappingNode):
            return {key: value.plain() for key, value in self.entries().items()}
        return _plain_scalar(self)


def _plain_scalar(field: Field) -> Plain:
    kind = field.node.tag
    if kind == _INT:
        return field.integer()
    if kind == _FLOAT:
        return field.number()
    if kind == _BOOL:
        return field.boolean()
    return None if kind == _NULL else str(field.node.value)


def _child(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{quoted(key)}]"
    return f"{path}.{key}" if path else key


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return _KINDS.get(node.tag, "a value of another type")


def from_plain(value: Plain, source: str, *, strict: bool = True) -> Field:
    """The root of data that is already decoded; its places are `source` alone, without a line."""
    return Field(_node(value), source, "", strict)


def _node(value: Plain) -> yaml.Node:
    if isinstance(value, dict):
        pairs = [(yaml.ScalarNode(_STR, key), _node(item)) for key, item in value.items()]
        return yaml.MappingNode(_TAG + "map", pairs)
    if isinstance(value, list):
        return yaml.SequenceNode(_TAG + "seq", [_node(item) for item in value])
    if value is None:
        return yaml.ScalarNode(_NULL, "")
    if isinstance(value, bool):
        return yaml.ScalarNode(_BOOL, "true" if value else "false")
    if isinstance(value, str):
        return yaml.ScalarNode(_STR, value)
    return yaml.ScalarNode(_INT if isinstance(value, int) else _FLOAT, repr(value))


def load(text: str, source: str) -> Field:
    """The root of the one document in `text`; `source` is the file name that errors show."""
    documents = load_all(text, source)
    if len(documents) != 1:
        raise ConfigError(source, "", f"expected one YAML document, found {len(documents)}")
    return documents[0]


def load_all(text: str, source: str) -> tuple[Field, ...]:
    """The roots of every non-empty document in `text`."""
    try:
        nodes = list(_compose(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source}:{line}", "", f"not valid YAML: {error.problem or 'malformed'}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets some errors of its conversions through: character escapes and version numbers beyond any range.
        problem = next(iter(str(error).splitlines()), "malformed")
        raise ConfigError(source, "", f"not valid YAML: {problem}") from error
    except RecursionError as error:
        raise ConfigError(source, "", "not valid YAML: nested too deeply") from error
    return tuple(Field(node, source, "") for node in nodes if node.tag != _NULL)


_MAX_VALUES = 1_000_000


class _StrictLoader(yaml.SafeLoader):
    """Refuses tags, which nobody needs, and aliases that would make a small document grow without bound.

    Lone surrogates, which JSON escapes can write and no encoding can, are refused too.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        # How many values each composed node stands for, by identity: the tree keeps the nodes alive.
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        if not is_alias and event.tag is not None:
            raise ComposerError(None, None, "tags are not allowed", event.start_mark)
        node = super().compose_node(parent, index)
        if node is None:
            return None
        if not is_alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in _parts(node))
        elif id(node) not in self._sizes:
            raise ComposerError(None, None, "an alias may not contain itself", event.start_mark)
        if self._sizes[id(node)] > _MAX_VALUES:
            problem = f"aliases make the document larger than {_MAX_VALUES} values"
            raise ComposerError(None, None, problem, event.start_mark)
        return node

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        try:
            # Two escapes that are the halves of one character, as JSON writes it, become that character.
            node.value = str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise ComposerError(None, None, "a character escape is half of a pair", node.start_mark) from None
        return node


# JSON writes 1e5, which YAML 1.1 takes for a string.
_StrictLoader.add_implicit_resolver(
    _FLOAT, re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def _compose(text: str) -> Iterator[yaml.Node]:
    loader = _StrictLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()
