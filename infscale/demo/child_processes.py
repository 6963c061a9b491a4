"""Starts the demo's helper processes and makes sure that none is left behind."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import orjson

from infscale.errors import InfscaleError, StartError
from infscale.process.parents import die_with_parent

SERVERS, FLEET, SERVE, LOAD = "servers", "fleet", "serve", "load"
"""Roles of helper processes."""

_READY_SECONDS = 30.0
_STOP_SECONDS = 3.0
_LINE_BYTES = 1024 * 1024
_PORTS = range(20_000, 30_000)
"""Below the ports of outgoing connections (from 32,768 on Linux) and of Kubernetes' node ports (from 30,000)."""


@dataclass(frozen=True, slots=True)
class HelperProcess:
    """A helper that is ready; `ready` is what it said about itself."""

    role: str
    ready: Mapping[str, object]
    log: Path
    process: asyncio.subprocess.Process

    async def lines(self) -> AsyncIterator[Mapping[str, object]]:
        """What it says from now on, until it ends."""
        output = _output(self.process)
        while line := await output.readline():
            yield _document(line)

    def tell(self, document: Mapping[str, object]) -> None:
        """Tell it something, as one line of JSON; one that is gone hears nothing."""
        if self.process.stdin is not None and not self.process.stdin.is_closing():
            self.process.stdin.write(orjson.dumps(document) + b"\n")

    def ended(self) -> InfscaleError:
        """The error that says it ended too early, with its last words."""
        return InfscaleError(f"the demo's {self.role} process ended early: {_last_line(self.log)}")


@contextlib.asynccontextmanager
async def helper(role: str, file: Path) -> AsyncGenerator[HelperProcess, None]:
    """Run a helper with the instructions in `file` until the block ends; raises `StartError` if it does not come up."""
    log = file.with_suffix(".log")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "infscale.demo.child",
            role,
            str(file),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=_LINE_BYTES,
            # A group of its own: Ctrl-C in a terminal reaches the demo alone, which then stops its helpers in order.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        yield HelperProcess(role, await _first_words(role, process, log), log, process)
    finally:
        await _stop(process)


def free_ports(count: int) -> list[int]:
    """Ports that no program has bound on any address of this machine at this moment; raises `StartError` if too few.

    One that is taken on one loopback address alone would still stop a program that listens on all. They lie below the
    range from which the kernel takes the ports of outgoing connections, so that no connection gets one before the
    program that is meant to listen does.
    """
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            return found
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind(("", port))
            found.append(port)
    raise StartError(f"fewer than {count} ports between {_PORTS.start} and {_PORTS.stop} are free")


async def _first_words(role: str, process: asyncio.subprocess.Process, log: Path) -> Mapping[str, object]:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            line = await _output(process).readline()
    except TimeoutError:
        raise StartError(f"the demo's {role} process was not ready within {_READY_SECONDS:g} s") from None
    if not line:
        raise StartError(f"the demo's {role} process did not start: {_last_line(log)}")
    return _document(line)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _output(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise RuntimeError("helpers are started with a pipe")
    return process.stdout


def _document(line: bytes) -> Mapping[str, object]:
    return cast("dict[str, object]", orjson.loads(line))


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][-400:] if lines else "it said nothing"
