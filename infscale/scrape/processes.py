"""Scraping beside this process: pages are fetched and read elsewhere, so that decisions and answers do not wait.

Pages come from programs of others: what one makes its reader do holds up no decision there. One process scrapes up to
800 pages a second and costs some 50 MiB. One that ends or hangs is replaced; what it scraped ages meanwhile, and says
why.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from infscale.backoff import Backoff
from infscale.endpoint import EndpointKey
from infscale.periodic import ScrapeHealth, TaskSet, hash_fraction
from infscale.process.log import where
from infscale.process.tasks import running
from infscale.scrape.loop import ScrapeSink
from infscale.scrape.pipe import HEARTBEAT_SECONDS, Found, FoundReader, Frames, Setup, ordered, shares
from infscale.scrape.pool import ScrapePool
from infscale.scrape.target import Target

if TYPE_CHECKING:
    import random

_ONE_PROCESS_CAN = 800.0
_RESTART = Backoff(base_seconds=0.2, cap_seconds=10.0)
_LASTED_SECONDS = 30.0
# About one sample: what else is due comes between any two.
_READ_BYTES = 2 * 1024
_STOP_SECONDS = 2.0
# How often it is looked whether a process has said something; that this is counted, instead of the time, keeps one from
# being blamed for what holds up this one.
_LOOK_SECONDS = 2 * HEARTBEAT_SECONDS
_SILENT_LOOKS = 4
# Until the first word: a process has to be started and to read its modules.
_SILENT_LOOKS_AT_START = 30
# A page is read and let go hundreds of times a second: its memory is kept for the next one instead of going back to the
# system, which would clear it each time. (Names of glibc; others do not know them.)
_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(4 << 20), "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}

_log = logging.getLogger(__name__)


def processes_for(targets: Iterable[Target], cores: int) -> int:
    """How many processes should scrape `targets` on a machine of so many cores; 0 where there are none."""
    per_second = sum(1 / target.interval_seconds for target in targets)
    return max(1, min(cores - 1, -int(-per_second // _ONE_PROCESS_CAN))) if per_second else 0


@dataclass(slots=True)
class _Share:
    """What one process should scrape, and how that goes; `heard` counts how often something came from it."""

    targets: list[Target] = field(default_factory=list[Target])
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    health: dict[EndpointKey, ScrapeHealth] = field(default_factory=dict[EndpointKey, ScrapeHealth])
    heard: int = 0

    def want(self, targets: Sequence[Target]) -> None:
        if targets != self.targets:
            self.targets = [*targets]
            self.changed.set()
        keys = {target.key for target in targets}
        self.health = {key: health for key, health in self.health.items() if key in keys}


class Hung(Exception):
    """A process has not said for a while that it lives."""


@dataclass(slots=True)
class ProcessStats:
    """Counts since start, for /metrics: processes replaced, by why, and samples that could not be taken in."""

    replaced: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("ended", "hung", "failed"), 0))
    faults: int = 0


class ScrapeProcesses:
    """Scrapes the targets of the last `sync`: in `here` for a `count` of 0, else in so many other processes.

    What is found is recorded in `sink`, from this process' event loop. It owns `here`: both run while its context is
    open.
    """

    def __init__(
        self,
        here: ScrapePool,
        sink: ScrapeSink,
        setup: Setup,
        rng: "random.Random",
        count: int | Literal["auto"] = "auto",
    ) -> None:
        self._here = here
        self._sink = sink
        self._setup = setup
        self._rng = rng
        self._count = count
        self._shares: list[_Share] = []
        self._running: TaskSet[int, int] = TaskSet(self._run)
        self._faulty: dict[EndpointKey, str] = {}
        self.stats = ProcessStats()

    async def __aenter__(self) -> Self:
        await self._here.__aenter__()
        await self._running.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._running.__aexit__(*error)
        await self._here.__aexit__(*error)

    def sync(self, targets: Iterable[Target]) -> None:
        """Scrape exactly `targets`, one per endpoint."""
        wanted = list(targets)
        count = self._processes(wanted)
        self._here.sync([] if count else wanted)
        keys = {target.key for target in wanted}
        self._faulty = {key: cause for key, cause in self._faulty.items() if key in keys}
        while len(self._shares) < count:
            self._shares.append(_Share())
        dealt = shares(wanted, count, hash_fraction) if count else []
        for number, share in enumerate(self._shares):
            share.want(dealt[number] if number < count else [])
        self._running.sync({number: number for number in range(count)})

    def health(self) -> dict[EndpointKey, ScrapeHealth]:
        """How scraping each target goes, now; a target whose process has not told yet has the health of a new one."""
        found = self._here.health()
        for share in self._shares:
            found |= {wanted.key: share.health.get(wanted.key, ScrapeHealth()) for wanted in share.targets}
        return found

    def _processes(self, targets: Sequence[Target]) -> int:
        return processes_for(targets, os.cpu_count() or 1) if isinstance(self._count, str) else self._count

    async def _run(self, number: int) -> None:
        """Keep one process running."""
        share, failures = self._shares[number], 0
        while True:
            started = time.monotonic()
            why = "failed"
            try:
                code = await self._one_life(share)
                why, cause = "ended", f"the process that scrapes it ended (exit {code})"
            except Hung:
                why, cause = "hung", "the process that scrapes it hung"
            except OSError as error:
                cause = f"no process can be started to scrape it: {error.strerror}"
            except Exception as error:
                # The top of the loop: whatever comes out of one process must not end the scraping of the others.
                cause = f"internal error in reading what was scraped ({where(error)})"
            failures = 0 if time.monotonic() - started > _LASTED_SECONDS else failures
            self.stats.replaced[why] += 1
            _log.error("a scraping process is started again: %s", cause)
            for wanted in share.targets:
                self._sink.record_failure(wanted.key, cause, time.monotonic())
            await asyncio.sleep(_RESTART.delay(failures, self._rng))
            failures += 1

    async def _one_life(self, share: _Share) -> int:
        hung = asyncio.Event()
        async with _process() as process:
            async with running(self._tell(process, share), _watch(process, share, hung)):
                await self._listen(process, share)
            code = await process.wait()
        if hung.is_set():
            raise Hung
        return code

    async def _tell(self, process: asyncio.subprocess.Process, share: _Share) -> None:
        """Send what is wanted, now and whenever it changes."""
        assert process.stdin is not None  # noqa: S101 # a pipe was asked for
        process.stdin.write(ordered(self._setup))
        while True:
            share.changed.clear()
            process.stdin.write(ordered(share.targets))
            await share.changed.wait()

    async def _listen(self, process: asyncio.subprocess.Process, share: _Share) -> None:
        assert process.stdout is not None  # noqa: S101 # a pipe was asked for
        frames = Frames(FoundReader().read, partial(self._record, share))
        while data := await process.stdout.read(_READ_BYTES):
            share.heard += 1
            frames.feed(data)
            # Samples that have piled up are taken in a few at a time: what else is due comes between them.
            await asyncio.sleep(0)

    def _record(self, share: _Share, found: Found) -> None:
        share.health[found.key] = found.health
        try:
            if isinstance(found.result, str):
                self._sink.record_failure(found.key, found.result, found.at)
            else:
                self._sink.record_scrape(found.key, found.result, found.at)
        except Exception as error:
            # What one page provokes is a failure of its endpoint, and of nothing else.
            self._fault(found, f"internal error in taking in what was scraped ({where(error)})")

    def _fault(self, found: Found, cause: str) -> None:
        self.stats.faults += 1
        if self._faulty.get(found.key) != cause:
            self._faulty[found.key] = cause
            _log.error("%s: %s", found.key, cause)
        self._sink.record_failure(found.key, cause, found.at)


@asynccontextmanager
async def _process() -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """A process that scrapes, until the block ends. Raises OSError where none can be started."""
    async with running() as tasks:
        starting = tasks.create_task(_started())
        try:
            # A start that is given up half-way leaves a process that nothing ends.
            started = await asyncio.shield(starting)
            if isinstance(started, OSError):
                raise started
            yield started
        finally:
            started = await starting
            if not isinstance(started, OSError):
                await _stopped(started)


async def _started() -> asyncio.subprocess.Process | OSError:
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "infscale.scrape.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**_MEMORY, **os.environ},
            # Ctrl-C is for this process, which drains first; the other ends with its standard input.
            start_new_session=True,
        )
    except OSError as error:
        return error


async def _watch(process: asyncio.subprocess.Process, share: _Share, hung: asyncio.Event) -> None:
    """End a process that says nothing for too long: stopped or in a loop, it would not notice that its input ends."""
    heard = first = share.heard
    silent = 0
    while silent < (_SILENT_LOOKS_AT_START if heard == first else _SILENT_LOOKS):
        await asyncio.sleep(_LOOK_SECONDS)
        silent = silent + 1 if share.heard == heard else 0
        heard = share.heard
    hung.set()
    process.kill()


async def _stopped(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
