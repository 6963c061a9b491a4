"""The scrapes of one target: ask for what is needed, fall back to the whole page, hand samples to the sink."""

import enum
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from yarl import URL

from infscale.endpoint import EndpointKey
from infscale.errors import ExpositionError
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import PAGE_PATH
from infscale.metrics.pages.exposition import is_html, is_json, unasked_families
from infscale.metrics.pages.interpreter import Interpreter, MissingMetrics, detect
from infscale.metrics.sample import EngineSample
from infscale.periodic import Absent, Clock, FetchError, Outcome, Rejected, Rounds, ScrapeHealth
from infscale.scrape.answer import Page, Room
from infscale.scrape.fetch import PAGE_LIMIT_BYTES, PageClient
from infscale.scrape.reading_time import TOO_LONG, ReadingTime
from infscale.scrape.target import Target

# A server without a page where it was asked for is looked through once in so long: it may have one when it has started.
_LOOK_AGAIN_SECONDS = 10.0


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


class _JsonPage(MissingMetrics):
    """There is JSON where a page of metrics should be."""

    def __init__(self, elsewhere: str = "") -> None:
        super().__init__(f"the page is JSON, not metrics in text form{elsewhere}")


@dataclass(frozen=True, slots=True)
class _Looked:
    """When the other paths of a server were last asked for, and what was found there, in words."""

    at: float
    found: str


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
        room: Room | None = None,
    ) -> None:
        self.target = target
        self._sink = sink
        self._interpreter_of = interpreter_of
        self._url = URL(target.url)
        self._pages = PageClient(
            self._url,
            limit_bytes,
            verify_tls=target.verify_tls,
            certificates=target.certificates,
            h2c=target.h2c,
            room=room,
        )
        self._page = self._url
        self._looked: _Looked | None = None
        self._clock = clock
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
        interpreter, asked = self._interpreter, self._page
        if interpreter is None or self._mode is Mode.WHOLE:
            return await self._whole_page(interpreter)
        try:
            return await self._named_page(interpreter)
        except (Rejected, MissingMetrics):
            # A server may refuse the parameter, or answer it with an empty page (a registry that cannot be restricted).
            observed = await self._whole_page(interpreter)
        if self._page == asked:
            self._set_mode(Mode.WHOLE)
        return observed

    async def _named_page(self, interpreter: Interpreter) -> tuple[EngineSample, int]:
        page = await self._pages.get(self._named_path)
        with self._reading:
            sample = _read(interpreter, page)
            if self._mode is Mode.UNTRIED:
                ignored = unasked_families(page.body, interpreter.names)
                self._set_mode(Mode.WHOLE if ignored else Mode.NAMED)
        return sample, len(page.body)

    async def _whole_page(self, interpreter: Interpreter | None) -> tuple[EngineSample, int]:
        try:
            page = await self._pages.get(self._page.raw_path_qs)
            with self._reading:
                return _read(interpreter or self._speak(self._detected(page)), page), len(page.body)
        except _JsonPage:
            missing = None
        except Absent as error:
            missing = str(error)
        looked = await self._look_elsewhere()
        if not isinstance(looked, str):
            return looked
        if missing is None:
            raise _JsonPage(looked or _others(self.target.candidates))
        raise Absent(f"{missing}{looked}{_how_enabled(self.target.dialect)}")

    async def _look_elsewhere(self) -> tuple[EngineSample, int] | str:
        """The page of a server that has another thing, or none, where it was asked for it.

        It is followed from now on at the path where it is. Else what there was, in words.
        """
        now = self._clock()
        if self._looked is not None and now - self._looked.at < _LOOK_AGAIN_SECONDS:
            return self._looked.found
        # Also where there is no time to look at all of them.
        self._looked = _Looked(now, "; it does not answer in time at other paths")
        found = ""
        for page_at, dialect in self._places():
            try:
                page = await self._pages.get(page_at.raw_path_qs)
                with self._reading:
                    interpreter = self._interpreter_of(self._detected(page) if dialect is None else dialect)
                    sample = _read(interpreter, page)
            except (FetchError, ExpositionError) as error:
                whose = "" if dialect is None else f", where {dialect.name} has them"
                found += f"; at {page_at.path}{whose}: {error}"
            else:
                self._page, self._looked = page_at, None
                self._speak(interpreter.dialect)
                self._set_mode(Mode.UNTRIED)
                return sample, len(page.body)
        self._looked = _Looked(now, found)
        return found

    def _places(self) -> Iterator[tuple[URL, Dialect | None]]:
        """Where else the page may be, and the dialect that it is in there; None: that is found out."""
        told = self.target.dialect
        spoken = self.target.candidates if told is None else (told,)
        of_dialects = [(self._url.join(URL(each.path)), each) for each in spoken if each.path is not None]
        tried = {self._page}
        for page_at, dialect in (*of_dialects, (self._url, told), (self._url.join(URL(PAGE_PATH)), told)):
            if page_at not in tried:
                tried.add(page_at)
                yield page_at, dialect

    def _detected(self, page: Page) -> Dialect:
        """What a page is in."""
        try:
            dialect = detect(page.body, self.target.candidates)
        except ExpositionError:
            _check_form(page)
            raise
        if dialect is None:
            _check_form(page)
            raise MissingMetrics("no metrics of a known engine on the page")
        return dialect

    def _forget(self) -> None:
        self._page = self._url
        self._looked = None
        self._interpreter: Interpreter | None = None
        if self.target.dialect is not None:
            self._speak(self.target.dialect)
        self._set_mode(Mode.UNTRIED)

    def _speak(self, dialect: Dialect) -> Interpreter:
        self._interpreter = interpreter = self._interpreter_of(dialect)
        self._named_path = self._page.extend_query([("name[]", name) for name in interpreter.names]).raw_path_qs
        return interpreter

    def _set_mode(self, mode: Mode) -> None:
        self._mode = mode
        self._rounds.in_mode(mode.value)


def _read(interpreter: Interpreter, page: Page) -> EngineSample:
    try:
        return interpreter.interpret(page.body, whole=page.whole)
    except ExpositionError:
        _check_form(page)
        raise


def _check_form(page: Page) -> None:
    """Say of what other form a page is that cannot be read."""
    if is_json(page.body):
        raise _JsonPage from None
    if is_html(page.body):
        raise MissingMetrics("the page is HTML, not metrics in text form") from None


def _others(dialects: Iterable[Dialect]) -> str:
    """Where engines have their pages that have them elsewhere."""
    return "".join(f"; {each.name} has them at {each.path}" for each in dialects if each.path is not None)


def _how_enabled(dialect: Dialect | None) -> str:
    """What has to be said to a server of `dialect` for it to have a page."""
    return (
        "" if dialect is None or dialect.enabled_by is None else f"; {dialect.name} has one with {dialect.enabled_by}"
    )
