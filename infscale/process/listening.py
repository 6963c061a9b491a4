"""Sockets on every address of the machine, of IPv6 and of IPv4, and why one cannot be had."""

import errno
import socket

from infscale.endpoint import authority
from infscale.errors import StartError

EVERY_ADDRESS = "::"
"""The host that means them."""


def every_address(port: int) -> socket.socket:
    """A socket bound to `port` on every address; IPv4 peers come as IPv6 ones (RFC 3493, section 3.7).

    Event loops and aiohttp bind ``::`` to IPv6 alone. Raises OSError where the port is taken or there is no IPv6.
    """
    found = socket.socket(socket.AF_INET6)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.bind((EVERY_ADDRESS, port))
    except BaseException:
        found.close()
        raise
    return found


def has_every_address() -> bool:
    """Whether this machine can listen so."""
    try:
        every_address(0).close()
    except OSError:
        return False
    return True


_PRIVILEGED = 1024


def cannot_listen(who: str, host: str, port: int, error: OSError, key: str) -> StartError:
    """The error that says why the part `who` cannot listen there, and what to do; `key` chooses the address."""
    match error.errno:
        case errno.EADDRINUSE:
            reason, remedy = "the port is taken", f"choose another with {key}, or stop what has it"
        case errno.EACCES if 0 < port < _PRIVILEGED:
            reason = f"permission denied: ports below {_PRIVILEGED} need the right to bind them"
            remedy = f"choose one from {_PRIVILEGED} on with {key}, or grant CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            reason, remedy = "the address is none of this machine's", f"choose one that is with {key}"
        case _:
            reason, remedy = error.strerror or str(error), f"choose another address with {key}"
    return StartError(f"{who} cannot listen on {authority(host, port)}: {reason}; {remedy}")
