"""aiohttp's server and handler within the limits of `adapter.server.connections`; errors are `Status` documents."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import StreamReader, web

from adapter.answering.responder import PathKind, Reply, refusal
from adapter.errors import ApiError, BadRequest, HeadTooLarge, InternalError
from adapter.server.connections import Connection, Connections
from adapter.server.stats import AdapterStats
from infscale.process.log import where

MAX_LINE_BYTES = 32_768
MAX_FIELD_BYTES = 16_384
MAX_HEADERS = 2_000
"""The API server sends one header per group of the user, and some users have hundreds."""
KEEP_ALIVE_SECONDS = 3_600.0
"""Longer than the 90 s after which the API server drops an idle connection: the server never races its client."""
_WRITE_BUFFER_BYTES = 65_536

_MALFORMED = "the request is malformed, or its line or a header is too large"

_log = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Responds = Callable[[Reply], web.Response]


class StatusServer(web.Server):
    """Makes protocol handlers within limits, whose errors are `Status` documents written by `respond`."""

    def __init__(self, handler: Handler, respond: Responds, stats: AdapterStats, connections: Connections) -> None:
        super().__init__(
            handler,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
            lingering_time=connections.limits.body_seconds,
            auto_decompress=False,
        )
        self.respond = respond
        self.stats = stats
        self.limited = connections

    def __call__(self) -> web.RequestHandler:
        """A handler of a connection whose address is not known."""
        return self.handler(self.limited.admit("", lambda: None))

    def handler(self, connection: Connection) -> "StatusHandler":
        """The handler of `connection`, which is released with it."""
        return StatusHandler(self, connection, loop=self._loop, **self._kwargs)


class StatusHandler(web.RequestHandler):
    """aiohttp's protocol handler, without its plain-text errors and without its log of what a client sent.

    Each of its times runs from the beginning of what is waited for: single bytes do not start them anew.
    """

    __slots__ = ("_body", "_connection", "_in_head", "_late", "_limited", "_server", "_slow")

    def __init__(self, server: StatusServer, connection: Connection, **options: object) -> None:
        super().__init__(server, **options)  # type: ignore[arg-type] # aiohttp's options, passed on by name
        self._server = server
        self._limited = server.limited
        self._connection = connection
        self._body: StreamReader | None = None
        self._in_head = True
        self._late: asyncio.TimerHandle | None = None
        self._slow: asyncio.TimerHandle | None = None

    def prove(self) -> None:
        """The certificate of this connection was believed."""
        self._limited.prove(self._connection)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.Transport):
            # An answer that is not read is noticed before much of it is kept.
            transport.set_write_buffer_limits(_WRITE_BUFFER_BYTES)
            self._connection.abort = transport.abort
        if not self._connection.is_open:
            # Another took its place while the handshake ended.
            self._connection.abort()
        self._expect(self._limited.limits.head_seconds, "head_timeout")

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nothing is waited for any more."""
        self._limited.release(self._connection)
        for timer in (self._late, self._slow):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take `data` in, within the limits."""
        connection, limits, requests = self._connection, self._limited.limits, self._request_count
        self._limited.received(connection, len(data))
        super().data_received(data)
        if self._request_count != requests and self._messages:
            self._limited.complete(connection)
            self._in_head = False
            self._body = self._messages[-1][1]
            self._expect(None if self._body.is_eof() else limits.body_seconds, "head_timeout")
        if self._body is not None:
            if self._body.is_eof():
                self._limited.complete(connection)
                self._body = None
                self._expect(None if connection.is_proven else limits.idle_seconds, "idle")
        elif connection.unread and not self._in_head:
            self._in_head = True
            self._expect(limits.head_seconds, "head_timeout")
        if connection.unread > limits.unread_bytes and connection.is_open:
            self._refuse()

    def pause_writing(self) -> None:
        """The client does not read: it has some time for all that it was sent."""
        super().pause_writing()
        seconds = self._limited.limits.write_seconds
        self._slow = self._loop.call_later(seconds, self._limited.close, self._connection, "write_timeout")

    def resume_writing(self) -> None:
        """The client has read."""
        if self._slow is not None:
            self._slow.cancel()
        super().resume_writing()

    def _expect(self, seconds: float | None, cause: str) -> None:
        """Close the connection for `cause` in so many seconds unless something else is expected; None: never."""
        if self._late is not None:
            self._late.cancel()
        self._late = None if seconds is None else self._loop.call_later(seconds, self._over, seconds, cause)

    def _over(self, seconds: float, cause: str) -> None:
        if self._messages or self._request_in_progress:
            # What is late is the adapter's answer to an earlier request.
            self._expect(seconds, cause)
        else:
            self._limited.close(self._connection, cause)

    def _refuse(self) -> None:
        """Say that a head is too large where no answer is in the way, and close."""
        transport = self.transport
        if transport is not None and not self._messages and not self._request_in_progress:
            reply = refusal(HeadTooLarge())
            head = f"HTTP/1.1 {reply.code} Request Header Fields Too Large\r\nContent-Type: {reply.content_type}\r\n"
            head += f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n"
            transport.write(head.encode() + reply.body)
            self._server.stats.record(PathKind.OTHER.value, reply.code, 0.0)
            self._connection.abort = transport.close
        self._limited.close(self._connection, "head_too_large")

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The `Status` for what aiohttp refuses or the app failed at; closes the connection."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        error: ApiError = BadRequest(_MALFORMED)
        if status >= 500:
            error = InternalError("Internal error occurred: the adapter failed at this request; its log says where")
            if exc is not None:
                _log.error("the adapter failed at a request: %s", where(exc))
        response = self._server.respond(refusal(error))
        response.force_close()
        self._server.stats.record(PathKind.OTHER.value, response.status, 0.0)
        return response
