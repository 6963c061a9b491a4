"""Frames (RFC 9113, section 6): names, sizes, and the bytes of those a server writes."""

import enum
import struct
from collections.abc import Iterable
from typing import Final

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES: Final = 9
MIN_MAX_FRAME_BYTES: Final = 16_384
MAX_MAX_FRAME_BYTES: Final = (1 << 24) - 1
MAX_WINDOW: Final = (1 << 31) - 1
MAX_STREAM: Final = (1 << 31) - 1
DEFAULT_WINDOW: Final = 65_535

# Length and kind, flags, stream. As one number of nine bytes a head is five times the work.
_PACKED: Final = struct.Struct(">IBI").pack


# Kinds that most frames are of, as plain numbers: compiled, comparing with a member of an enumeration makes objects.
DATA: Final = 0x0
HEADERS: Final = 0x1
RST_STREAM: Final = 0x3
WINDOW_UPDATE: Final = 0x8


class Kind(enum.IntEnum):
    """RFC 9113, section 6; others are ignored."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20


def frame(kind: Kind, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return head(len(payload), kind, flags, stream) + payload


def head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes in front of a payload of `size` bytes."""
    return _PACKED(size << 8 | kind, flags, stream)


def settings(values: Iterable[tuple[SettingCodes, int]]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(setting.to_bytes(2, "big") + value.to_bytes(4, "big") for setting, value in values)
    return frame(Kind.SETTINGS, 0, 0, payload)


SETTINGS_ACK: Final = frame(Kind.SETTINGS, ACK, 0)


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection."""
    return head(4, WINDOW_UPDATE, 0, stream) + increment.to_bytes(4, "big")


def rst_stream(stream: int, code: ErrorCodes) -> bytes:
    """An RST_STREAM frame."""
    return head(4, RST_STREAM, 0, stream) + code.to_bytes(4, "big")


def goaway(last_stream: int, code: ErrorCodes, why: str = "") -> bytes:
    """A GOAWAY frame; streams above `last_stream` were not and will not be looked at."""
    return frame(Kind.GOAWAY, 0, 0, last_stream.to_bytes(4, "big") + code.to_bytes(4, "big") + why.encode())
