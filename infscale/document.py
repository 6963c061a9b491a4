"""YAML documents read strictly: every value knows its file, line and path, so that errors can say where.

A reader asks a `Field` for what it expects (`text`, `integer`, `mapping` …) and gets our types or a `ConfigError`
naming the place and the expected form. Unknown and duplicate keys are errors.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Never

import yaml
from yaml.composer import ComposerError

from infscale.errors import ConfigError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a document with its place."""

    node: yaml.Node
    source: str
    path: str

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.source}:{self.node.start_mark.line + 1}"

    def refuse(self, problem: str) -> Never:
        """Raise the `ConfigError` that says `problem` about this value."""
        raise ConfigError(self.place, self.path, problem)

    @property
    def is_null(self) -> bool:
        """Whether the value is an explicit null or left empty."""
        return self.node.tag == "tag:yaml.org,2002:null"

    def text(self, *, empty: bool = False) -> str:
        """A string; numbers and booleans are refused rather than guessed at. Empty only where allowed."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != "tag:yaml.org,2002:str":
            self.refuse(f"expected a string, got {_kind(self.node)}")
        if not self.node.value and not empty:
            self.refuse("expected a non-empty string")
        return str(self.node.value)

    def choice(self, options: Sequence[str]) -> str:
        """One of `options`."""
        value = self.text(empty=True)
        if value not in options:
            self.refuse(f"expected one of {', '.join(options)}, got {value!r}")
        return value

    def integer(self, minimum: int | None = None, maximum: int | None = None) -> int:
        """A whole number within the bounds."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != "tag:yaml.org,2002:int":
            self.refuse(f"expected a whole number, got {_kind(self.node)}")
        try:
            value = int(yaml.SafeLoader("").construct_yaml_int(self.node))
        except ValueError:
            self.refuse("expected a whole number")
        self._check_bounds(value, minimum, maximum)
        return value

    def number(self, minimum: float | None = None, maximum: float | None = None) -> float:
        """A finite number within the bounds."""
        tag = self.node.tag.rpartition(":")[2]
        if not isinstance(self.node, yaml.ScalarNode) or tag not in {"int", "float"}:
            self.refuse(f"expected a number, got {_kind(self.node)}")
        loader = yaml.SafeLoader("")
        build = loader.construct_yaml_int if tag == "int" else loader.construct_yaml_float
        value = float(build(self.node))
        if not math.isfinite(value):
            self.refuse("expected a finite number")
        self._check_bounds(value, minimum, maximum)
        return value

    def _check_bounds(self, value: float, minimum: float | None, maximum: float | None) -> None:
        if minimum is not None and value < minimum:
            self.refuse(f"expected at least {minimum:g}, got {value:g}")
        if maximum is not None and value > maximum:
            self.refuse(f"expected at most {maximum:g}, got {value:g}")

    def boolean(self) -> bool:
        """``true`` or ``false``."""
        if self.node.tag != "tag:yaml.org,2002:bool" or not isinstance(self.node, yaml.ScalarNode):
            self.refuse(f"expected true or false, got {_kind(self.node)}")
        return str(self.node.value).lower() in {"true", "yes", "on"}

    def duration(self, minimum: float = 0.0) -> float:
        """Seconds from a Go-style duration: ``200ms``, ``1m30s``."""
        value = self.text()
        parts = _DURATION.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.refuse(f"expected a duration such as 200ms, 30s or 1m30s, got {value!r}")
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
        self._check_bounds(seconds, minimum, None)
        return seconds

    def items(self) -> tuple["Field", ...]:
        """The elements of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse(f"expected a list, got {_kind(self.node)}")
        return tuple(Field(node, self.source, f"{self.path}[{i}]") for i, node in enumerate(self.node.value))

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
                key_field.refuse(f"key {key!r} is given twice")
            found[key] = Field(value_node, self.source, f"{self.path}.{key}" if self.path else key)
        return found

    def mapping(self, required: Sequence[str] = (), optional: Sequence[str] = ()) -> dict[str, "Field"]:
        """A mapping with exactly these keys; null values of optional keys count as absent."""
        found = self.entries()
        known = [*required, *optional]
        for key, value in found.items():
            if key not in known:
                raise ConfigError(value.place, value.path, f"unknown key; expected one of {', '.join(sorted(known))}")
        for key in required:
            if key not in found:
                self.refuse(f"key {key!r} is missing")
        return {key: value for key, value in found.items() if key in required or not value.is_null}

    def text_mapping(self) -> dict[str, str]:
        """A mapping of strings to strings, such as labels."""
        return {key: value.text(empty=True) for key, value in self.entries().items()}

    def plain(self) -> Plain:
        """The value as plain Python data, for parts that another schema owns."""
        if isinstance(self.node, yaml.SequenceNode):
            return [item.plain() for item in self.items()]
        if isinstance(self.node, yaml.MappingNode):
            return {key: value.plain() for key, value in self.entries().items()}
        return _scalar(self)


def _scalar(field: Field) -> Plain:
    kind = field.node.tag.rpartition(":")[2]
    if kind == "int":
        return field.integer()
    if kind == "float":
        return field.number()
    if kind == "bool":
        return field.boolean()
    return None if kind == "null" else str(field.node.value)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    names = {"str": "a string", "int": "a number", "float": "a number", "bool": "a boolean", "null": "nothing"}
    return names.get(node.tag.rpartition(":")[2], "a value of another type")


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
    except yaml.YAMLError as error:
        raise ConfigError(source, "", f"not valid YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise ConfigError(source, "", "not valid YAML: nested too deeply") from error
    return tuple(Field(node, source, "") for node in nodes if node.tag != "tag:yaml.org,2002:null")


class _NoAliasLoader(yaml.SafeLoader):
    """Refuses aliases: a document could otherwise grow without bound while it is read."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.get_event().start_mark  # type: ignore[no-untyped-call] # the stubs leave the parser untyped
            raise ComposerError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)


def _compose(text: str) -> Iterator[yaml.Node]:
    loader = _NoAliasLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()
