"""GPU memory and utilisation per endpoint, scraped from dcgm-exporters, whose pages `dcgm_page` reads."""

import math
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from yarl import URL

from infscale.backoff import Backoff
from infscale.endpoint import Endpoint, EndpointKey, ObjectKey
from infscale.metrics.sample import GpuSample
from infscale.periodic import (
    Clock,
    FetchError,
    Outcome,
    Pace,
    Rounds,
    ScrapeHealth,
    TaskSet,
    hash_fraction,
    repeat,
)
from infscale.scrape.answer import Room
from infscale.scrape.fetch import PAGE_LIMIT_BYTES, PageClient
from infscale.scrape.reading_time import TOO_LONG, ReadingTime
from infscale.sources.dcgm_page import DcgmReader

if TYPE_CHECKING:
    import random


class GpuSink(Protocol):
    """Takes GPU samples; `at` is the monotonic second the scrape started at. Must not block."""

    def record_gpu(self, key: EndpointKey, sample: GpuSample, at: float) -> None:
        """Take one sample of the GPUs of the endpoint `key`."""
        ...


@dataclass(frozen=True, slots=True)
class DcgmTarget:
    """One dcgm-exporter; it refreshes its own values every 30 s by default."""

    url: str
    interval_seconds: float = 10.0
    timeout_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("a target's URL starts with http:// or https://")
        if not 0 < self.timeout_seconds < self.interval_seconds < math.inf:
            raise ValueError("a target needs 0 < timeout_seconds < interval_seconds")

    @property
    def name(self) -> str:
        """The address without what may be a secret in it: user, password and query."""
        parts = urllib.parse.urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


class DcgmSource:
    """Scrapes exporters while its context is open and hands samples of known endpoints to the sink.

    An endpoint is recognised by its pod; all ranks of a pod share its GPUs.
    """

    def __init__(self, sink: GpuSink, clock: Clock, rng: "random.Random") -> None:
        self._sink = sink
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(base_seconds=1.0, factor=2.0, cap_seconds=30.0)
        self._rounds: dict[str, Rounds] = {}
        self._endpoints: Mapping[ObjectKey, tuple[EndpointKey, ...]] = {}
        self._room = Room()
        self._tasks: TaskSet[str, DcgmTarget] = TaskSet(self._run)

    async def __aenter__(self) -> "DcgmSource":
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, traceback)

    def sync(self, targets: Iterable[DcgmTarget], endpoints: Iterable[Endpoint]) -> None:
        """Scrape exactly `targets`, and record samples for exactly `endpoints`."""
        pods: dict[ObjectKey, tuple[EndpointKey, ...]] = {}
        for endpoint in endpoints:
            pods[endpoint.key.pod] = (*pods.get(endpoint.key.pod, ()), endpoint.key)
        self._endpoints = pods
        wanted = {target.url: target for target in targets}
        for url in self._rounds.keys() - wanted.keys():
            del self._rounds[url]
        for url in wanted.keys() - self._rounds.keys():
            # No request waits for a failure here: a GPU sample grows old and then is unknown.
            self._rounds[url] = Rounds(wanted[url].name, self._clock, lambda _cause, _at: None)
        self._tasks.sync(wanted)

    def health(self) -> dict[str, ScrapeHealth]:
        """How scraping each exporter goes, by the targets' names."""
        return {rounds.name: rounds.health for rounds in self._rounds.values()}

    async def _run(self, target: DcgmTarget) -> None:
        rounds, reader = self._rounds[target.url], DcgmReader(target.name)
        url = URL(target.url)
        pages, reading = PageClient(url, PAGE_LIMIT_BYTES, room=self._room), ReadingTime(time.thread_time)

        async def observe(started: float) -> int:
            if not reading.allows():
                raise FetchError(TOO_LONG)
            page = await pages.get(url.raw_path_qs)
            with reading:
                samples = reader.read(page.body, whole=page.whole)
            for pod, sample in samples.items():
                for key in self._endpoints.get(pod, ()):
                    self._sink.record_gpu(key, sample, started)
            return len(page.body)

        async def step() -> Outcome:
            return await rounds.run(observe, target.timeout_seconds)

        fraction = hash_fraction(target.url)
        try:
            await repeat(step, Pace(lambda: target.interval_seconds, fraction, self._backoff, self._clock, self._rng))
        finally:
            pages.close()
