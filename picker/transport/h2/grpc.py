"""gRPC over HTTP/2: the header blocks of answers, and what is refused (gRPC's PROTOCOL-HTTP2)."""

from functools import lru_cache
from typing import Final
from urllib.parse import quote

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


def refuse(compressed: bool, max_bytes: int) -> None:
    """Raise `BadMessage` for a message that is compressed, or else larger than `max_bytes`."""
    if compressed:
        raise BadMessage("UNIMPLEMENTED", "messages are taken uncompressed")
    raise BadMessage("RESOURCE_EXHAUSTED", f"a message is larger than {max_bytes} bytes")
