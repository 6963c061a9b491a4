"""Request bodies in a content encoding, decoded for scheduling; they pass on as they came.

A few bytes can decode to gigabytes. So no step makes more than there is room for, whatever the body says of itself.
"""

import io
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import zstandard

from picker.errors import RequestError
from picker.request import Reason

_TOO_MANY: Final = "content-encoding: the body is encoded more than twice"
_UNKNOWN: Final = "content-encoding: only gzip, deflate and zstd are read"
_MOST_ENCODINGS: Final = 2
# Long prompts and images do not shrink to less than this share of themselves; what claims to has to be small.
_MOST_GROWTH: Final = 16
_SMALL_BYTES: Final = 4 << 20
_GZIP: Final = 16 + zlib.MAX_WBITS
# Each member of a gzip file costs a decoder of its own.
_MOST_MEMBERS: Final = 64
# The largest window that senders may use for content (RFC 9659).
_LARGEST_WINDOW_BYTES: Final = 8 << 20


def decoded(body: bytes, encoding: str | None, limit_bytes: int) -> bytes | None:
    """What `body` is without its content encodings; None: it has none.

    Raises RequestError (415) for encodings that are not read, (400) for a body that is not in its encoding, and (413)
    for one that is longer than `limit_bytes`, or far longer than its encoded form lets expect.
    """
    if not encoding:
        return None
    # Listed in the order in which they were applied (RFC 9110, section 8.4).
    names = [name for part in encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if not names:
        return None
    decoders = [_DECODERS.get(name) for name in names]
    if None in decoders:
        raise _unsupported(_UNKNOWN)
    if len(decoders) > _MOST_ENCODINGS:
        raise _unsupported(_TOO_MANY)
    room = min(limit_bytes, max(_SMALL_BYTES, _MOST_GROWTH * len(body)))
    for decode in reversed(decoders):
        if decode is None:
            continue
        try:
            body = decode(body, room)
        except (zlib.error, zstandard.ZstdError, EOFError):
            message = "the body is not in the encoding that content-encoding names"
            raise RequestError(message, reason=Reason.INVALID_ENCODING) from None
        if len(body) > room:
            what = f"{limit_bytes} bytes" if room == limit_bytes else f"its encoded form lets expect ({room} bytes)"
            message = f"the decoded request body is larger than {what}"
            raise RequestError(message, "PayloadTooLarge", 413, Reason.BODY_TOO_LARGE)
    return body


def _unsupported(message: str) -> RequestError:
    return RequestError(message, "UnsupportedMediaType", 415, Reason.UNSUPPORTED_ENCODING)


def _gzip(body: bytes, room: int) -> bytes:
    """The content of a gzip file's members, one after another; at most a byte more than `room`."""
    found: list[bytes] = []
    left = room + 1
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        content = member.decompress(body, left)
        found.append(content)
        left -= len(content)
        body = member.unused_data.lstrip(b"\0")
        if left <= 0:
            return b"".join(found)
        if not member.eof:
            raise EOFError
        if not body:
            return b"".join(found)
    raise EOFError


def _deflate(body: bytes, room: int) -> bytes:
    """A zlib stream, as the name means, or the bare one that some senders take it to mean."""
    wrapped = len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0
    stream = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
    content = stream.decompress(body, room + 1)
    if len(content) <= room and not stream.eof:
        raise EOFError
    return content


def _zstd(body: bytes, room: int) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW_BYTES)
    with decoder.stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
        return reader.read(room + 1)


_DECODERS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = MappingProxyType(
    {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate, "zstd": _zstd}
)
