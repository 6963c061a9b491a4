"""The replies that every request gets, as bytes of protobuf's encoding, without objects in between.

Field numbers are those of `picker/proto/ext_proc.proto`; Envoy's own stubs read in tests what is written here.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from picker.ext_proc.messages import BodyReply, HeadersReply, ImmediateReply, LbMetadata, Side

_LENGTH_DELIMITED: Final = 2
_END: Final = b"\x10\x01"
_OVERWRITE: Final = b"\x18\x02"
# A response has one header for each cookie, and the server's own ones stay (RFC 6265, section 3). Envoy takes the first
# action of its enumeration, which is to append, for no action at all, and then overwrites: the older field says it.
_APPENDED: Final = "set-cookie"
_APPEND: Final = b"\x12\x02\x08\x01"
_CLEAR_ROUTE_CACHE: Final = b"\x28\x01"
_REMEMBERED: Final = 4_096
_LENGTHS_REMEMBERED: Final = 64

OWN_NAMESPACE: Final = "infscale"
"""The metadata namespace of what is infscale's own."""
REVISION_KEY: Final = "revision"


def varint(value: int) -> bytes:
    """A number of protobuf's encoding."""
    return _SHORT[value] if value < len(_SHORT) else _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SHORT: Final = tuple(map(_varint, range(2_048)))
_TAGS: Final = tuple([bytes((number << 3 | _LENGTH_DELIMITED,)) for number in range(16)])


def _field(number: int, payload: bytes) -> bytes:
    return b"".join((_TAGS[number], varint(len(payload)), payload))


def headers_reply(reply: HeadersReply, namespace: str) -> bytes:
    """A ProcessingResponse that answers headers; metadata go into `namespace`."""
    if not (reply.set_headers or reply.remove_headers or reply.clear_route_cache or reply.lb_metadata):
        return _UNCHANGED[reply.side]
    mutation = b"".join([_option(key, value) for key, value in reply.set_headers])
    if reply.remove_headers:
        mutation += b"".join([_field(2, name.encode()) for name in reply.remove_headers])
    common = _field(2, mutation) if mutation else b""
    if reply.clear_route_cache:
        common += _CLEAR_ROUTE_CACHE
    message = _field(1 if reply.side == "request" else 2, _field(1, common))
    if reply.lb_metadata:
        message += _metadata(namespace, reply.lb_metadata)
    if reply.revision:
        # A message is the sum of its fields: a second one adds its entries to those of the first.
        revision = reply.revision.encode()
        message += _revision_head(len(revision)) + revision
    return message


_UNCHANGED: Final = {"request": _field(1, _field(1, b"")), "response": _field(2, _field(1, b""))}
UNCHANGED_BODY: Final = {"request": _field(3, _field(1, b"")), "response": _field(4, _field(1, b""))}
"""A ProcessingResponse that lets a piece of a body pass, and one that lets trailers pass."""
TRAILERS: Final = {"request": _field(5, b""), "response": _field(6, b"")}


def body_reply(reply: BodyReply) -> bytes:
    """A ProcessingResponse with a piece of a streamed body; the piece itself is copied once."""
    body = reply.body
    return b"".join(
        (_body_head(reply.side, len(body), reply.end_of_stream), body, _END if reply.end_of_stream else b"")
    )


@lru_cache(maxsize=_REMEMBERED)
def _body_head(side: Side, size: int, end_of_stream: bool) -> bytes:
    """What stands in front of a piece of a body of so many bytes."""
    head = b"\x0a" + varint(size) if size else b""
    size += len(head) + (len(_END) if end_of_stream else 0)
    # From the inside out: StreamedBodyResponse, BodyMutation, CommonResponse, BodyResponse, ProcessingResponse.
    for number in (3, 3, 1, 3 if side == "request" else 4):
        prefix = _TAGS[number] + varint(size)
        head = prefix + head
        size += len(prefix)
    return head


@lru_cache(maxsize=_REMEMBERED)
def _option(key: str, value: bytes) -> bytes:
    """One header that is set, as a field of its mutation."""
    raw = _field(3, value) if value else b""
    action = _APPEND if key == _APPENDED else _OVERWRITE
    return _field(1, _field(1, _field(1, key.encode()) + raw) + action)


def immediate_reply(reply: ImmediateReply) -> bytes:
    """A ProcessingResponse that answers the client; the status is a number within a message of its own."""
    headers = b"".join([_option(key, content) for key, content in reply.headers])
    texts = ((2, headers), (3, reply.body), (5, reply.details.encode()))
    parts = [_field(number, text) for number, text in texts if text]
    return _field(7, _field(1, b"\x08" + varint(reply.status)) + b"".join(parts))


def _metadata(namespace: str, fields: LbMetadata) -> bytes:
    """Dynamic metadata, as a field of the response; most have one entry, the destination."""
    if len(fields) == 1:
        ((key, value),) = fields.items()
        if isinstance(value, str):
            return _one_text(namespace, key, value)
    return _field(8, _entry(namespace, _field(5, _struct(fields))))


@lru_cache(maxsize=_REMEMBERED)
def _one_text(namespace: str, key: str, value: str) -> bytes:
    return _field(8, _entry(namespace, _field(5, _text_entry(key, value))))


@lru_cache(maxsize=_LENGTHS_REMEMBERED)
def _revision_head(size: int) -> bytes:
    """What stands in front of a revision of so many bytes, which is the last thing in its field.

    The revision itself is hardly ever the same twice: each decision books something, and so makes another.
    """
    whole = _field(8, _entry(OWN_NAMESPACE, _field(5, _text_entry(REVISION_KEY, "0" * size))))
    return whole[: len(whole) - size]


def numbers_metadata(numbers: Mapping[str, Mapping[str, float]]) -> bytes:
    """Dynamic metadata of numbers, by namespace and name, as a field of the response."""
    return _field(8, b"".join([_entry(name, _field(5, _numbers(each))) for name, each in numbers.items()]))


def _numbers(numbers: Mapping[str, float]) -> bytes:
    return b"".join([_entry(name, b"\x11" + struct.pack("<d", number)) for name, number in numbers.items()])


def _struct(fields: LbMetadata) -> bytes:
    parts: list[bytes] = []
    for key, value in fields.items():
        if isinstance(value, str):
            parts.append(_text_entry(key, value))
        else:
            parts.append(_entry(key, _field(5, _numbers(value))))
    return b"".join(parts)


def _text_entry(key: str, value: str) -> bytes:
    return _entry(key, _field(3, value.encode()))


def _entry(key: str, value: bytes) -> bytes:
    """One entry of a Struct's fields."""
    return _field(1, _field(1, key.encode()) + _field(2, value))
