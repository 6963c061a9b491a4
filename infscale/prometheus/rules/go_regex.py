"""Regular expressions of Go (RE2), as Python's engine is to match them, and Go's way to fill matches into a text.

What Python reads differently is written anew; what RE2 does not know is refused, and so is what could keep Python's
engine, which tries alternatives one after another, busy for very long. Source: regexp/syntax of the Go library, its
documentation.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Never

from infscale.errors import InfscaleError

MAX_SUBJECT_CHARACTERS: Final = 256
"""Of a text that is matched; what is longer matches nothing."""
_MAX_PATTERN_CHARACTERS: Final = 1_000
_MAX_UNBOUNDED: Final = 4
_MAX_REPEAT: Final = 1_000

_REPEAT: Final = re.compile(r"\{([0-9]{1,4})(,([0-9]{1,4})?)?\}")
_GROUP_NAME: Final = re.compile(r"\(\?P?<([A-Za-z_][A-Za-z0-9_]*)>")
_FLAGS: Final = re.compile(r"\(\?([ims]*(?:-[ims]+)?)([:)])")
_HEX: Final = re.compile(r"\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_OCTAL: Final = re.compile(r"\\(0[0-7]{0,2}|[1-7][0-7]{1,2})")
_POSIX: Final = re.compile(r"\[:(\^?)([a-z]+):\]")
_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_SAME_ESCAPES: Final = frozenset("dDsSwWbBA")
_IN_CLASS: Final = frozenset("dDsSwW")
_CONTROLS: Final = {"a": r"\x07", "f": r"\f", "t": r"\t", "n": r"\n", "r": r"\r", "v": r"\v"}
_EXPANDED: Final = re.compile(r"\$(?:\$|\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")


class RegexError(InfscaleError):
    """A regular expression cannot be used; the message says where in it, and why."""


@dataclass(frozen=True, slots=True)
class GoRegex:
    """One regular expression, unanchored as in Go."""

    text: str
    _compiled: "re.Pattern[str]" = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "GoRegex":
        """The expression in `text`. Raises `RegexError`."""
        if len(text) > _MAX_PATTERN_CHARACTERS:
            raise RegexError(f"a regular expression has at most {_MAX_PATTERN_CHARACTERS} characters")
        written = _Translation(text).whole()
        try:
            return cls(text, re.compile(written, re.ASCII))
        except (re.error, OverflowError) as error:
            raise RegexError(f"not a regular expression: {error}") from None

    @property
    def groups(self) -> int:
        """How many groups it captures."""
        return self._compiled.groups

    def search(self, subject: str) -> "re.Match[str] | None":
        """The first match in `subject`."""
        return self._compiled.search(subject) if len(subject) <= MAX_SUBJECT_CHARACTERS else None


def expanded(template: str, match: "re.Match[str]") -> str:
    """`template` with ``$1``, ``${1}`` and ``${name}`` replaced; as in Go, ``$1_x`` is the group "1_x": none, so ""."""

    def group(found: "re.Match[str]") -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        if name.isdecimal():
            return (match[int(name)] or "") if int(name) <= (match.re.groups) else ""
        return match.groupdict().get(name) or ""

    return _EXPANDED.sub(group, template)


@dataclass(slots=True)
class _Group:
    """A group under way: its flag for lines, brackets to close with it, and whether something in it has no bound."""

    lines: bool
    more_brackets: int = 0
    unbounded: bool = False


class _Translation:
    """One pass over an expression; guards where it stands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._written: list[str] = []
        self._groups = [_Group(lines=False)]
        self._unbounded = 0
        # Whether there is something to repeat, and whether that has no bound itself.
        self._atom: bool | None = None

    def whole(self) -> str:
        while self._at < len(self._text):
            self._step(self._text[self._at])
        if len(self._groups) > 1:
            self._refuse("a group is not closed")
        self._written.append(")" * self._groups[0].more_brackets)
        return "".join(self._written)

    def _refuse(self, problem: str) -> Never:
        raise RegexError(f"character {self._at + 1}: {problem}")

    def _emit(self, written: str, length: int = 1, *, atom: bool | None = False) -> None:
        self._written.append(written)
        self._at += length
        self._atom = atom

    def _step(self, character: str) -> None:
        match character:
            case "\\":
                self._escape()
            case "[":
                self._class()
            case "(":
                self._open()
            case ")":
                self._close()
            case "*" | "+" | "?":
                self._repeat(character, 1, most=1 if character == "?" else None)
            case "{" if (found := _REPEAT.match(self._text, self._at)) is not None:
                self._counted(found)
            case "|" | "^":
                self._emit(character, atom=None)
            case "$":
                self._emit("$" if self._groups[-1].lines else r"\Z", atom=None)
            case ".":
                self._emit(".")
            case _:
                self._emit(re.escape(character))

    def _counted(self, found: "re.Match[str]") -> None:
        least = int(found[1])
        most = least if found[2] is None else None if found[3] is None else int(found[3])
        if max(least, most or 0) > _MAX_REPEAT or (most is not None and most < least):
            self._refuse(f"a repetition is of 0 to {_MAX_REPEAT}, the smaller number first")
        self._repeat(found[0], len(found[0]), most)

    def _repeat(self, written: str, length: int, most: int | None) -> None:
        if self._atom is None:
            self._refuse("there is nothing to repeat")
        if self._atom and most != 1:
            self._refuse("it repeats what is a repetition without bound itself, which is not matched here")
        if most is None:
            self._unbounded += 1
            self._groups[-1].unbounded = True
            if self._unbounded > _MAX_UNBOUNDED:
                self._refuse(f"more than {_MAX_UNBOUNDED} repetitions without bound are not matched here")
        lazy = self._text.startswith("?", self._at + length)
        # A repetition of a repetition is refused in Go, too.
        self._emit(written + "?" * lazy, length + lazy, atom=None)

    def _open(self) -> None:
        lines = self._groups[-1].lines
        named, flagged = _GROUP_NAME.match(self._text, self._at), _FLAGS.match(self._text, self._at)
        if named is not None:
            self._emit(f"(?P<{named[1]}>", len(named[0]), atom=None)
        elif flagged is not None:
            on, _, off = flagged[1].partition("-")
            lines = (lines or "m" in on) and "m" not in off
            self._emit(f"(?{flagged[1]}:", len(flagged[0]), atom=None)
            if flagged[2] == ")":
                # The flags are those of all that follows in the group.
                self._groups[-1].lines = lines
                self._groups[-1].more_brackets += 1
                return
        elif self._text.startswith("(?", self._at):
            self._refuse("RE2 has no group of this form")
        else:
            self._emit("(", atom=None)
        self._groups.append(_Group(lines))

    def _close(self) -> None:
        if len(self._groups) == 1:
            self._refuse(") without (")
        closed = self._groups.pop()
        self._groups[-1].unbounded |= closed.unbounded
        self._emit(")" * (1 + closed.more_brackets), 1, atom=closed.unbounded)

    def _escape(self) -> None:
        following = self._text[self._at + 1 : self._at + 2]
        if following == "Q":
            end = self._text.find(r"\E", self._at)
            literal = self._text[self._at + 2 : end if end >= 0 else len(self._text)]
            self._emit(re.escape(literal), len(literal) + (4 if end >= 0 else 2), atom=False if literal else None)
        elif following in _SAME_ESCAPES and following:
            self._emit(f"\\{following}", 2, atom=None if following in "bBA" else False)
        elif following == "z":
            self._emit(r"\Z", 2, atom=None)
        else:
            written, length = self._character()
            self._emit(written, length)

    def _character(self) -> tuple[str, int]:
        """The escaped character at hand as Python writes it, and how long its escape is."""
        for pattern, base in ((_HEX, 16), (_OCTAL, 8)):
            found = pattern.match(self._text, self._at)
            if found is not None:
                code = int(next(each for each in found.groups() if each is not None), base)
                if code > 0x10FFFF:
                    self._refuse("there is no such character")
                return f"\\U{code:08x}", len(found[0])
        following = self._text[self._at + 1 : self._at + 2]
        if following in _CONTROLS and following:
            return _CONTROLS[following], 2
        if not following or following.isalnum() or not following.isascii():
            self._refuse(f"{self._text[self._at : self._at + 2]} is not read here")
        return re.escape(following), 2

    def _class(self) -> None:
        end = self._at + 1
        negated = self._text.startswith("^", end)
        begin = self._at
        self._at = end + negated
        items: list[str] = []
        while True:
            if self._at >= len(self._text):
                self._at = begin
                self._refuse("a class is not closed")
            if self._text[self._at] == "]" and items:
                break
            items.append(self._item())
        self._emit(f"[{'^' * negated}{''.join(items)}]")

    def _item(self) -> str:
        posix = _POSIX.match(self._text, self._at)
        if posix is not None:
            members = _CLASSES.get(posix[2])
            if members is None or posix[1]:
                self._refuse(f"the class {posix[0]} is not read here")
            self._at += len(posix[0])
            return members
        following = self._text[self._at + 1 : self._at + 2]
        if self._text[self._at] == "\\" and following in _IN_CLASS and following:
            self._at += 2
            return f"\\{following}"
        first = self._single()
        if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
            self._at += 1
            return f"{first}-{self._single()}"
        return first

    def _single(self) -> str:
        if self._at >= len(self._text):
            self._refuse("a class is not closed")
        if self._text[self._at] == "\\":
            written, length = self._character()
            self._at += length
            return written
        self._at += 1
        character = self._text[self._at - 1]
        return character if character.isalnum() else f"\\U{ord(character):08x}"
