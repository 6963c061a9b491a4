"""What can be wrong with what a peer sends.

H2Error              names an error code of RFC 9113, section 7
├── ConnectionFault  ends the connection
└── StreamFault      ends one stream
"""

import enum


class ErrorCode(enum.IntEnum):
    """RFC 9113, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class H2Error(Exception):
    """A peer broke the protocol or a limit."""

    def __init__(self, code: ErrorCode, why: str) -> None:
        super().__init__(why)
        self.code = code


class ConnectionFault(H2Error):
    """Nothing on this connection can be trusted any more."""


class StreamFault(H2Error):
    """One stream is broken; the connection goes on."""

    def __init__(self, stream: int, code: ErrorCode, why: str) -> None:
        super().__init__(code, why)
        self.stream = stream
