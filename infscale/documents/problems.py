"""Collecting what is wrong with a document, so that all of it is said at once."""

from collections.abc import Callable
from typing import Generic, TypeVar

from infscale.errors import ConfigError, ConfigErrors

T = TypeVar("T")
DefaultT = TypeVar("DefaultT")

MAX_PROBLEMS = 100
"""How many problems of one document are kept; others are counted."""

MAX_COUNTED = 1000
"""How many are counted: with so many, reading ends."""


class EnoughError(Exception):
    """Reading ends, because so much is wrong with the document. It is caught where the whole is read."""


class AlreadySaid(ConfigError):
    """A value cannot be used, and why is among the problems already."""


class Problems:
    """Guards the problems found in one document, each place and path once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], tuple[int, ConfigError]] = {}
        self._unnamed = 0

    def add(self, error: ConfigError, line: int = 0) -> None:
        """Keep `error`, found at `line`."""
        if isinstance(error, AlreadySaid):
            return
        if isinstance(error, ConfigErrors):
            for each in error.problems:
                self.add(each, line)
            self._unnamed += error.unnamed
            return
        identity = (error.place, error.path, error.problem)
        if identity in self._found:
            return
        if len(self._found) >= MAX_PROBLEMS:
            self._unnamed += 1
            return
        # What was on the way to the mistake, the whole document among it, is not kept with it.
        self._found[identity] = (line, error.with_traceback(None))

    def attempt(self, read: Callable[[], T]) -> "Attempt[T]":
        """What `read` gives; a `ConfigError` of it is kept."""
        try:
            return Attempt(read())
        except ConfigError as error:
            self.add(error)
            return Attempt()

    @property
    def enough(self) -> bool:
        """Whether so many are found that looking for more costs time and helps no reader."""
        return len(self._found) + self._unnamed >= MAX_COUNTED

    @property
    def full(self) -> bool:
        """Whether others are only counted, so that their words do not matter."""
        return len(self._found) >= MAX_PROBLEMS

    def raise_any(self) -> None:
        """Raise what was found, in the order of the lines."""
        found = [error for _, error in sorted(self._found.values(), key=lambda each: each[0])]
        if len(found) == 1 and not self._unnamed:
            raise found[0]
        if found:
            raise ConfigErrors(found, self._unnamed)


class Attempt(Generic[T]):
    """What came of reading one value; where it was refused, asking for it ends the reading of what needs it."""

    __slots__ = ("_values",)

    def __init__(self, *values: T) -> None:
        self._values = values

    @property
    def refused(self) -> bool:
        """Whether there is no value."""
        return not self._values

    @property
    def value(self) -> T:
        """The value. Raises `AlreadySaid` where it was refused."""
        if not self._values:
            raise AlreadySaid("", "", "a value that cannot be used")
        return self._values[0]

    def or_else(self, default: DefaultT) -> T | DefaultT:
        """The value, `default` where it was refused."""
        return self._values[0] if self._values else default
