"""One GET of a metrics page after another, over a connection that stays open; whatever goes wrong ends here in words.

Pages are fetched hundreds of times a second, so there is no more between socket and page than an HTTP parser.
"""

import asyncio
import errno
import functools
import socket
import ssl
import zlib
from dataclasses import dataclass
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from yarl import URL

from infscale.periodic import FetchError, Rejected, Unreachable

PAGE_LIMIT_BYTES = 8 * 1024 * 1024

# Compressing costs the model server more CPU than the page costs the network; a compressed answer is read all the same.
_REQUEST = (
    "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: infscale\r\nAccept: text/plain;version=0.0.4\r\n"
    "Accept-Encoding: identity\r\n\r\n"
)
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_COMPRESSED = frozenset({b"gzip", b"x-gzip", b"deflate"})
_BESIDE_BODY_BYTES = 64 * 1024
"""Head, trailers and framing: at most this, and so many bytes for each of the body, as chunks of one byte have."""
_FRAMING_RATIO = 8
_CONNECT_CAUSES = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "connection timed out",
}
_NO_HTTP = "the server does not speak HTTP"
_CLOSED = "connection closed by the server"
_TRUNCATED = "page truncated"


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it arrived; `whole` says whether the transport vouches that it ended where the server meant it to."""

    body: bytes
    whole: bool


class PageClient:
    """Gets pages from the server of one URL, one at a time; redirects are not followed.

    Pages are at most `limit_bytes` long once decompressed. Without `verify_tls` any certificate of an https address
    will do. `close` when it is no longer wanted.
    """

    def __init__(self, url: URL, limit_bytes: int = PAGE_LIMIT_BYTES, *, verify_tls: bool = True) -> None:
        if url.host is None or url.port is None:
            raise ValueError("a page has a host and a port")
        self._address = url.host, url.port
        self._host = url.host_port_subcomponent
        self._limit_bytes = limit_bytes
        self._tls = _tls(verify_tls) if url.scheme == "https" else None
        self._connection: _Connection | None = None

    async def get(self, target: str) -> Page:
        """The page at `target`, a path with its query.

        Raises FetchError with the cause in plain words; Unreachable and Rejected are the kinds a caller treats apart.
        It may be cancelled.
        """
        request = _REQUEST.format(target=target, host=self._host).encode()
        connection = self._connection
        if connection is not None and connection.idle:
            try:
                return await connection.get(request)
            except _Stale:
                pass
        self._connection = connection = await self._connected()
        try:
            return await connection.get(request)
        except _Stale:
            raise FetchError(_CLOSED) from None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def _connected(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: _Connection(self._limit_bytes), *self._address, ssl=self._tls
            )
        except socket.gaierror as error:
            raise Unreachable("host name not found") from error
        except ssl.SSLError as error:
            raise FetchError("TLS handshake failed") from error
        except OSError as error:
            raise Unreachable(_CONNECT_CAUSES.get(error.errno or 0, "connection failed")) from error
        return connection


@functools.cache  # Reading the trusted certificates takes milliseconds, and there may be a thousand servers.
def _tls(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Stale(Exception):
    """Nothing came: the server had closed the connection, as it may between two pages."""


class _Connection(asyncio.Protocol):
    """One connection; `idle` while a page may be asked for."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._done: asyncio.Future[Page] | None = None

    @property
    def idle(self) -> bool:
        return self._transport is not None and self._done is None

    async def get(self, request: bytes) -> Page:
        """The answer to `request`. Raises FetchError, or `_Stale` where the connection ends before there is any."""
        assert self._transport is not None  # noqa: S101 # it is idle
        self._answer = Answer(self._limit_bytes)
        self._done = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._done
        except asyncio.CancelledError:
            # What is still to come belongs to nobody.
            self.abort()
            raise
        finally:
            self._done = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        answer, done = self._answer, self._done
        if answer is None or done is None:
            # Nothing was asked.
            self.abort()
            return
        answer.feed(data)
        if answer.error is not None or answer.ended:
            self._settle(answer, done)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        answer, done = self._answer, self._done
        if answer is None:
            return
        answer.end(cleanly=exc is None)
        if done is None or done.done():
            return
        if answer.received:
            self._settle(answer, done)
        else:
            done.set_exception(_Stale())

    def _settle(self, answer: "Answer", done: "asyncio.Future[Page]") -> None:
        self._answer = None
        if answer.error is not None or not answer.keep_alive:
            self.abort()
        if done.done():
            return
        if answer.error is not None:
            done.set_exception(answer.error)
        else:
            done.set_result(answer.page())


class _Inflater(Protocol):
    """What `zlib` decompresses with."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Answer:
    """What has come of one answer; names of its methods are those that the HTTP parser calls."""

    def __init__(self, limit_bytes: int) -> None:
        self._chunks: list[bytes] = []
        self.error: FetchError | None = None
        self.ended = False
        self.whole = False
        self.keep_alive = False
        self.received = 0
        self._limit_bytes = limit_bytes
        self._size = 0
        self._raw_size = 0
        self._in_body = False
        self._inflate: _Inflater | None = None
        # The parser refers back to this object: unless it is let go, both stay until the garbage collector comes by.
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take in the next bytes from the connection, until there is an error or the answer has ended."""
        assert self._parser is not None  # noqa: S101 # nothing is fed after the end
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail(_TRUNCATED if self._in_body else _NO_HTTP)
        if self.received - self._raw_size > _BESIDE_BODY_BYTES + _FRAMING_RATIO * self._raw_size:
            self._fail(_NO_HTTP)
        if self.ended or self.error is not None:
            self._parser = None

    def page(self) -> Page:
        """The page that came, once it has `ended`."""
        return Page(b"".join(self._chunks), self.whole)

    def end(self, *, cleanly: bool) -> None:
        """The connection has ended."""
        self._parser = None
        if self.ended:
            return
        if not self._in_body:
            self._fail(_CLOSED)
        elif self.whole or not cleanly:
            self._fail(_TRUNCATED)
        else:
            self._finish()

    def on_message_begin(self) -> None:
        """An answer begins; another one, if this has ended, which nobody asked for."""
        if self.ended:
            self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; afterwards trailers as well, which say nothing that matters."""
        if self._in_body:
            return
        name, value = name.lower(), value.strip().lower()
        if name == b"content-length":
            self.whole = True
            if value.isdigit() and int(value) > self._limit_bytes:
                self._too_large()
        elif name == b"transfer-encoding" and value.endswith(b"chunked"):
            self.whole = True
        elif name == b"content-encoding" and value != b"identity":
            self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB)
            if value not in _COMPRESSED:
                self._fail("page in an encoding that was not asked for")

    def on_headers_complete(self) -> None:
        """The head is there."""
        assert self._parser is not None  # noqa: S101 # it calls
        status = self._parser.get_status_code()
        if status < 200 or self.ended:
            return
        self._in_body = True
        if 300 <= status < 400:
            self._fail(f"HTTP {status}, redirects are not followed")
        elif 400 <= status < 500:
            self._fail(f"HTTP {status}", Rejected)
        elif status != 200:
            self._fail(f"HTTP {status}")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._raw_size += len(body)
        if self.error is not None or self.ended:
            return
        if self._inflate is not None:
            try:
                body = self._inflate.decompress(body, self._limit_bytes - self._size + 1)
            except zlib.error:
                self._fail(_TRUNCATED)
                return
        self._size += len(body)
        if self._size > self._limit_bytes:
            self._too_large()
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The body is there, or an interim answer, of which nothing counts."""
        if self.ended:
            return
        if self._in_body:
            # The parser knows it only within this call.
            self.keep_alive = self._parser is not None and self._parser.should_keep_alive()
            self._finish()
        else:
            self.whole, self._inflate = False, None

    def _finish(self) -> None:
        if self._inflate is not None and not self._inflate.eof:
            self._fail(_TRUNCATED)
        self.ended = True

    def _too_large(self) -> None:
        self._fail(f"page larger than {self._limit_bytes / 1048576:g} MiB")

    def _fail(self, cause: str, kind: type[FetchError] = FetchError) -> None:
        """Note why there is no page. What is found first counts."""
        if self.error is None:
            self.error = kind(cause)
