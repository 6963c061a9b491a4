"""The part of Go's text/template that queries are written in, filled in; `go_template_nodes` reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infscale.prometheus.rules.go_template_nodes import (
    Assignment,
    Block,
    Call,
    Literal,
    Node,
    Operand,
    Output,
    Path,
    Text,
    parsed,
)
from infscale.prometheus.rules.go_values import FUNCTIONS, TemplateError, Value, shown, truthy

Arguments = Mapping[str, Value]
"""The fields of what a template is given."""

_MAX_OUTPUT_CHARACTERS: Final = 1_048_576
_MAX_STEPS: Final = 50_000

_Variables = dict[str, list["Value | Arguments"]]
"""Each in a list of one: an assignment in a block is seen behind it, a declaration is not."""


@dataclass(frozen=True, slots=True)
class GoTemplate:
    """A template that was read."""

    text: str
    nodes: tuple[Node, ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "GoTemplate":
        """The template in `text`. Raises `TemplateError`."""
        return cls(text, parsed(text))

    def filled(self, arguments: Arguments) -> str:
        """What the template makes of `arguments`. Raises `TemplateError`."""
        writer = _Writer(arguments)
        writer.write(self.nodes, arguments, {"$": [arguments]})
        return "".join(writer.pieces)


class _Writer:
    """Fills a template in; guards what is written and how many steps that took."""

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments
        self._steps = 0
        self._length = 0
        self.pieces: list[str] = []

    def write(self, nodes: Sequence[Node], dot: "Value | Arguments", variables: _Variables) -> None:
        for node in nodes:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise TemplateError(f"it takes more than {_MAX_STEPS} steps")
            match node:
                case Text(text):
                    self._put(text)
                case Output(operand):
                    self._put(shown(self._value(operand, dot, variables)))
                case Assignment(name, operand, declares):
                    value = self._value(operand, dot, variables)
                    if declares:
                        variables[name] = [value]
                    else:
                        _cell(name, variables)[0] = value
                case Block():
                    self._block(node, dot, variables)

    def _block(self, block: Block, dot: "Value | Arguments", variables: _Variables) -> None:
        value = self._value(block.operand, dot, variables)
        if block.kind == "range":
            pairs = _pairs(value)
            for key, each in pairs:
                names = block.variables if len(block.variables) != 1 else ("", *block.variables)
                bound: _Variables = {name: [part] for name, part in zip(names, (key, each), strict=False)}
                self.write(block.body, each, {**variables, **bound})
            if not pairs:
                self.write(block.otherwise, dot, dict(variables))
            return
        bound_here: _Variables = {name: [value] for name in block.variables[:1]}
        if truthy(value):
            self.write(block.body, value if block.kind == "with" else dot, {**variables, **bound_here})
        else:
            self.write(block.otherwise, dot, {**variables, **bound_here})

    def _value(self, operand: Operand, dot: "Value | Arguments", variables: _Variables) -> Value:
        match operand:
            case Literal(value):
                return value
            case Call(name, operands):
                return FUNCTIONS[name]([self._value(each, dot, variables) for each in operands])
            case Path(start, fields):
                found = dot if start == "." else _cell(start, variables)[0]
                for name in fields:
                    found = _field_of(found, name, self._arguments)
                return _no_struct(found, self._arguments)

    def _put(self, text: str) -> None:
        self._length += len(text)
        if self._length > _MAX_OUTPUT_CHARACTERS:
            raise TemplateError(f"it makes more than {_MAX_OUTPUT_CHARACTERS} characters")
        self.pieces.append(text)


def _cell(name: str, variables: _Variables) -> list["Value | Arguments"]:
    if name not in variables:
        raise TemplateError(f"there is no variable {name}")
    return variables[name]


def _field_of(found: "Value | Arguments", name: str, arguments: Arguments) -> "Value | Arguments":
    if found is arguments:
        if name not in arguments:
            known = ", ".join(f".{each}" for each in arguments)
            raise TemplateError(f"there is no field .{name}; there are {known}")
        return arguments[name]
    if isinstance(found, Mapping):
        value = found.get(name, "")
        return value if isinstance(value, str) else ""
    raise TemplateError(f"{shown(_no_struct(found, arguments))[:20]!r} has no field .{name}")


def _no_struct(found: "Value | Arguments", arguments: Arguments) -> Value:
    if found is arguments:
        raise TemplateError("name the field that is meant: . alone is all of them")
    return found  # type: ignore[return-value] # only the struct itself is no value


def _pairs(value: Value) -> Sequence[tuple[Value, Value]]:
    if isinstance(value, Mapping):
        return sorted(value.items())
    if isinstance(value, str | int):
        raise TemplateError("range goes over a list or a map")
    return list(enumerate(value))
