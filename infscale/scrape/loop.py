"""The scrapes of one target: ask for what is needed, fall back to the whole page, hand samples to the sink."""

import enum
import time
from collections.abc import Callable
from typing import Protocol

from yarl import URL

from infscale.endpoint import EndpointKey
from infscale.metrics.dialects import Dialect, Interpreter, MissingMetrics, detect
from infscale.metrics.exposition import unasked_families
from infscale.metrics.sample import EngineSample
from infscale.periodic import Clock, FetchError, Outcome, Rejected, Rounds, ScrapeHealth
from infscale.scrape.fetch import PAGE_LIMIT_BYTES, PageClient
from infscale.scrape.reading_time import TOO_LONG, ReadingTime
from infscale.scrape.target import Target


class ScrapeSink(Protocol):
    """Takes what scrapes find; called from the event loop, must not block.

    `at` is monotonic: for a sample the second its scrape started, so that it is at least that old; for a failure the
    second it failed. `cause` is one plain sentence part such as ``connection refused``.
    """

    def record_scrape(self, key: EndpointKey, sample: EngineSample, at: float) -> None:
        """Take one sample of the endpoint `key`."""
        ...

    def record_failure(self, key: EndpointKey, cause: str, at: float) -> None:
        """Take note that a scrape of the endpoint `key` gave nothing."""
        ...


class Mode(enum.Enum):
    """How a target is asked: it was not asked yet, it answers only the names asked for, or it gives the whole page."""

    UNTRIED = "untried"
    NAMED = "named"
    WHOLE = "whole"


class TargetLoop:
    """Scrapes one target again and again; remembers how it wants to be asked. `close` when it is no longer wanted.

    `interpreter_of` gives the interpreter shared by all targets of a dialect.
    """

    def __init__(
        self,
        target: Target,
        sink: ScrapeSink,
        interpreter_of: Callable[[Dialect], Interpreter],
        clock: Clock,
        limit_bytes: int = PAGE_LIMIT_BYTES,
    ) -> None:
        self.target = target
        self._sink = sink
        self._interpreter_of = interpreter_of
        self._url = URL(target.url)
        self._pages = PageClient(self._url, limit_bytes, verify_tls=target.verify_tls, certificates=target.certificates)
        self._whole_path = self._named_path = self._url.raw_path_qs
        self._rounds = Rounds(
            f"{target.key} at {target.url}", clock, lambda cause, at: sink.record_failure(target.key, cause, at)
        )
        self._reading = ReadingTime(time.thread_time)
        self._forget()

    @property
    def health(self) -> ScrapeHealth:
        """How it goes."""
        return self._rounds.health

    async def step(self, timeout_seconds: float) -> Outcome:
        """One scrape, recorded in the sink as a sample or as a failure."""
        outcome = await self._rounds.run(self._scrape, timeout_seconds)
        if outcome is Outcome.REFUSED:
            # What answers at this address next may be another program.
            self._forget()
        return outcome

    def close(self) -> None:
        """Close the connection to the target."""
        self._pages.close()

    async def _scrape(self, started: float) -> int:
        if not self._reading.allows():
            raise FetchError(TOO_LONG)
        sample, size = await self._observe()
        self._sink.record_scrape(self.target.key, sample, started)
        return size

    async def _observe(self) -> tuple[EngineSample, int]:
        interpreter = self._interpreter
        if interpreter is None or self._mode is Mode.WHOLE:
            return await self._whole_page(interpreter)
        try:
            return await self._named_page(interpreter)
        except (Rejected, MissingMetrics):
            # A server may refuse the parameter, or answer it with an empty page (a registry that cannot be restricted).
            observed = await self._whole_page(interpreter)
        self._set_mode(Mode.WHOLE)
        return observed

    async def _named_page(self, interpreter: Interpreter) -> tuple[EngineSample, int]:
        page = await self._pages.get(self._named_path)
        with self._reading:
            sample = interpreter.interpret(page.body, whole=page.whole)
            if self._mode is Mode.UNTRIED:
                ignored = unasked_families(page.body, interpreter.names)
                self._set_mode(Mode.WHOLE if ignored else Mode.NAMED)
        return sample, len(page.body)

    async def _whole_page(self, interpreter: Interpreter | None) -> tuple[EngineSample, int]:
        page = await self._pages.get(self._whole_path)
        with self._reading:
            if interpreter is None:
                dialect = detect(page.body, self.target.candidates)
                if dialect is None:
                    raise MissingMetrics("no metrics of a known engine on the page")
                interpreter = self._speak(dialect)
            return interpreter.interpret(page.body, whole=page.whole), len(page.body)

    def _forget(self) -> None:
        self._interpreter: Interpreter | None = None
        if self.target.dialect is not None:
            self._speak(self.target.dialect)
        self._set_mode(Mode.UNTRIED)

    def _speak(self, dialect: Dialect) -> Interpreter:
        self._interpreter = interpreter = self._interpreter_of(dialect)
        self._named_path = self._url.extend_query([("name[]", name) for name in interpreter.names]).raw_path_qs
        return interpreter

    def _set_mode(self, mode: Mode) -> None:
        self._mode = mode
        self._rounds.in_mode(mode.value)
