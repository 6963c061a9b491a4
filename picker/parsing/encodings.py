"""Request bodies in a content encoding, decoded for scheduling; they pass on as they came.

A few bytes can decode to gigabytes. So no step makes more than 1 MiB, whatever the body says of itself, and no more is
made than there is room for.
"""

import io
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
_STEP_BYTES: Final = 1 << 20

Decoder = Callable[[bytes], Iterator[bytes]]


class Decoding:
    """A body on its way out of its content encodings: `content` is what it is without them once `steps` has ended."""

    def __init__(self, body: bytes, decoders: Sequence[Decoder], limit_bytes: int) -> None:
        self._decoders = decoders
        self._limit_bytes = limit_bytes
        self._room = min(limit_bytes, max(_SMALL_BYTES, _MOST_GROWTH * len(body)))
        self.content = body

    def steps(self) -> Iterator[int]:
        """Decode; each step takes some milliseconds, and says how many bytes there are of the encoding at hand.

        Raises RequestError (400) for a body that is not in its encoding, and (413) for one that is longer than the
        limit, or far longer than its encoded form lets expect.
        """
        for decoder in self._decoders:
            parts: list[bytes] = []
            try:
                yield from self._pass(decoder(self.content), parts)
            except (zlib.error, zstandard.ZstdError, EOFError):
                message = "the body is not in the encoding that content-encoding names"
                raise RequestError(message, reason=Reason.INVALID_ENCODING) from None
            self.content = b"".join(parts)

    def _pass(self, content: Iterator[bytes], parts: list[bytes]) -> Iterator[int]:
        """Collect what comes out of a decoder."""
        size = 0
        for part in content:
            parts.append(part)
            size += len(part)
            if size > self._room:
                raise self._too_large()
            yield size

    def _too_large(self) -> RequestError:
        limit, room = self._limit_bytes, self._room
        what = f"{limit} bytes" if room == limit else f"its encoded form lets expect ({room} bytes)"
        message = f"the decoded request body is larger than {what}"
        return RequestError(message, "PayloadTooLarge", Reason.BODY_TOO_LARGE)


def decoding(body: bytes, encoding: str | None, limit_bytes: int) -> Decoding | None:
    """How `body` comes out of its content encodings; None: it has none. Raises RequestError (415) for unknown ones."""
    if not encoding:
        return None
    # Listed in the order in which they were applied (RFC 9110, section 8.4).
    names = [name for part in encoding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    decoders = [_DECODERS[name] for name in reversed(names) if name in _DECODERS]
    if len(decoders) < len(names):
        raise _unsupported(_UNKNOWN)
    if len(decoders) > _MOST_ENCODINGS:
        raise _unsupported(_TOO_MANY)
    return Decoding(body, decoders, limit_bytes) if decoders else None


def _unsupported(message: str) -> RequestError:
    return RequestError(message, "UnsupportedMediaType", Reason.UNSUPPORTED_ENCODING)


def _gzip(body: bytes) -> Iterator[bytes]:
    """The content of a gzip file's members, one after another."""
    place = 0
    for _ in range(_MOST_MEMBERS):
        place = yield from _inflated(_GZIP, body, place)
        place = len(body) - len(body[place:].lstrip(b"\0"))
        if place == len(body):
            return
    raise EOFError


def _deflate(body: bytes) -> Iterator[bytes]:
    """A zlib stream, as the name means, or the bare one that some senders take it to mean."""
    wrapped = len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0
    yield from _inflated(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS, body, 0)


def _inflated(window_bits: int, body: bytes, place: int) -> Generator[bytes, None, int]:
    """What a stream of the kind that `window_bits` means to zlib says from `place` on, in parts; returns its end."""
    stream = zlib.decompressobj(window_bits)
    while not stream.eof:
        data = stream.unconsumed_tail
        if not data:
            data = body[place : place + _STEP_BYTES]
            place += len(data)
        part = stream.decompress(data, _STEP_BYTES)
        if not (data or part or stream.eof):
            raise EOFError
        yield part
    return place - len(stream.unused_data)


def _zstd(body: bytes) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW_BYTES)
    with decoder.stream_reader(io.BytesIO(body), read_across_frames=True) as reader:
        while part := reader.read(_STEP_BYTES):
            yield part


_DECODERS: Final[Mapping[str, Decoder]] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate, "zstd": _zstd}
