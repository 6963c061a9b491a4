"""The messages that every request brings, read from protobuf's encoding without objects in between.

It reads what gateways write: the event first and its fields once each, header values as bytes. Whatever else
protobuf's encoding allows is not read here (None) and left to the general decoder, so that both always agree.
Field numbers are those of `picker/proto/ext_proc.proto`.
"""

from typing import Final

from infscale.framing.pieces import Pieces
from picker.ext_proc.messages import Event, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders
from picker.request import Headers

_REQUEST_HEADERS: Final = 0x12
_RESPONSE_HEADERS: Final = 0x1A
_REQUEST_BODY: Final = 0x22
_RESPONSE_BODY: Final = 0x2A
_FIRST_MESSAGE: Final = 0x0A
_HEADERS_END_OF_STREAM: Final = 0x18
_BODY_END_OF_STREAM: Final = 0x10
_KEY: Final = 0x0A
_RAW_VALUE: Final = 0x1A
_MAX_SHIFT: Final = 28
_LAST_PIECE: Final = bytes((_BODY_END_OF_STREAM, 1))
_NAMES_REMEMBERED: Final = 1_024
_LONGEST_REMEMBERED: Final = 128
_NAMES: Final[dict[bytes, str]] = {}


class _OtherEncodingError(Exception):
    """Not as gateways write it."""


def read_event(data: bytes) -> tuple[Event, int] | None:
    """The event at the beginning of `data` and the place behind it; None: the general decoder has to look."""
    try:
        kind = data[0]
        size, place = _size(data, 1)
        stop = place + size
        if stop > len(data):
            return None
        if kind == _REQUEST_BODY:
            return RequestBody(*_body(data, place, stop)), stop
        if kind == _RESPONSE_BODY:
            return ResponseBody(*_body(data, place, stop)), stop
        if kind == _REQUEST_HEADERS:
            return RequestHeaders(*_headers(data, place, stop)), stop
        if kind == _RESPONSE_HEADERS:
            return ResponseHeaders(*_headers(data, place, stop)), stop
    except (_OtherEncodingError, IndexError, UnicodeDecodeError):
        pass
    return None


def without_request_body(message: Pieces) -> tuple[list[bytes], bytes] | None:
    """The pieces of the body that stands first in a long message of a request's body, and the message without them.

    None: it is another message, or not as gateways write it.
    """
    parts = message.apart()
    try:
        first = parts[0]
        if first[0] != _REQUEST_BODY:
            return None
        size, place = _size(first, 1)
        behind_event = place + size
        if first[place] != _FIRST_MESSAGE:
            return None
        size, start = _size(first, place + 1)
    except (_OtherEncodingError, IndexError):
        return None
    stop = start + size
    ending = behind_event - stop
    if ending not in (0, len(_LAST_PIECE)) or behind_event > message.size_bytes:
        return None
    body: list[bytes] = []
    rest = bytes((_REQUEST_BODY, ending))
    at = 0
    for part in parts:
        behind = at + len(part)
        if at < stop and behind > start:
            body.append(part[max(0, start - at) : stop - at] if at < start or behind > stop else part)
        if behind > stop:
            rest += part[max(0, stop - at) :]
        at = behind
    return (body, rest) if rest[2:].startswith(_LAST_PIECE[:ending]) else None


def _size(data: bytes, place: int) -> tuple[int, int]:
    """The length at `place`, and the place behind it."""
    value = data[place]
    if value < 0x80:
        return value, place + 1
    value &= 0x7F
    shift = 7
    while shift <= _MAX_SHIFT:
        place += 1
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise _OtherEncodingError


def _ended(data: bytes, tag: int, place: int, stop: int) -> bool:
    """Whether a message that goes on at `place` says that nothing follows it."""
    if place == stop:
        return False
    if stop - place == 2 and data[place] == tag and data[place + 1] == 1:
        return True
    raise _OtherEncodingError


def _body(data: bytes, place: int, stop: int) -> tuple[bytes, bool]:
    body = b""
    if place < stop and data[place] == _FIRST_MESSAGE:
        size, place = _size(data, place + 1)
        body = data[place : place + size]
        place += size
    return body, _ended(data, _BODY_END_OF_STREAM, place, stop)


def _headers(data: bytes, place: int, stop: int) -> tuple[Headers, bool]:
    if data[place] != _FIRST_MESSAGE or place == stop:
        raise _OtherEncodingError
    size, place = _size(data, place + 1)
    end = place + size
    if end > stop:
        raise _OtherEncodingError
    names: list[str] = []
    values: list[bytes] = []
    known = _NAMES
    while place < end:
        if data[place] != _FIRST_MESSAGE:
            raise _OtherEncodingError
        size = data[place + 1]
        if size < 0x80 and data[place + 2] == _KEY:
            # Most fields are so short that each length is one byte; written out, for there are a dozen in a message.
            behind = place + 2 + size
            value = place + 4 + data[place + 3]
            if value < behind and data[value] == _RAW_VALUE and value + 2 + data[value + 1] == behind:
                raw = data[place + 4 : value]
                names.append(known.get(raw) or _name(raw))
                values.append(data[value + 2 : behind])
                place = behind
                continue
        size, place = _size(data, place + 1)
        name, content = _field(data, place, place + size)
        names.append(name)
        values.append(content)
        place += size
    if place != end:
        raise _OtherEncodingError
    return Headers.of(names, values), _ended(data, _HEADERS_END_OF_STREAM, place, stop)


def _field(data: bytes, place: int, stop: int) -> tuple[str, bytes]:
    """One header field, its value present: an empty one is not written."""
    if data[place] != _KEY:
        raise _OtherEncodingError
    size, place = _size(data, place + 1)
    name = _name(data[place : place + size])
    place += size
    if place == stop:
        return name, b""
    if data[place] != _RAW_VALUE:
        raise _OtherEncodingError
    size, place = _size(data, place + 1)
    if place + size != stop:
        raise _OtherEncodingError
    return name, data[place:stop]


def _name(raw: bytes) -> str:
    """The name in `raw`, remembered: most are the same in every message."""
    name = raw.decode().lower()
    if len(raw) <= _LONGEST_REMEMBERED:
        if len(_NAMES) >= _NAMES_REMEMBERED:
            _NAMES.clear()
        _NAMES[raw] = name
    return name
