"""Two files that take a bounded size together: one is written, the one before it is kept."""

import contextlib
import os
from pathlib import Path
from typing import Final

_OWNER_ONLY: Final = 0o600


class FileRing:
    """`path`, and beside it ``path.1``; each takes half of `most_bytes`. Used by one thread at a time."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes // 2
        self._size = 0

    def begin(self, header: bytes = b"") -> None:
        """Begin a new file with `header`; what was there becomes the file before. Raises OSError."""
        before = self._path.with_name(f"{self._path.name}.1")
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(before)
        self._write(header, os.O_TRUNC)
        self._size = len(header)

    def full(self, more: int) -> bool:
        """Whether there is no room for `more` bytes."""
        return self._size + more > self._most_bytes

    def append(self, data: bytes) -> None:
        """Write `data` at the end. Raises OSError, after which a part of it may be there."""
        self._write(data)
        self._size += len(data)

    def _write(self, data: bytes, flags: int = 0) -> None:
        # Opened each time: a file that was moved or removed meanwhile is made anew.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | flags, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
