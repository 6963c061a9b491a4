"""Parts of infscale as processes of their own, which can be killed."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from infscale.envoy.process import die_with_parent


@dataclass(frozen=True, slots=True)
class Program:
    """One process; `log` is the file that holds what it says."""

    process: asyncio.subprocess.Process
    log: Path

    def said(self) -> str:
        """All it has said so far."""
        return self.log.read_text(errors="replace")

    async def until_it_says(self, words: str) -> None:
        """Wait for `words`; the test's timeout is the limit, and an early end is an error."""
        while words not in self.said():
            assert self.process.returncode is None, self.said()
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """End it as the kernel does when memory is out."""
        self.process.kill()
        await self.process.wait()

    def stop(self) -> None:
        """Tell it to end, as Kubernetes does."""
        self.process.send_signal(signal.SIGTERM)


@contextlib.asynccontextmanager
async def program(log: Path, *arguments: str) -> AsyncGenerator[Program, None]:
    """Run `infscale` with `arguments` until the block ends, or it is killed before."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "infscale.cli.main", *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent,
            start_new_session=True,
        )
    try:
        yield Program(process, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def model_server(log: Path, name: str, port: int) -> AsyncGenerator[Program, None]:
    """A simulated model server called `name`-0 that serves "m" on `port`, some 10 ms a token."""
    arguments = ("--name", name, "--port", str(port), "--model", "m")
    async with program(log, "sim-server", *arguments) as made:
        await made.until_it_says("serves m on")
        yield made
