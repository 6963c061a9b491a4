"""Sections of a document: the keys that one may have are the fields of a dataclass; and the files that it names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from infscale.documents.problems import Attempt
from infscale.documents.strict_document import Field

NOT_A_KEY: Mapping[str, tuple[str, ...]] = MappingProxyType({"keys": ()})
"""Metadata of a field that is no key of the file."""

T = TypeVar("T")


def keys_of(settings: type[Any]) -> tuple[str, ...]:
    """The keys of the section that the dataclass `settings` stands for: its fields, or what these say in "keys"."""
    return tuple(key for each in fields(settings) for key in each.metadata.get("keys", (each.name,)))


class Files:
    """Reads paths of files, relative ones starting at `base`; guards the list of what was named, and by which key."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.named: list[tuple[Field, Path]] = []

    def path(self, field: Field) -> Path:
        """The path of a file that is to be read."""
        found = self.written(field)
        self.named.append((field, found))
        return found

    def written(self, field: Field) -> Path:
        """The path of a file that need not exist."""
        text = field.text()
        if "\0" in text:
            field.refuse("expected the path of a file")
        return self._base / text


class Section:
    """The keys that the file gives of one section; `settings` is the dataclass whose fields are the allowed ones, with
    `more`.

    Guards which of them were refused, so that nothing is concluded from a value that stands in for one.
    """

    def __init__(
        self, field: Field, settings: type[Any], required: Sequence[str] = (), more: Sequence[str] = ()
    ) -> None:
        self.field = field
        self.given: Mapping[str, Field] = field.mapping(
            required, [key for key in (*keys_of(settings), *more) if key not in required]
        )
        self._refused: set[str] = set()

    def get(self, key: str, read: Callable[[Field], T], default: T) -> T:
        """The value of `key`, `default` where it is not given, or refused while problems are collected."""
        field = self.given.get(key)
        return default if field is None else self.attempt(key, read).or_else(default)

    def attempt(self, key: str, read: Callable[[Field], T]) -> Attempt[T]:
        """The value of a required `key`."""
        attempt = self.given[key].attempt(read)
        if attempt.refused:
            self._refused.add(key)
        return attempt

    def sound(self, *keys: str) -> bool:
        """Whether none of `keys` was refused."""
        return not self._refused.intersection(keys)

    def refuse(self, keys: Sequence[str], problem: str) -> None:
        """Refuse the first of `keys` that is given."""
        for key in keys:
            if key in self.given:
                self._refused.add(key)
                self.given[key].report(problem)
                return
