"""What streams hear of, and what a peer may have."""

from dataclasses import dataclass
from typing import Final

from picker.transport.h2 import frames
from picker.transport.h2.hpack import Fields

END_DATA: Final = b""
"""Instead of trailers: the stream ends with its data."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may have: streams at once, bytes of one frame, of a header list, and on the way to us unread.

    `window_bytes` is per stream, `connection_window_bytes` for all of them together; windows are opened again as
    it comes, unless they are held back. `queued_bytes` bounds what waits here for the peer's windows.
    `window_changes` is how many windows of open streams its settings may change at a stretch; each stream that it opens
    allows a hundred again.
    """

    max_streams: int = 1_000
    max_frame_bytes: int = frames.MIN_MAX_FRAME_BYTES
    max_list_bytes: int = 65_536
    window_bytes: int = 1 << 18
    connection_window_bytes: int = 16 << 20
    queued_bytes: int = 128 << 20
    window_changes: int = 100_000


@dataclass(slots=True, unsafe_hash=True, init=False)
class Opened:
    """A request's headers came, of which `fields` are its method, path and type; `ended`: nothing follows them."""

    stream: Final[int]
    fields: Final[Fields]
    ended: Final[bool]

    def __init__(self, stream: int, fields: Fields, ended: bool) -> None:
        self.stream = stream
        self.fields = fields
        self.ended = ended


@dataclass(slots=True, unsafe_hash=True, init=False)
class Received:
    """A piece of a request's body, in order; `ended`: the last one (also when trailers end it)."""

    stream: Final[int]
    data: Final[bytes]
    ended: Final[bool]

    def __init__(self, stream: int, data: bytes, ended: bool) -> None:
        self.stream = stream
        self.data = data
        self.ended = ended


@dataclass(slots=True, unsafe_hash=True, init=False)
class Ended:
    """A stream is over before its time: the peer has reset it, or broke the protocol on it."""

    stream: Final[int]

    def __init__(self, stream: int) -> None:
        self.stream = stream


Event = Opened | Received | Ended
