"""Discovery from one file that is watched for changes."""

import asyncio
import logging
import os
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from infscale.discovery.state import DEFAULT_POOL, read_state
from infscale.document import load
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.errors import ConfigError

MAX_FILE_BYTES = 1024 * 1024

_LOG = logging.getLogger(__name__)


def log_refusal(error: ConfigError) -> None:
    """Say in the log that a changed file is not used, and why."""
    _LOG.error("discovery file refused, the last good state stays: %s", error)


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at the file found: its bytes, or why there are none to use."""

    content: bytes = b""
    problem: str = ""


class FileDiscovery:
    """States from a YAML or JSON file; guards the last look at the file and what became of it.

    The file is read every `interval_seconds` and compared by content, which sees in-place edits, atomic renames and
    swapped symbolic links alike, whatever the clock of the file system resolves. A change counts once two looks
    `settle_seconds` apart agree, so that a file still being written is not taken for a shorter one. A changed file that
    cannot be used goes to `on_refusal`, and the last good state stays. `default_pool` and `any_namespace` are
    as in `read_state`. It is meant for one consumer of `states`.
    """

    def __init__(
        self,
        path: Path,
        *,
        default_pool: ObjectKey = DEFAULT_POOL,
        any_namespace: bool = False,
        interval_seconds: float = 0.25,
        settle_seconds: float = 0.05,
        on_refusal: Callable[[ConfigError], None] = log_refusal,
    ) -> None:
        self._path = path
        self._default_pool = default_pool
        self._any_namespace = any_namespace
        self._interval_seconds = interval_seconds
        self._settle_seconds = settle_seconds
        self._on_refusal = on_refusal
        self._refusals = 0
        self._problem: ConfigError | None = None

    @property
    def refusals(self) -> int:
        """How many changed versions of the file were refused since the start."""
        return self._refusals

    @property
    def problem(self) -> ConfigError | None:
        """Why the file as it is now is not the state in use; None while it is."""
        return self._problem

    async def states(self) -> AsyncIterator[DiscoveryState]:
        """Yield the file's state, then another whenever it changed to a different good one.

        Raises `ConfigError` where the file is unusable to begin with.
        """
        look = await asyncio.to_thread(_look, self._path)
        state = await asyncio.to_thread(self._parse, look)
        yield state
        while True:
            look = await self._changed(look)
            new = await self._accept(look)
            if new is not None and new != state:
                state = new
                yield state

    async def _changed(self, last: _Look) -> _Look:
        """The next settled look that differs from `last`."""
        seen = last
        while True:
            await asyncio.sleep(self._interval_seconds if seen == last else self._settle_seconds)
            look = await asyncio.to_thread(_look, self._path)
            if look == seen != last:
                return look
            seen = look

    async def _accept(self, look: _Look) -> DiscoveryState | None:
        try:
            state = await asyncio.to_thread(self._parse, look)
        except ConfigError as error:
            self._problem = error
            self._refusals += 1
            self._on_refusal(error)
            return None
        self._problem = None
        return state

    def _parse(self, look: _Look) -> DiscoveryState:
        source = str(self._path)
        if look.problem:
            raise ConfigError(source, "", look.problem)
        try:
            text = look.content.decode()
        except UnicodeDecodeError as error:
            raise ConfigError(source, "", f"not UTF-8 text: byte {error.start + 1}") from error
        return read_state(load(text, source), self._default_pool, any_namespace=self._any_namespace)


def _look(path: Path) -> _Look:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return _Look(problem="expected a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return _Look(problem=f"cannot be read: {error.strerror or error}")
    if len(content) > MAX_FILE_BYTES:
        return _Look(problem=f"expected at most {MAX_FILE_BYTES} bytes")
    return _Look(content)
