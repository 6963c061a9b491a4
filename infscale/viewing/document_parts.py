"""Parts of documents of JSON, read by kind and with their places.

Documents come from this process or from another one, which may be of another version: what has another form is refused
with its place, what is not there is unknown, and what is new is passed over.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar, cast

from infscale.errors import InfscaleError

T = TypeVar("T")
_MOST: Final = 2.0**63
"""No number of a document is as large; what is, or is none, is unknown."""


class DocumentError(InfscaleError):
    """What was answered is no document of infscale; the message names the place in it."""


class Part:
    """An object of a document, with its place in it. What has another form than is asked for raises `DocumentError`."""

    __slots__ = ("_entries", "_place")

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise DocumentError(f"{place}: expected an object")
        self._entries = cast("dict[str, object]", value)
        self._place = place

    def _of(self, key: str, kind: type[T], default: T) -> T:
        value = self._entries.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise DocumentError(f"{self._place}.{key}: expected {_KINDS[kind]}")
        return value

    def text(self, key: str) -> str:
        """A text, "" where it is not there."""
        return self._of(key, str, "")

    def flag(self, key: str) -> bool:
        """Whether it says so; not where it says nothing."""
        return self._of(key, bool, False)

    def flag_or_none(self, key: str) -> bool | None:
        """What it says, None where it says nothing."""
        return None if self._entries.get(key) is None else self.flag(key)

    def number(self, key: str) -> float | None:
        """A number; None where it is not there, or none that can be."""
        value = self._entries.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DocumentError(f"{self._place}.{key}: expected a number")
        return float(value) if -_MOST < value < _MOST else None

    def count(self, key: str) -> int:
        """A whole number, 0 where it is not there."""
        return int(self.number(key) or 0)

    def count_or_none(self, key: str) -> int | None:
        """A whole number, None where it is not there."""
        value = self.number(key)
        return None if value is None else int(value)

    def part(self, key: str) -> "Part | None":
        """An object, None where it is not there."""
        value = self._entries.get(key)
        return None if value is None else Part(value, f"{self._place}.{key}")

    def each(self, key: str, read: "Callable[[Part], T]") -> tuple[T, ...]:
        """What `read` makes of each object of a list."""
        items: Sequence[object] = self._of(key, list, [])
        return tuple(read(Part(item, f"{self._place}.{key}[{place}]")) for place, item in enumerate(items))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        items: Sequence[object] = self._of(key, list, [])
        if not all(isinstance(item, str) for item in items):
            raise DocumentError(f"{self._place}.{key}: expected texts")
        return tuple(cast("Sequence[str]", items))

    def by_name(self, key: str, read: "Callable[[Part], T]") -> dict[str, T]:
        """What `read` makes of each entry of an object, all of which are objects."""
        part = self.part(key)
        if part is None:
            return {}
        return {name: read(each) for name, each in part.parts().items()}

    def parts(self) -> "dict[str, Part]":
        """Every entry, each an object."""
        return {name: Part(value, f"{self._place}.{name}") for name, value in self._entries.items()}

    def texts_by_name(self, key: str) -> dict[str, str]:
        """The entries of an object, all of which are texts."""
        part = self.part(key)
        return {} if part is None else {name: part.text(name) for name in part._entries}

    def numbers_by_name(self, key: str) -> dict[str, float]:
        """The entries of an object that are known numbers."""
        part = self.part(key)
        found = {} if part is None else {name: part.number(name) for name in part._entries}
        return {name: value for name, value in found.items() if value is not None}

    def numbers(self) -> dict[str, float | None]:
        """Every entry that is a number, or that is null and could be one."""
        return {
            name: None if value is None else self.number(name)
            for name, value in self._entries.items()
            if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        }


_KINDS: Final[Mapping[type, str]] = {str: "a text", bool: "true or false", list: "a list"}
