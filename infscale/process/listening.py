"""Sockets that listen: on one address, on both of ``localhost`` or on every one, and why one cannot be had."""

import asyncio
import errno
import ipaddress
import re
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from infscale.endpoint import authority
from infscale.errors import StartError

EVERY_ADDRESS = "::"
"""The host that means every address of the machine, of IPv6 and of IPv4."""
PLACE_FORM = "address:port, such as 127.0.0.1:9002 or [::1]:9002"
"""How a place to listen on is written."""
BACKLOG = 1024
"""How many connections wait to be accepted."""

_PRIVILEGED = 1024
# ``localhost`` may be written down for a protocol that the machine does not speak.
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

_PLACE = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^:]*)):(?P<port>0|[1-9][0-9]{0,4})")
_MAX_PORT = 65_535

_Place = tuple[socket.AddressFamily, tuple[Any, ...]]


def listening_place(text: str) -> tuple[str, int] | None:
    """The host and port that `text` writes as `PLACE_FORM`: an IP address or ``localhost``; None where it does not."""
    found = _PLACE.fullmatch(text)
    if found is None or int(found["port"]) > _MAX_PORT:
        return None
    host = found["v4"] if found["v6"] is None else found["v6"]
    return (host, int(found["port"])) if _is_host(host, version=4 if found["v6"] is None else 6) else None


def _is_host(host: str, version: int) -> bool:
    try:
        return (host == "localhost" and version == 4) or ipaddress.ip_address(host).version == version
    except ValueError:
        return False


async def listening(
    who: str, host: str, port: int, key: str, received_bytes: int | None = None
) -> tuple[socket.socket, ...]:
    """Sockets that listen on each address that `host` names, all on one port; port 0 takes any free one.

    `received_bytes` is how much the system holds of what came on each connection (None: its own default). Raises
    `StartError`, which names `who` and says what to do; `key` is what chooses the address.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return _all_listening([(family, address) for family, _, _, _, address in found], received_bytes)
    except OSError as error:
        raise cannot_listen(who, host, port, error, key) from None


def _all_listening(places: Iterable[_Place], received_bytes: int | None) -> tuple[socket.socket, ...]:
    made: list[socket.socket] = []
    absent: OSError | None = None
    with ExitStack() as stack:
        for family, (host, port, *rest) in places:
            # Where any free port will do, the first address chooses.
            chosen = port or (made[0].getsockname()[1] if made else 0)
            try:
                each = stack.enter_context(_bound(family, (host, chosen, *rest)))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                absent = error
                continue
            if received_bytes is not None:
                # Connections inherit it.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received_bytes)
            each.setblocking(False)
            each.listen(BACKLOG)
            made.append(each)
        if absent is not None and not made:
            raise absent
        stack.pop_all()
    return tuple(made)


def has_every_address() -> bool:
    """Whether this machine can listen on `EVERY_ADDRESS`."""
    try:
        _bound(socket.AF_INET6, (EVERY_ADDRESS, 0)).close()
    except OSError:
        return False
    return True


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # On every address IPv4 peers come as IPv6 ones (RFC 3493, section 3.7); event loops bind to IPv6 alone.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != EVERY_ADDRESS)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


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
