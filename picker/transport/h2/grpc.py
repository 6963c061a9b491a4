"""gRPC over HTTP/2: messages in streams of bytes, and the header blocks of answers (gRPC's PROTOCOL-HTTP2)."""

from functools import lru_cache
from typing import Final
from urllib.parse import quote

from picker.pieces import Pieces
from picker.transport.h2.hpack import Fields, literal

STATUS: Final = {
    "OK": 0,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}
"""Numbers of the status names in use."""

_PREFIX_BYTES: Final = 5
_CONTENT_TYPE: Final = b"application/grpc"
_SAFE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

ANSWER: Final = literal(b":status", b"200") + literal(b"content-type", _CONTENT_TYPE)
"""The header block of every answer."""


class BadMessage(Exception):
    """A stream holds no message this server takes; `status` names the gRPC status that says so."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


def trailers(status: str, message: str = "") -> bytes:
    """The block of trailers that ends an answer."""
    block = literal(b"grpc-status", b"%d" % STATUS[status])
    if message:
        block += literal(b"grpc-message", quote(message, safe=_SAFE).encode())
    return block


DONE: Final = trailers("OK")
"""The trailers of an answer that is complete."""


def prefix(message: bytes) -> bytes:
    """What stands in front of a message: a flag of 0, for it is not compressed, and its length in four bytes."""
    return len(message).to_bytes(_PREFIX_BYTES, "big")


def framed(message: bytes) -> bytes:
    """A message with its prefix."""
    return prefix(message) + message


def plain_answer(status: int, text: str) -> tuple[bytes, bytes]:
    """Header block and body for a request that is no gRPC call."""
    body = text.encode()
    block = literal(b":status", b"%d" % status) + literal(b"content-type", b"text/plain; charset=utf-8")
    return block + literal(b"content-length", b"%d" % len(body)), body


@lru_cache(maxsize=64)
def method_of(fields: Fields) -> str | None:
    """The path of a gRPC call; None for a request that is none."""
    path, method, content_type = "", b"", b""
    for name, value in fields:
        if name == b":path":
            path = value.decode("ascii", "replace")
        elif name == b":method":
            method = value
        elif name == b"content-type":
            content_type = value
    kind, _, suffix = content_type.partition(b"+")
    is_grpc = kind.partition(b";")[0] == _CONTENT_TYPE and suffix in {b"", b"proto"}
    return path if method == b"POST" and is_grpc else None


class Messages:
    """Cuts the bytes of one call into messages of at most `max_bytes`."""

    __slots__ = ("_head", "_max_bytes", "_missing_bytes", "_pieces")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # What came of a prefix, and of the message behind one: how much of that is still to come.
        self._head = b""
        self._pieces: Pieces | None = None
        self._missing_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take in the next bytes; the messages that are whole now. Raises `BadMessage`."""
        messages: list[bytes] = []
        place, stop = 0, len(data)
        pieces = self._pieces
        if pieces is not None:
            place = self._missing_bytes
            if place > stop:
                pieces.add(data)
                self._missing_bytes = place - stop
                return messages
            pieces.add(data if place == stop else data[:place])
            messages.append(pieces.take())
            self._pieces = None
        elif self._head:
            data = self._head + data
            stop = len(data)
            self._head = b""
        while stop - place >= _PREFIX_BYTES:
            size = data[place + 1] << 24 | data[place + 2] << 16 | data[place + 3] << 8 | data[place + 4]
            self._check(data[place], size)
            place += _PREFIX_BYTES
            end = place + size
            if end > stop:
                self._pieces = Pieces()
                self._pieces.add(data[place:])
                self._missing_bytes = end - stop
                return messages
            messages.append(data[place:end])
            place = end
        self._head = data[place:]
        return messages

    @property
    def whole(self) -> bool:
        """Whether no message has begun and not ended."""
        return self._pieces is None and not self._head

    @property
    def held_bytes(self) -> int:
        """What is kept of a message that has begun."""
        return len(self._head) if self._pieces is None else self._pieces.size_bytes

    def clear(self) -> None:
        """Keep nothing."""
        self._head = b""
        self._pieces = None

    def _check(self, flag: int, size: int) -> None:
        if flag:
            raise BadMessage("UNIMPLEMENTED", "messages are taken uncompressed")
        if size > self._max_bytes:
            raise BadMessage("RESOURCE_EXHAUSTED", f"a message is larger than {self._max_bytes} bytes")
