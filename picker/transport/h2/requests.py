"""What a well-formed request is (RFC 9113, section 8)."""

import re
from collections.abc import Iterable
from typing import Final

from h2.errors import ErrorCodes

from infscale.frozen_values import value as frozen_value
from picker.transport.h2.errors import StreamFault
from picker.transport.h2.hpack import Fields

_REQUIRED: Final = (b":method", b":scheme", b":path")
_KNOWN: Final = frozenset((*_REQUIRED, b":authority"))
_OF_CONNECTIONS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
# What a call is told of its head, and no more of each than any method here has.
_TOLD: Final = frozenset((b":method", b":path", b"content-type"))
_LONGEST_TOLD: Final = 256
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]|^[ \t]|[ \t]$")


@frozen_value
class Head:
    """What is of use in a request's header block: the fields calls are told of, and the announced length, if any."""

    fields: Fields
    length: int | None


def checked(stream: int, fields: Fields) -> Head:
    """What is of use in a header block. Raises `StreamFault` for a malformed one."""
    pseudo: dict[bytes, bytes] = {}
    regular = False
    length: int | None = None
    for name, value in fields:
        if name[:1] == b":":
            if regular or name in pseudo or name not in _KNOWN:
                raise _malformed(stream, "pseudo-header fields are misplaced, repeated or unknown")
            pseudo[name] = value
            continue
        regular = True
        _check_field(stream, name, value)
        if name == b"content-length":
            length = _length(stream, value, length)
    if any(not pseudo.get(name) for name in _REQUIRED):
        raise _malformed(stream, "a request names its method, scheme and path")
    told = tuple([(name, value[:_LONGEST_TOLD]) for name, value in fields if name in _TOLD])
    return Head(told, length)


def check_trailers(stream: int, fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises `StreamFault` for malformed trailers."""
    for name, value in fields:
        if name[:1] == b":":
            raise _malformed(stream, "trailers hold no pseudo-header fields")
        _check_field(stream, name, value)


def _check_field(stream: int, name: bytes, value: bytes) -> None:
    if _NAME.fullmatch(name) is None or name in _OF_CONNECTIONS or _BAD_VALUE.search(value) is not None:
        raise _malformed(stream, "a header field has a name or value that none may have here")
    if name == b"te" and value != b"trailers":
        raise _malformed(stream, "TE says something else than trailers")


def _length(stream: int, value: bytes, before: int | None) -> int:
    if not value.isdigit() or len(value) > 18 or (before is not None and before != int(value)):
        raise _malformed(stream, "the content length is no number, or there are two")
    return int(value)


def _malformed(stream: int, why: str) -> StreamFault:
    return StreamFault(stream, ErrorCodes.PROTOCOL_ERROR, why)
