"""What is worked out of a value once and kept beside it."""

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class MemoKey(Generic[T]):
    """The key of one entry, which is a `T`. A key is equal only to itself; `name` is for readers of a debugger."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"MemoKey({self.name!r})"


class Memo:
    """Entries by their keys. It belongs to the value that they follow from, and goes with it."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[MemoKey[Any], Any] = {}

    def get(self, key: MemoKey[T]) -> T | None:
        """The entry of `key`; None: there is none yet."""
        found: T | None = self._entries.get(key)
        return found

    def keep(self, key: MemoKey[T], entry: T) -> T:
        """Keep `entry` under `key`, in place of an earlier one, and return it."""
        self._entries[key] = entry
        return entry
