"""Reading the part of Go's text/template that queries are written in, with the delimiters ``<<`` and ``>>``.

Texts, fields (``.Series``), variables, ``index``, ``printf``, ``print``, ``len``, comparisons, ``and``/``or``/``not``,
pipes, ``if``/``else``, ``range`` and ``with``. What else a template may say is refused with its place.
Source: text/template of the Go library, its documentation.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Never

from infscale.prometheus.rules.go_values import FUNCTIONS, TemplateError, Value

MAX_TEMPLATE_CHARACTERS: Final = 16_384
"""Of a template that is read."""
_MAX_DEPTH: Final = 20
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<number>-?[0-9]+)|(?P<variable>\$[A-Za-z0-9_]*)"""
    r"""|(?P<field>\.[A-Za-z_][A-Za-z0-9_]*)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>:=|=|[().,|]))"""
)
_COMMENT: Final = re.compile(r"\s*/\*.*?\*/\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class Text:
    """What stands between actions."""

    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that is written."""

    value: Value


@dataclass(frozen=True, slots=True)
class Path:
    """A value by its name (a variable, "." for the one at hand) and fields of it."""

    start: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its operands; those of a pipe come last."""

    name: str
    operands: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class Output:
    """A value that is put where it stands."""

    operand: "Operand"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A variable that is set; `declares`: it is a new one."""

    name: str
    operand: "Operand"
    declares: bool


@dataclass(frozen=True, slots=True)
class Block:
    """``if``, ``with`` or ``range`` and what it does; `variables` are those that ``range`` and ``with`` set."""

    kind: str
    operand: "Operand"
    variables: tuple[str, ...]
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


Operand = Literal | Path | Call
"""A value within an action."""
Node = Text | Output | Assignment | Block
"""A part of a template."""


@dataclass(frozen=True, slots=True)
class _Ending:
    """What ended a list of nodes: ``end`` or ``else``, and what stands behind that."""

    token: _Token
    rest: Sequence[_Token]


def parsed(text: str) -> tuple[Node, ...]:
    """What the template in `text` consists of. Raises `TemplateError`."""
    if len(text) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateError(f"a template has at most {MAX_TEMPLATE_CHARACTERS} characters")
    return _Parser(text).whole()


class _Parser:
    """Recursive descent: guards the actions still to come."""

    def __init__(self, text: str) -> None:
        self._parts = list(_parts(text))
        self._next = 0
        self._depth = 0

    def whole(self) -> tuple[Node, ...]:
        nodes, ending = self._nodes()
        if ending is not None:
            _refuse(ending.token, f"{ending.token.text} without a beginning")
        return nodes

    def _nodes(self) -> tuple[tuple[Node, ...], _Ending | None]:
        """The nodes up to an ``end`` or ``else``, and which of them."""
        nodes: list[Node] = []
        while self._next < len(self._parts):
            part = self._parts[self._next]
            self._next += 1
            if isinstance(part, str):
                nodes.append(Text(part))
            elif part and part[0].kind == "word" and part[0].text in {"end", "else"}:
                return tuple(nodes), _Ending(part[0], part[1:])
            elif part:
                nodes.append(self._action(part))
        return tuple(nodes), None

    def _action(self, tokens: Sequence[_Token]) -> Node:
        head = tokens[0]
        if head.kind == "word" and head.text in {"if", "range", "with"}:
            return self._block(head, tokens[1:])
        if head.kind == "word" and head.text in {"define", "template", "block", "break", "continue"}:
            _refuse(head, f"{head.text} is not among what is read here")
        if head.kind == "variable" and len(tokens) > 2 and tokens[1].text in {":=", "="}:
            return Assignment(head.text, _Pipeline(tokens[2:]).whole(), tokens[1].text == ":=")
        return Output(_Pipeline(tokens).whole())

    def _block(self, head: _Token, tokens: Sequence[_Token]) -> Block:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            _refuse(head, "it is nested too deeply")
        variables, tokens = _declared(tokens)
        if not tokens:
            _refuse(head, f"{head.text} needs a value")
        operand = _Pipeline(tokens).whole()
        body, ending = self._nodes()
        otherwise: tuple[Node, ...] = ()
        if ending is not None and ending.token.text == "else" and ending.rest:
            # "else if" is an if of its own that shares the end.
            otherwise = (self._action(ending.rest),)
        else:
            if ending is not None and ending.token.text == "else":
                otherwise, ending = self._nodes()
            if ending is None or ending.token.text != "end":
                _refuse(head, f"{head.text} without an end")
        self._depth -= 1
        return Block(head.text, operand, variables, body, otherwise)


def _declared(tokens: Sequence[_Token]) -> tuple[tuple[str, ...], Sequence[_Token]]:
    """The variables before ``:=``, and the tokens behind it."""
    signs = [place for place, each in enumerate(tokens) if each.text == ":="]
    if not signs:
        return (), tokens
    names = tuple(each.text for each in tokens[: signs[0]] if each.text != ",")
    if not 1 <= len(names) <= 2 or not all(name.startswith("$") for name in names):
        _refuse(tokens[0], "expected one or two variables before :=")
    return names, tokens[signs[0] + 1 :]


class _Pipeline:
    """Reads what stands within one action."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def whole(self) -> Operand:
        value = self._pipe()
        if self._next < len(self._tokens):
            _refuse(self._tokens[self._next], f"unexpected {self._tokens[self._next].text!r}")
        return value

    def _pipe(self) -> Operand:
        value = self._command(())
        while self._take("|"):
            value = self._command((value,))
        return value

    def _command(self, piped: tuple[Operand, ...]) -> Operand:
        head = self._peek()
        if head is None:
            raise TemplateError("an action or a pipe ends where a value is expected")
        if head.kind != "word" or head.text in {"true", "false"}:
            if piped:
                _refuse(head, "a pipe leads to a function")
            return self._operand()
        if head.text not in FUNCTIONS:
            known = ", ".join(sorted(FUNCTIONS))
            _refuse(head, f"there is no function {head.text} here; there are {known}")
        self._next += 1
        operands: list[Operand] = []
        while (token := self._peek()) is not None and token.text not in {")", "|"}:
            operands.append(self._operand())
        return Call(head.text, (*operands, *piped))

    def _operand(self) -> Operand:
        token = self._tokens[self._next]
        self._next += 1
        match token.kind, token.text:
            case "string", text:
                return Literal(_unquoted(token) if text.startswith('"') else text[1:-1])
            case "number", text:
                return Literal(int(text))
            case "word", "true" | "false":
                return Literal(token.text == "true")
            case "word", name if name in FUNCTIONS:
                return Call(name, ())
            case "variable", name:
                return Path(name, self._fields())
            case "field", name:
                self._next -= 1
                return Path(".", self._fields())
            case "sign", ".":
                return Path(".", ())
            case "sign", "(":
                inner = self._pipe()
                if not self._take(")"):
                    _refuse(token, "( without )")
                return inner
            case _:
                _refuse(token, f"unexpected {token.text!r}")

    def _fields(self) -> tuple[str, ...]:
        names: list[str] = []
        while (token := self._peek()) is not None and token.kind == "field" and (not names or self._adjoins()):
            names.append(token.text[1:])
            self._next += 1
        return tuple(names)

    def _adjoins(self) -> bool:
        before, token = self._tokens[self._next - 1], self._tokens[self._next]
        return before.position + len(before.text) == token.position

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, sign: str) -> bool:
        token = self._peek()
        if token is None or token.text != sign or token.kind != "sign":
            return False
        self._next += 1
        return True


def _parts(text: str) -> "Sequence[str | Sequence[_Token]]":
    """Texts, and the tokens of the actions between them."""
    parts: list[str | Sequence[_Token]] = []
    position = 0
    while True:
        start = text.find("<<", position)
        plain = text[position:] if start < 0 else text[position:start]
        if parts and _trims_after(text, position):
            plain = plain.lstrip()
        if start < 0:
            return [*parts, plain] if plain else parts
        trims = text.startswith("<<- ", start) or text.startswith("<<-\n", start)
        if trims:
            plain = plain.rstrip()
        if plain:
            parts.append(plain)
        begin = start + 3 if trims else start + 2
        stop = _end_of_action(text, begin)
        inner_end = stop - 1 if text[stop - 1] == "-" and text[stop - 2 : stop - 1].isspace() else stop
        parts.append(_tokens(text, begin, inner_end))
        position = stop + 2


def _trims_after(text: str, position: int) -> bool:
    return position >= 4 and text[position - 3] == "-" and text[position - 4].isspace()


def _end_of_action(text: str, begin: int) -> int:
    quote = ""
    place = begin
    while place < len(text):
        character = text[place]
        if quote:
            if character == "\\" and quote == '"':
                place += 1
            elif character == quote:
                quote = ""
        elif character in {'"', "`"}:
            quote = character
        elif text.startswith(">>", place):
            return place
        place += 1
    raise TemplateError(f"character {begin - 1}: << without >>")


def _tokens(text: str, begin: int, end: int) -> Sequence[_Token]:
    if _COMMENT.fullmatch(text, begin, end):
        return ()
    tokens: list[_Token] = []
    place = begin
    while text[place:end].strip():
        found = _TOKEN.match(text, place, end)
        if found is None or found.lastgroup is None:
            raise TemplateError(f"character {place + 1}: cannot read {text[place:end].strip()[:20]!r}")
        tokens.append(_Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
        place = found.end()
    if not tokens:
        raise TemplateError(f"character {begin + 1}: an action without a value")
    return tokens


def _unquoted(token: _Token) -> str:
    try:
        return str(json.loads(token.text))
    except ValueError:
        _refuse(token, f"cannot read the string {token.text[:20]}")


def _refuse(token: _Token, problem: str) -> Never:
    raise TemplateError(f"character {token.position + 1}: {problem}")
