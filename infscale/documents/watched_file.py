"""A small file that is looked at again and again, so that what it says can change while the program runs."""

import asyncio
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from infscale.errors import ConfigError

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a file found: its bytes, or why there are none to use."""

    content: bytes = b""
    problem: str = ""

    @classmethod
    def of(cls, content: bytes) -> "Look":
        """What `content` is worth, of which one byte more than the limit may have been read."""
        if len(content) > MAX_FILE_BYTES:
            return cls(problem=f"expected at most {MAX_FILE_BYTES} bytes")
        return cls(content)

    def text(self, source: str) -> str:
        """The file's text; `source` is its name for errors. Raises `ConfigError`."""
        if self.problem:
            raise ConfigError(source, "", self.problem)
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise ConfigError(source, "", f"not UTF-8 text: byte {error.start + 1}") from error


class WatchedFile:
    """Looks at the file at `path` every `interval_seconds` and compares by content.

    So in-place edits, atomic renames and the swapped symbolic links of a mounted ConfigMap are all seen, whatever the
    clock of the file system resolves. A change counts once two looks `settle_seconds` apart agree, so that a file still
    being written is not taken for a shorter one.
    """

    def __init__(self, path: Path, interval_seconds: float, settle_seconds: float = 0.05) -> None:
        self.path = path
        self._interval_seconds = interval_seconds
        self._settle_seconds = settle_seconds

    async def look(self) -> Look:
        """The file as it is now."""
        return await asyncio.to_thread(look_at, self.path)

    async def changed(self, last: Look) -> Look:
        """The next settled look that differs from `last`."""
        seen = last
        while True:
            await asyncio.sleep(self._interval_seconds if seen == last else self._settle_seconds)
            now = await self.look()
            if now == seen != last:
                return now
            seen = now


def look_at(path: Path) -> Look:
    """One look at the file at `path`, of which at most `MAX_FILE_BYTES` are read. It blocks."""
    try:
        # Without waiting: what has become a pipe since, or is one of the system's, may have nothing to read for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Look(problem="expected a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(MAX_FILE_BYTES + 1) or b""
        finally:
            os.close(descriptor)
    except OSError as error:
        return Look(problem=f"cannot be read: {error.strerror or error}")
    return Look.of(content)


def unreadable(path: Path) -> str | None:
    """Why the file at `path` cannot be read, as far as that shows without opening it. It blocks."""
    try:
        if path.stat() and not os.access(path, os.R_OK):
            return f"cannot be read: {os.strerror(errno.EACCES)}"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None
