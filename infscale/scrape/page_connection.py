"""A connection to a server of metrics pages, whichever HTTP it speaks, and what it is asked for."""

import asyncio
from dataclasses import dataclass
from typing import cast

from infscale.scrape.answer import Answer, Page, Room


class Stale(Exception):
    """Nothing came: the server had closed the connection, as it may between two pages."""


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """How pages of one server are asked for: its host as URLs write it, and credentials ("": none).

    Pages are at most `limit_bytes` long once decompressed, and share `room` with others while they come in.
    """

    host: str
    authorization: str
    limit_bytes: int
    room: Room


class Connection(asyncio.Protocol):
    """One connection, for one page at a time; how it asks, and what it makes of what comes, is its HTTP's."""

    _parses = True

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._done: asyncio.Future[Page] | None = None

    @property
    def idle(self) -> bool:
        """Whether a page may be asked for."""
        return self._transport is not None and self._done is None

    async def get(self, target: str) -> Page:
        """The page at `target`. Raises FetchError, or `Stale` where the connection ends before anything came."""
        assert self._transport is not None  # noqa: S101 # it is idle
        answer = self._answer = Answer(self._asking.limit_bytes, self._asking.room, parses=self._parses)
        self._done = self._loop.create_future()
        try:
            self._ask(self._transport, target)
            return await self._done
        except asyncio.CancelledError:
            # What is still to come belongs to no page.
            self.abort()
            raise
        finally:
            self._done = None
            answer.drop()
            # Its error refers to this call.
            del answer

    def _ask(self, transport: asyncio.Transport, target: str) -> None:
        """Send the request. Raises `Stale` where another connection may do."""
        raise NotImplementedError

    def abort(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def _settle(self, answer: Answer, done: "asyncio.Future[Page]") -> None:
        self._answer = None
        if answer.error is not None or not answer.keep_alive:
            self.abort()
        if done.done():
            return
        if answer.error is not None:
            done.set_exception(answer.error)
        else:
            done.set_result(answer.page())
