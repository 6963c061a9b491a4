"""What can be wrong with what a peer sends.

H2Error              names an error code of RFC 9113, section 7
├── ConnectionFault  ends the connection
└── StreamFault      ends one stream
"""

from h2.errors import ErrorCodes


class H2Error(Exception):
    """A peer broke the protocol or a limit."""

    def __init__(self, code: ErrorCodes, why: str) -> None:
        super().__init__(why)
        self.code = code


class ConnectionFault(H2Error):
    """Nothing on this connection can be trusted any more."""


class StreamFault(H2Error):
    """One stream is broken; the connection goes on."""

    def __init__(self, stream: int, code: ErrorCodes, why: str) -> None:
        super().__init__(code, why)
        self.stream = stream
