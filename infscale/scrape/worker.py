"""The process that scrapes for another: ``python -m infscale.scrape.worker``, run by `infscale.scrape.processes`.

It takes the targets it should have from its standard input, writes what it finds to its standard output, and ends when
its standard input does.
"""

import asyncio
import contextlib
import os
import random
import sys
import time
from typing import TYPE_CHECKING

import uvloop

from infscale.endpoint import EndpointKey
from infscale.metrics.sample import EngineSample
from infscale.process import log
from infscale.process.garbage import spare_collections
from infscale.process.log import where
from infscale.scrape.pipe import HEARTBEAT, HEARTBEAT_SECONDS, Found, FoundWriter, Frames, Setup, read_order
from infscale.scrape.pool import ScrapePool, ScrapeSettings
from infscale.scrape.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from infscale.periodic import ScrapeHealth

# What the other side has not read by then is older than what it will scrape next.
_MAX_UNREAD_BYTES = 16 << 20
# What is found within this time is sent together: each time the other side wakes up costs it more than a sample does.
_TOGETHER_SECONDS = 0.01


class _Input(asyncio.Protocol):
    """Standard input: messages, and the end of this process when it ends."""

    def __init__(self, frames: Frames, ended: asyncio.Event) -> None:
        self._frames = frames
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        self._frames.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._ended.set()


class _Sender:
    """A sink that sends what it is given on; `health` says how scraping a target goes, None of one that is gone."""

    def __init__(self, output: asyncio.WriteTransport) -> None:
        self._output = output
        self.health: Callable[[EndpointKey], ScrapeHealth | None] = lambda _: None
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._writer = FoundWriter()

    def record_scrape(self, key: EndpointKey, sample: EngineSample, at: float) -> None:
        self._loop.call_soon(self._send, key, sample, at)
        # Pages come several at a time, and none of them is as urgent as a request that waits.
        os.sched_yield()

    def record_failure(self, key: EndpointKey, cause: str, at: float) -> None:
        self._loop.call_soon(self._send, key, cause, at)

    def _send(self, key: EndpointKey, result: EngineSample | str, at: float) -> None:
        # After the round is over: its health then knows of this result.
        health = self.health(key)
        if health is not None and self._output.get_write_buffer_size() < _MAX_UNREAD_BYTES:
            if not self._unsent:
                self._loop.call_later(_TOGETHER_SECONDS, self._flush)
            self._unsent.append(self._written(Found(key, result, at, health)))

    def _written(self, found: Found) -> bytes:
        try:
            return self._writer.written(found)
        except Exception as error:
            # What one page provokes is a failure of its endpoint: the other side hears of it as of any other.
            cause = f"internal error in passing it on ({where(error)})"
            return self._writer.written(Found(found.key, cause, found.at, found.health))

    async def live(self) -> None:
        """Say that this process lives, until cancelled: one that hangs sends nothing at all."""
        while True:
            self._output.write(HEARTBEAT)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _flush(self) -> None:
        self._output.write(b"".join(self._unsent))
        self._unsent.clear()


def _give_way() -> None:
    """Give way to processes for which requests wait: this one wakes a thousand times a second and may wait."""
    with contextlib.suppress(AttributeError, OSError):  # Not every system can, or lets it.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def _run() -> None:
    loop = asyncio.get_running_loop()
    ended, told = asyncio.Event(), asyncio.Queue[Setup | list[Target]]()
    await loop.connect_read_pipe(lambda: _Input(Frames(read_order, told.put_nowait), ended), sys.stdin)
    output, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(os.dup(1), "wb"))
    setup = await told.get()
    if not isinstance(setup, Setup):
        raise TypeError("the first message is no Setup")
    log.configure(setup.log_level, setup.log_format)  # type: ignore[arg-type] # checked where it was configured
    sender = _Sender(output)
    settings = ScrapeSettings(page_limit_bytes=setup.page_limit_bytes)
    async with (
        ScrapePool(sender, time.monotonic, random.Random(), settings) as pool,
        asyncio.TaskGroup() as tasks,
    ):
        sender.health = pool.health_of
        spare_collections()
        running = [tasks.create_task(_follow(pool, told)), tasks.create_task(sender.live())]
        await ended.wait()
        for each in running:
            each.cancel()


async def _follow(pool: ScrapePool, told: "asyncio.Queue[Setup | list[Target]]") -> None:
    while True:
        wanted = await told.get()
        if not isinstance(wanted, Setup):
            pool.sync(wanted)


if __name__ == "__main__":
    _give_way()
    uvloop.run(_run())
