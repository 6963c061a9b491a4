"""Discovery from one file that is watched for changes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from infscale.discovery.apart import APART_BYTES, Question, read_apart
from infscale.discovery.state import read_state
from infscale.documents.strict_document import Field, read_whole
from infscale.documents.watched_file import Look, WatchedFile
from infscale.endpoint import DiscoveryState
from infscale.errors import ConfigError, bare

_LOG = logging.getLogger(__name__)


def log_refusal(error: ConfigError) -> None:
    """Say in the log that a changed file is not used, and why."""
    _LOG.error("discovery file refused, the last good state stays: %s", error)


class FileDiscovery:
    """States from a YAML or JSON file; guards the last look at the file and what became of it.

    The file is followed as `WatchedFile` follows one. A changed file that cannot be used goes to `on_refusal`, and the
    last good state stays. `read` makes a state of the document. It is meant for one consumer of `states`.
    """

    def __init__(
        self,
        path: Path,
        *,
        read: Callable[[Field], DiscoveryState] = read_state,
        interval_seconds: float = 0.25,
        settle_seconds: float = 0.05,
        on_refusal: Callable[[ConfigError], None] = log_refusal,
    ) -> None:
        self._file = WatchedFile(path, interval_seconds, settle_seconds)
        self._read = read
        self._on_refusal = on_refusal
        self.refusals = 0
        """How many changed versions of the file were refused since the start."""
        self.problem: ConfigError | None = None
        """Why the file as it is now is not the state in use; None while it is."""

    async def states(self) -> AsyncIterator[DiscoveryState]:
        """Yield the file's state, then another whenever it changed to a different good one.

        Raises `ConfigError` where the file is unusable to begin with.
        """
        look = await self._file.look()
        state = await self._parsed(look)
        yield state
        while True:
            look = await self._file.changed(look)
            new = await self._accept(look)
            if new is not None and new != state:
                state = new
                yield state

    async def _accept(self, look: Look) -> DiscoveryState | None:
        try:
            state = await self._parsed(look)
        except ConfigError as error:
            self.problem = bare(error)
            self.refusals += 1
            self._on_refusal(error)
            return None
        self.problem = None
        return state

    async def _parsed(self, look: Look) -> DiscoveryState:
        source = str(self._file.path)
        if len(look.content) <= APART_BYTES:
            return await asyncio.to_thread(lambda: read_whole(look.text(source), source, self._read))
        return await read_apart(Question(look.content, source, self._read))
