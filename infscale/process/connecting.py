"""Why a connection cannot be made, in words that repeat nothing that was sent."""

import errno
import socket
import ssl
from typing import Final

REFUSED: Final = "connection refused"
"""No process listens at the address; of an endpoint that was read before it says that its server has ended."""
NOT_FOUND: Final = "host name not found"
NO_HANDSHAKE: Final = "TLS handshake failed"

_CAUSES = {
    errno.ECONNREFUSED: REFUSED,
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "connection timed out",
}


def connect_problem(error: OSError) -> str:
    """The cause of `error`, which an attempt to connect ended with."""
    if isinstance(error, socket.gaierror):
        return NOT_FOUND
    if isinstance(error, ssl.SSLError):
        return NO_HANDSHAKE
    return _CAUSES.get(error.errno or 0, "connection failed")
