"""Reads a large discovery file in a process of its own.

The interpreter's lock is held for most of a second per MiB, on a busy machine for longer, and answers would wait for
it. `infscale.discovery.apart_child` takes a `Question` from its standard input and writes a state, or the error that
refuses one, to its standard output. Both ends are this program.
"""

import asyncio
import contextlib
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from infscale.documents.strict_document import Field, read_whole
from infscale.documents.watched_file import Look
from infscale.endpoint import DiscoveryState
from infscale.errors import ConfigError

APART_BYTES = 64 * 1024
"""From which size on a file is read apart: smaller ones take milliseconds, and a process a fraction of a second."""

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Question:
    """What to read, and how; `source` is the file's name for errors."""

    content: bytes
    source: str
    read: Callable[[Field], DiscoveryState]


def frozen(items: dict[str, Any]) -> MappingProxyType[str, Any]:
    """A mapping as it was before it was pickled."""
    return MappingProxyType(items)


def answer(question: Question) -> DiscoveryState | ConfigError:
    """The state, or why there is none."""
    try:
        return read_whole(Look(question.content).text(question.source), question.source, question.read)
    except ConfigError as error:
        return error.with_traceback(None)


async def read_apart(question: Question) -> DiscoveryState:
    """The state that the file writes. Raises `ConfigError`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infscale.discovery.apart_child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C is for the process that asks.
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            output, _ = await process.communicate(await asyncio.to_thread(pickle.dumps, question))
        found = await asyncio.to_thread(_loaded, output, question.source)
    except TimeoutError:
        raise ConfigError(question.source, "", f"takes longer than {_SECONDS:g} s to read") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if isinstance(found, ConfigError):
        raise found
    return found


def _loaded(output: bytes, source: str) -> DiscoveryState | ConfigError:
    if not output:
        return ConfigError(source, "", "the process that read it ended early; its last words are in the log")
    found: DiscoveryState | ConfigError = pickle.loads(output)  # noqa: S301 # from a child of this process
    return found
