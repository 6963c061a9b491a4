"""The part that writes the inputs of decisions to a file, for `infscale explain` and `infscale replay`."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from infscale.errors import StartError
from infscale.periodic import TaskSet
from infscale.serving.parts import Part
from infscale.serving.recorded.file_ring import FileRing
from picker.directing.pool_directors import PoolDirectors
from picker.explaining.explanation import wall_of
from picker.explaining.input_sheet import InputSheet
from picker.explaining.sheet_form import sheet_line

_LOG = logging.getLogger(__name__)

_WRITE_SECONDS: Final = 1.0
_MOST_WAIT_SECONDS: Final = 60.0
"""How long a full sheet waits for the ends of its requests, and an unfinished one to be filled."""
_MOST_WAITING: Final = 100


class PickWriting(Part):
    """Takes sheets when nothing is added to them any more, and writes them in one thread of its own.

    A sheet waits until all of its requests have ended, at most a minute. One that is lost, because the file would not
    take it or too many waited, is said in the log.
    """

    def __init__(self, file: Path, max_bytes: int, directors: PoolDirectors, clock: Callable[[], float]) -> None:
        self._path = file
        self._ring = FileRing(file, max_bytes)
        self._directors = directors
        self._clock = clock
        self._waiting: deque[tuple[float, InputSheet]] = deque(maxlen=_MOST_WAITING)
        self._turned_at = 0.0
        self._failing = False
        self._thread = ThreadPoolExecutor(1, "picks")
        self._task = TaskSet[str, PickWriting](PickWriting.follow)

    async def __aenter__(self) -> Self:
        try:
            await self._in_thread(self._ring.begin)
        except OSError as error:
            self._thread.shutdown()
            cause = error.strerror or error
            raise StartError(f"picker.explain.file: {self._path} cannot be written: {cause}") from error
        self._turned_at = self._clock()
        await self._task.__aenter__()
        self._task.sync({"picks": self})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._task.__aexit__()
        self._turn()
        await self._in_thread(partial(self._write, self.taken(everything=True), self._clock()))
        self._thread.shutdown()

    def keep(self, sheet: InputSheet) -> None:
        """Have `sheet` written, to which nothing is added any more."""
        if len(self._waiting) == _MOST_WAITING:
            _LOG.warning("picks are not written: too many wait", extra={"fields": {"picks": len(self._waiting[0][1])}})
        self._waiting.append((self._clock(), sheet))

    async def follow(self) -> None:
        """Write what has waited, again and again until cancelled."""
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            if self._clock() - self._turned_at >= _MOST_WAIT_SECONDS:
                self._turn()
            sheets = self.taken(everything=False)
            if sheets:
                await self._in_thread(partial(self._write, sheets, self._clock()))

    def _turn(self) -> None:
        self._turned_at = self._clock()
        for log, _ in self._directors.logs().values():
            if log is not None:
                log.turn()

    def taken(self, *, everything: bool) -> list[InputSheet]:
        """The sheets that are to be written now, or all that wait; they wait no longer."""
        limit = self._clock() - _MOST_WAIT_SECONDS
        taken: list[InputSheet] = []
        while self._waiting:
            at, sheet = self._waiting[0]
            if not everything and at > limit and not sheet.ended:
                break
            taken.append(self._waiting.popleft()[1])
        return taken

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _write(self, sheets: list[InputSheet], now: float) -> None:
        wall = wall_of(now, datetime.now(UTC))
        try:
            for sheet in sheets:
                line = sheet_line(sheet, wall)
                if self._ring.full(len(line)):
                    self._ring.begin()
                self._ring.append(line)
        except OSError as error:
            if not self._failing:
                _LOG.warning("picks cannot be written", extra={"fields": {"cause": error.strerror or str(error)}})
            self._failing = True
            return
        self._failing = False
