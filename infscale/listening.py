"""Sockets on every address of the machine, of IPv6 and of IPv4."""

import socket

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
