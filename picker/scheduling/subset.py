"""Which endpoints a gateway's subset hint, or a test's header, names."""

import ipaddress
from collections.abc import Iterable

import numpy as np

from infscale.metrics.snapshot import IntArray, PoolSnapshot


def named_rows(snapshot: PoolSnapshot, names: Iterable[str]) -> IntArray:
    """Rows of the endpoints in `names`, ascending.

    A name is ``address:port`` or ``address``, or several of them joined by commas. One whose port no endpoint at that
    address serves names the address: gateways that know only the pool's service port still mean the endpoint.
    """
    rows: set[int] = set()
    index = snapshot.state.index
    for name in (part.strip() for each in names for part in each.split(",")):
        row = index.get(name)
        if row is not None:
            rows.add(row)
        elif address := _address(name):
            rows.update(row for row, each in enumerate(snapshot.endpoints) if _same(each.address, address))
    return np.array(sorted(rows), dtype=np.intp)


def _address(name: str) -> str:
    """The address part of ``address``, ``address:port``, ``[address]`` or ``[address]:port``."""
    if name.startswith("["):
        return name[1:].partition("]")[0]
    host, colon, _ = name.partition(":")
    return host if colon and name.count(":") == 1 else name


def _same(address: str, other: str) -> bool:
    """Whether two addresses are one; IPv6 has several spellings."""
    if address == other:
        return True
    if ":" not in address or ":" not in other:
        return False
    try:
        return ipaddress.ip_address(address) == ipaddress.ip_address(other)
    except ValueError:
        return False
