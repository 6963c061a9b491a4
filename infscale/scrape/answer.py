"""One HTTP answer as it comes in, byte by byte, and what is wrong with it.

The parser is httptools'. Limits on everything a server controls are here: it may be broken or belong to others.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from infscale.periodic import Absent, Failing, FetchError, Rejected, Withheld

CLOSED = "connection closed by the server"
_NO_HTTP = "the server does not speak HTTP"
_FIRST_FRAMES = (b"\x04", b"\x07")
_TRUNCATED = "page truncated"
_REFUSALS: Mapping[int, type[Rejected]] = {**dict.fromkeys((401, 403, 408, 429), Withheld), 404: Absent, 410: Absent}
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_COMPRESSED = frozenset({b"gzip", b"x-gzip", b"deflate"})
_BESIDE_BODY_BYTES = 64 * 1024
"""Head, trailers and framing: at most this, and so many bytes for each of the body, as chunks of one byte have."""
_FRAMING_RATIO = 8
# Each piece of a body costs as much as many bytes do: servers write lines, or more.
_PIECES = 4096
_PIECE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it arrived; `whole` says whether the transport vouches that it ended where the server meant it to."""

    body: bytes
    whole: bool


def _no_http(begins: bytes) -> str:
    """What to say of a server that answers like this, where its first bytes are known."""
    # A frame of HTTP/2 begins with its length in three bytes and its type; servers begin with settings, or say goodbye.
    if begins[:1] == b"\0" and begins[3:4] in _FIRST_FRAMES:
        return "the server speaks HTTP/2 alone, which its pool's appProtocol (kubernetes.io/h2c) does not say"
    return _NO_HTTP


class Room:
    """How much memory the pages have that are coming in at the same time; owned by what fetches them.

    One of up to `small_bytes` always has room: a server that sends a large page slowly must not keep others out.
    """

    __slots__ = ("_small_bytes", "held_bytes", "limit_bytes")

    def __init__(self, limit_bytes: int = 64 << 20, small_bytes: int = 1 << 20) -> None:
        self.limit_bytes = limit_bytes
        self._small_bytes = small_bytes
        self.held_bytes = 0

    def has(self, page_bytes: int) -> bool:
        """Whether a page may grow to so many bytes."""
        return page_bytes <= self._small_bytes or self.held_bytes <= self.limit_bytes


class _Inflater(Protocol):
    """What `zlib` decompresses with."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Answer:
    """What has come of one answer; names of its methods are those that the HTTP parser calls.

    Of one that `parses` not, another has cut out head and body and hands them in.
    """

    def __init__(self, limit_bytes: int, room: Room | None = None, *, parses: bool = True) -> None:
        self._room = room or Room(limit_bytes)
        # One piece of memory: a server may send its page in a million pieces.
        self._body = bytearray()
        self._pieces = 0
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
        self._parser: HttpResponseParser | None = HttpResponseParser(self) if parses else None

    def feed(self, data: bytes) -> None:
        """Take in the next bytes from the connection, until there is an error or the answer has ended."""
        assert self._parser is not None  # noqa: S101 # nothing is fed after the end
        self.received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if self.ended:
                # What comes behind a page does not make it worse.
                self.keep_alive = False
            else:
                self.fail(_TRUNCATED if self._in_body else _no_http(data if self.received == len(data) else b""))
        if not self.ended and self.received - self._raw_size > _BESIDE_BODY_BYTES + _FRAMING_RATIO * self._raw_size:
            self.fail(_NO_HTTP)
        if self.ended or self.error is not None:
            self._parser = None

    @property
    def began(self) -> bool:
        """Whether its head is there."""
        return self._in_body

    @property
    def body_bytes(self) -> int:
        """How much of its body came, as it was sent."""
        return self._raw_size

    def drop(self) -> None:
        """Let go of what came; nothing more is taken in."""
        self._room.held_bytes -= len(self._body)
        self._body = bytearray()
        self._parser = None
        if not self.ended:
            self.fail(CLOSED)

    def page(self) -> Page:
        """The page that came, once it has `ended`."""
        return Page(bytes(self._body), self.whole)

    def end(self, *, cleanly: bool) -> None:
        """The connection has ended."""
        self._parser = None
        if self.ended:
            return
        if not self._in_body:
            self.fail(CLOSED)
        elif self.whole or not cleanly:
            self.fail(_TRUNCATED)
        else:
            self.finish()

    def on_message_begin(self) -> None:
        """An answer begins; where this one has ended, it is one that was not asked for."""
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
                self.fail("page in an encoding that was not asked for")

    def on_headers_complete(self) -> None:
        """The head is there."""
        assert self._parser is not None  # noqa: S101 # it calls
        self.head(self._parser.get_status_code())

    def head(self, status: int) -> None:
        """The head is there, with this status; its headers have come before."""
        if status < 200 or self.ended:
            return
        self._in_body = True
        if 300 <= status < 400:
            self.fail(f"HTTP {status}, redirects are not followed")
        elif 400 <= status < 500:
            self.fail(f"HTTP {status}", _REFUSALS.get(status, Rejected))
        elif status != 200:
            self.fail(f"HTTP {status}", Failing if status >= 500 else FetchError)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._raw_size += len(body)
        self._pieces += 1
        if self.error is not None or self.ended:
            return
        if self._inflate is not None and self._raw_size <= self._limit_bytes:
            body = self._inflated(self._inflate, body)
        self._size += len(body)
        if max(self._size, self._raw_size) > self._limit_bytes:
            self._too_large()
        elif self._pieces > _PIECES + self._raw_size // _PIECE_BYTES:
            self.fail("page in too many pieces")
        elif not self._room.has(self._size):
            self.fail(f"pages that come in at the same time exceed {self._room.limit_bytes / 1048576:g} MiB")
        else:
            self._body += body
            self._room.held_bytes += len(body)

    def on_message_complete(self) -> None:
        """The body is there, or an interim answer, of which nothing counts."""
        if self.ended:
            return
        if self._in_body:
            # The parser knows it only within this call.
            self.keep_alive = self._parser is not None and self._parser.should_keep_alive()
            self.finish()
        else:
            self.whole, self._inflate = False, None

    def _inflated(self, inflate: _Inflater, body: bytes) -> bytes:
        """What `body` was compressed from, as far as the limit reaches. Where it is nothing of the kind, it fails."""
        # A second stream behind the first would have to be read as well, or the page would be cut without a word.
        broken, plain = inflate.eof, b""
        if not broken:
            try:
                plain = inflate.decompress(body, self._limit_bytes - self._size + 1)
            except zlib.error:
                broken = True
        if broken or inflate.unused_data:
            self.fail(_TRUNCATED)
        return plain

    def finish(self) -> None:
        """The body is there."""
        if self._inflate is not None and not self._inflate.eof:
            self.fail(_TRUNCATED)
        self.ended = True

    def _too_large(self) -> None:
        self.fail(f"page larger than {self._limit_bytes / 1048576:g} MiB")

    def fail(self, cause: str, kind: type[FetchError] = FetchError) -> None:
        """Note why there is no page. What is found first counts."""
        if self.error is None:
            self.error = kind(cause)
