"""Parts of infscale as processes of their own, which can be killed."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from lab.processes import Running, running


@dataclass(frozen=True, slots=True)
class Program:
    """One process."""

    running: Running

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process itself."""
        return self.running.process

    def said(self) -> str:
        """All it has said so far."""
        return self.running.log.read_text(errors="replace")

    async def until_it_says(self, words: str) -> None:
        """Wait for `words`; the test's timeout is the limit, and an early end is an error."""
        while words not in self.said():
            await self.running.check()
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """End it as the kernel does when memory is out."""
        await self.running.kill()

    def stop(self) -> None:
        """Tell it to end, as Kubernetes does."""
        self.process.send_signal(signal.SIGTERM)


@contextlib.asynccontextmanager
async def program(log: Path, *arguments: str) -> AsyncGenerator[Program, None]:
    """Run `infscale` with `arguments` until the block ends, or it is killed before."""
    command = [sys.executable, "-m", "infscale.cli.main", *arguments]
    # What one of the same name has said before is not said by this one.
    await asyncio.to_thread(log.unlink, missing_ok=True)
    async with running(log.stem, command, log.parent) as made:
        try:
            yield Program(made)
        finally:
            await made.kill()


@contextlib.asynccontextmanager
async def model_server(log: Path, name: str, port: int) -> AsyncGenerator[Program, None]:
    """A simulated model server called `name`-0 that serves "m" on `port`, some 10 ms a token."""
    arguments = ("--name", name, "--port", str(port), "--model", "m")
    async with program(log, "sim-server", *arguments) as made:
        await made.until_it_says("serves m on")
        yield made
