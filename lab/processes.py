"""Processes of the lab: each ends with the lab, however that ends."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

from infscale.errors import StartError
from infscale.process.parents import die_with_parent

_STOP_SECONDS = 3.0
_TAIL_CHARACTERS = 1500


@dataclass(frozen=True, slots=True)
class Running:
    """A process that runs, and the file it writes its log to."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    async def check(self) -> None:
        """Raise `StartError` with the end of its log when it has ended."""
        if self.process.returncode is not None:
            said = (await asyncio.to_thread(self.log.read_text, errors="replace"))[-_TAIL_CHARACTERS:]
            raise StartError(f"{self.name} ended (exit {self.process.returncode}): {said}")

    async def kill(self) -> None:
        """End it as a crash would."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def running(name: str, command: Sequence[str | Path], folder: Path) -> AsyncGenerator[Running, None]:
    """Run `command` until the block ends; its output goes to ``<name>.log`` in `folder`."""
    log = folder / f"{name}.log"
    output = await asyncio.to_thread(log.open, "ab")
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent,
            start_new_session=True,
        )
    finally:
        output.close()
    made = Running(name, process, log)
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            await made.kill()
