"""A command line as Go's flag packages read it.

Long flags have one dash or two and a value behind ``=`` or in the next argument; a boolean alone is true, and takes a
value behind ``=`` only. ``-v2`` is ``-v 2``. Of a flag given twice the last one counts.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Never, TypeVar

from infscale.documents.strict_document import quoted, seconds_of_duration
from infscale.documents.suggestions import did_you_mean
from infscale.documents.values import MAX_PORT
from infscale.errors import ConfigError

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,60}")
_SHORT = re.compile(r"-([a-z])([0-9]+)")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_LARGEST_DURATION_SECONDS = 2**63 / 1e9

T = TypeVar("T")


def refuse(name: str, problem: str) -> Never:
    """Raise the `ConfigError` that says `problem` about the flag `name`."""
    raise ConfigError("", f"--{name}", problem)


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags that were given, by name, as text; each reader says what it expects. All raise `ConfigError`."""

    given: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def text(self, name: str, default: str = "") -> str:
        """Any text."""
        return self.given.get(name, default)

    def one_of(self, name: str, meanings: Mapping[str, T], expected: str) -> T:
        """What the text means, of `meanings`; `expected` says which texts there are."""
        text = self.text(name)
        if text not in meanings:
            refuse(name, f"expected {expected}, got {quoted(text)}")
        return meanings[text]

    def boolean(self, name: str, default: bool = False) -> bool:
        """A boolean in one of Go's spellings."""
        text = self.given.get(name)
        if text is None:
            return default
        if text not in _TRUE | _FALSE:
            refuse(name, f"expected true or false, got {quoted(text)}")
        return text in _TRUE

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """A whole number within the bounds."""
        text = self.given.get(name)
        if text is None:
            return default
        if not _INTEGER.fullmatch(text) or not minimum <= int(text) <= maximum:
            refuse(name, f"expected a whole number from {minimum} to {maximum}, got {quoted(text)}")
        return int(text)

    def port(self, name: str, default: int) -> int:
        """A port to listen on; 0 takes any free one."""
        return self.integer(name, default, 0, MAX_PORT)

    def ports(self, name: str) -> tuple[int, ...]:
        """Ports separated by commas, each once."""
        text = self.given.get(name, "")
        numbers = [each.strip() for each in text.split(",")] if text else []
        for each in numbers:
            if not each.isascii() or not each.isdigit() or not 1 <= int(each[:9]) <= MAX_PORT:
                refuse(name, f"expected ports separated by commas, such as 8000,8001, got {quoted(text)}")
        return tuple(dict.fromkeys(map(int, numbers)))

    def duration(self, name: str, default: float) -> float:
        """Seconds from a duration that is not negative: ``50ms``, ``1m30s``, ``0``."""
        text = self.given.get(name)
        if text is None:
            return default
        seconds = seconds_of_duration(text.removeprefix("+"))
        if seconds is None or seconds >= _LARGEST_DURATION_SECONDS:
            refuse(name, f"expected a duration such as 50ms, 2s or 1m30s, got {quoted(text)}")
        return seconds


def parse(arguments: Sequence[str], booleans: Collection[str], valued: Collection[str]) -> Flags:
    """The flags in `arguments`, of which those named by `booleans` need no value.

    Raises `ConfigError` for a flag in neither collection, a missing value, and an argument that is no flag.
    """
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, value = _split(argument)
        if name not in booleans and name not in valued:
            shown = f"--{name}" if _NAME.fullmatch(name) else quoted(argument)
            meant = did_you_mean(name, (f"--{each}" for each in (*booleans, *valued)))
            raise ConfigError("", shown, f"there is no such flag{meant}; see docs/reference-command-line.md")
        if value is None:
            value = "true" if name in booleans else _next(name, rest)
        given[name] = value
    return Flags(given)


def _split(argument: str) -> tuple[str, str | None]:
    """Name and value of one argument; None where the value is not part of it."""
    if short := _SHORT.fullmatch(argument):
        return short[1], short[2]
    name = argument[2:] if argument.startswith("--") else argument[1:]
    name, equals, value = name.partition("=")
    if not argument.startswith("-") or not name or name.startswith("-"):
        raise ConfigError("", quoted(argument), "expected a flag such as --grpc-port=9002")
    return name, value if equals else None


def _next(name: str, rest: list[str]) -> str:
    if not rest:
        refuse(name, f"expected a value: --{name}=VALUE")
    return rest.pop(0)
