"""One Prometheus server, asked in threads of its own: the client library blocks, and a server may not answer."""

import asyncio
import concurrent.futures
import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar, cast

from prometheus_api_client.prometheus_connect import PrometheusConnect

from infscale.errors import bare
from infscale.periodic import FetchError
from infscale.prometheus.api_answer import Labels, RangeRow, Row, ranges_of, rows_of, series_of
from infscale.prometheus.bounded_session import BoundedSession, Lifeline, translated
from infscale.prometheus.server_settings import ServerSettings

_LEAVING_SECONDS: Final = 5.0

AnswerT = TypeVar("AnswerT")


class _Library(Protocol):
    """What of the client library is used."""

    def custom_query(self, query: str) -> object:
        """The result of an instant query."""
        ...

    def custom_query_range(self, query: str, start_time: datetime, end_time: datetime, step: str) -> object:
        """The result of a range query."""
        ...

    def get_series(self, start: datetime, end: datetime, params: dict[str, str]) -> object:
        """The label sets of series."""
        ...


@dataclass(frozen=True, slots=True)
class _Line:
    """One connection of the server, used by one thread at a time."""

    client: _Library
    session: BoundedSession
    lifeline: Lifeline


def _line(settings: ServerSettings) -> _Line:
    lifeline = Lifeline()
    session = BoundedSession(settings, lifeline)
    connect = cast("Callable[..., _Library]", PrometheusConnect)
    client = connect(url=settings.url, session=session)
    # The library has put an adapter of its own in place, which tries again and cannot be cut.
    session.hold()
    return _Line(client, session, lifeline)


class PrometheusServer:
    """Asks one server while its context is open; owns the threads and connections.

    Every method raises `FetchError` with the cause in plain words. An answer that is late is not waited for: its
    connection is cut, which also ends its thread.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None
        self._free: asyncio.Queue[_Line] = asyncio.Queue()
        self._next_turn = 0.0
        self._busy: dict[concurrent.futures.Future[Any], _Line] = {}

    async def __aenter__(self) -> Self:
        workers = self.settings.workers
        self._threads = concurrent.futures.ThreadPoolExecutor(workers, f"prometheus-{self.settings.name}")
        for _ in range(workers):
            self._free.put_nowait(_line(self.settings))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._busy.values():
            each.lifeline.cut()
        under_way = [asyncio.wrap_future(each) for each in self._busy]
        if under_way:
            await asyncio.wait(under_way, timeout=_LEAVING_SECONDS)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        while not self._free.empty():
            self._free.get_nowait().session.close()

    async def instant(self, query: str) -> tuple[Row, ...]:
        """The rows of an instant query of now; a scalar is one row without labels."""
        most = self.settings.max_series
        return await self._asked(lambda line: rows_of(line.client.custom_query(query), most))

    async def ranges(self, query: str, begin: int, end: int, step_seconds: float) -> tuple[RangeRow, ...]:
        """The series of a range query from `begin` to `end` (whole seconds since 1970) in steps."""
        most = self.settings.max_series
        between = datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(end, UTC)
        return await self._asked(
            lambda line: ranges_of(line.client.custom_query_range(query, *between, f"{step_seconds:g}"), most)
        )

    async def series(self, match: str, since_seconds: float) -> tuple[Labels, ...]:
        """The series that a selector has matched within the last seconds, the metric's name as label ``__name__``."""
        most = self.settings.max_series

        def ask(line: _Line) -> tuple[Labels, ...]:
            end = datetime.now(UTC)
            start = end - timedelta(seconds=since_seconds)
            return series_of(line.client.get_series(start, end, {"match[]": match}), most)

        return await self._asked(ask)

    async def _asked(self, ask: Callable[[_Line], AnswerT]) -> AnswerT:
        """What `ask` gives within the time there is, waiting for a free connection included."""
        await self._turn()
        seconds = self.settings.timeout_seconds
        why = f", waiting for one of {self.settings.workers} connections in use"
        try:
            async with asyncio.timeout(seconds):
                line = await self._free.get()
                why = ""
                return await self._run(line, ask)
        except TimeoutError:
            raise FetchError(f"timed out after {seconds:g} s{why}") from None

    async def _turn(self) -> None:
        """Wait for the turn of a query: they begin at least so far apart as the budget says."""
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next_turn)
        self._next_turn = turn + 1.0 / self.settings.queries_per_second
        if turn > now:
            await asyncio.sleep(turn - now)

    async def _run(self, line: _Line, ask: Callable[[_Line], AnswerT]) -> AnswerT:
        if self._threads is None:
            raise RuntimeError("a server is asked inside its async with block only")

        future = self._threads.submit(_answered, ask, line)
        self._busy[future] = line
        waited = asyncio.wrap_future(future)
        waited.add_done_callback(functools.partial(self._ended, future))
        try:
            return await asyncio.shield(waited)
        except asyncio.CancelledError:
            line.lifeline.cut()
            raise
        finally:
            # Their error refers to this call.
            del future, waited

    def _ended(self, future: concurrent.futures.Future[Any], waited: "asyncio.Future[Any]") -> None:
        """The thread is through: its line is free for another."""
        self._free.put_nowait(self._busy.pop(future))
        if not waited.cancelled():
            # What nothing waits for any more is no error of the loop's.
            waited.exception()


def _answered(ask: Callable[[_Line], AnswerT], line: _Line) -> AnswerT:
    """What `ask` gives. Raises `FetchError`, which holds nothing of what was read."""
    try:
        with translated():
            return ask(line)
    except FetchError as error:
        raise bare(error) from None
