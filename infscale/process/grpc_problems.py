"""Why a gRPC call got no answer, in words that repeat nothing that a peer sent."""

from typing import TYPE_CHECKING, Final

from infscale.process.connecting import NO_HANDSHAKE, NOT_FOUND, REFUSED

if TYPE_CHECKING:
    import grpc.aio

UNREACHABLE: Final = "no connection"
CLOSED: Final = "connection closed by the server, which may speak TLS, or want a certificate"

# Parts of what gRPC itself says of a connection that it cannot make, and what that means.
_NO_CONNECTION: Final = (
    ("Connection refused", REFUSED),
    ("Hostname Verification", "the certificate is of another name"),
    ("Socket closed", CLOSED),
    ("handshake", NO_HANDSHAKE),
    ("Handshake", NO_HANDSHAKE),
    ("SSL", NO_HANDSHAKE),
    ("DNS resolution failed", NOT_FOUND),
    ("Name or service not known", NOT_FOUND),
    ("No such file or directory", "there is no such socket"),
    ("Permission denied", "permission denied"),
    ("No route to host", "no route to host"),
    ("Network is unreachable", "network unreachable"),
)
_WORDS: Final = {
    "DEADLINE_EXCEEDED": "no answer in time",
    "UNIMPLEMENTED": "the server does not speak this protocol",
    "RESOURCE_EXHAUSTED": "the answer is too large, or the server is out of resources",
    "UNAUTHENTICATED": "the server asks who is calling",
    "PERMISSION_DENIED": "the server refuses the call",
}


def rpc_problem(error: "grpc.aio.AioRpcError") -> str:
    """The cause of `error`, which a call ended with."""
    code = error.code().name
    if code != "UNAVAILABLE":
        return _WORDS.get(code, f"the call ended with {code}")
    details = error.details() or ""
    return next((cause for part, cause in _NO_CONNECTION if part in details), UNREACHABLE)
