"""The part that records requests in a file, for `infscale simulate`."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.config.record_settings import RecordSettings
from infscale.errors import StartError
from infscale.periodic import TaskSet
from infscale.recording.recorded_request import RecordedRequest
from infscale.serving.parts import Part
from infscale.serving.recorded.record_file import RecordFile

_LOG = logging.getLogger(__name__)

_WRITE_SECONDS: Final = 1.0
_MOST_WAITING: Final = 50_000


@dataclass(slots=True)
class RecordCounts:
    """Requests written, and those that could not be: too many at once, or the file would not take them."""

    written: int = 0
    lost: int = 0


class RecordCollector(Collector):
    """`infscale_recorded_requests`."""

    def __init__(self, counts: RecordCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """The one family."""
        family = CounterMetricFamily(
            "infscale_recorded_requests", "requests that were to be recorded, by outcome", labels=["outcome"]
        )
        family.add_metric(["written"], self._counts.written)
        family.add_metric(["lost"], self._counts.lost)
        yield family


class Recording(Part):
    """Takes requests at once and writes them once a second, in one thread of its own; see `Recorder`."""

    def __init__(self, settings: RecordSettings, clock: Callable[[], float]) -> None:
        self._path = settings.file
        self._file = RecordFile(settings, clock)
        self._waiting: list[RecordedRequest] = []
        self._failing = False
        self._thread = ThreadPoolExecutor(1, "recording")
        self._task = TaskSet[str, Recording](Recording.follow)
        self.counts = RecordCounts()
        self._collectors = (RecordCollector(self.counts),)

    async def __aenter__(self) -> Self:
        try:
            await self._in_thread(self._file.begin)
        except OSError as error:
            self._thread.shutdown()
            raise StartError(f"picker.record: {self._path} cannot be written: {error.strerror or error}") from error
        await self._task.__aenter__()
        self._task.sync({"recording": self})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._task.__aexit__()
        await self._in_thread(partial(self._write, self._taken()))
        self._thread.shutdown()

    async def follow(self) -> None:
        """Write what waits, again and again until cancelled."""
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            await self._in_thread(partial(self._write, self._taken()))

    def prefixes(self, root: str, prompt: bytes) -> tuple[int, ...]:
        """See `Recorder`."""
        return self._file.digests.of(root, prompt)

    def keep(self, request: RecordedRequest) -> None:
        """See `Recorder`; what comes faster than it can be written is lost."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(request)
        else:
            self.counts.lost += 1

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _taken(self) -> list[RecordedRequest]:
        taken, self._waiting = self._waiting, []
        return taken

    def _write(self, requests: list[RecordedRequest]) -> None:
        try:
            self._file.write(requests)
        except OSError as error:
            self.counts.lost += len(requests)
            if not self._failing:
                _LOG.warning("requests cannot be recorded", extra={"fields": {"cause": error.strerror or str(error)}})
            self._failing = True
            return
        self.counts.written += len(requests)
        self._failing = False
