"""Open streams, and what every frame is checked for."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from h2.errors import ErrorCodes

from picker.transport.h2 import frames
from picker.transport.h2.errors import ConnectionFault, H2Error, StreamFault

_PROGRESS_BYTES: Final = 4_096


class Stream:
    """One open stream. `expected`: bytes of body still announced, None where no length was."""

    __slots__ = (
        "_marked_at",
        "_marked_bytes",
        "expected",
        "queue",
        "queued",
        "received",
        "remote_ended",
        "taken",
        "window",
    )

    def __init__(self, window: int, expected: int | None, *, remote_ended: bool) -> None:
        self.window = window
        self.expected = expected
        self.remote_ended = remote_ended
        self.received = 0
        # What waits for the peer's window: pieces of data, then perhaps the block of trailers that ends the stream.
        self.queue: deque[tuple[memoryview, bytes | None]] | None = None
        self.queued = 0
        # What of it the peer has taken since, and how much that was when it was last looked at.
        self.taken = 0
        self._marked_bytes = 0
        self._marked_at = -1.0

    def keep(self, data: bytes, trailers: bytes | None) -> None:
        """Let a piece of the answer wait."""
        if self.queue is None:
            self.queue = deque()
            self._marked_at = -1.0
        self.queue.append((memoryview(data), trailers))
        self.queued += len(data)

    def unread_seconds(self, now: float) -> float:
        """How long ago the peer was seen to take more than a trifle of what waits."""
        if self._marked_at < 0.0 or self.taken - self._marked_bytes >= _PROGRESS_BYTES:
            self._marked_bytes = self.taken
            self._marked_at = now
        return now - self._marked_at


@dataclass(slots=True)
class Block:
    """A header block on its way in."""

    stream: int
    ended: bool
    pieces: list[bytes]
    size: int


def need_stream(stream: int) -> None:
    """Raises `ConnectionFault` for a frame on stream 0, which is the connection's."""
    if not stream:
        raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "a frame of a stream comes on the connection")


def need_connection(stream: int) -> None:
    """Raises `ConnectionFault` for a frame on a stream."""
    if stream:
        raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "a frame of the connection comes on a stream")


def unpadded(payload: bytes) -> bytes:
    """What a padded payload holds. Raises `ConnectionFault` where it is padded by more than there is."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "a frame is padded by more than it has")
    return payload[1 : len(payload) - payload[0]]


def opened_by(stream: int, window: int, increment: int) -> int:
    """By how much a window opens; stream 0 is the connection. Raises `H2Error` for an increment that may not be."""
    if not increment:
        raise _fault(stream, ErrorCodes.PROTOCOL_ERROR, "a window opens by nothing")
    if window + increment > frames.MAX_WINDOW:
        raise _fault(stream, ErrorCodes.FLOW_CONTROL_ERROR, "a window grows beyond its limit")
    return increment


def _fault(stream: int, code: ErrorCodes, why: str) -> H2Error:
    return StreamFault(stream, code, why) if stream else ConnectionFault(code, why)
