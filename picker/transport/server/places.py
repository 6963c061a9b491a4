"""How many connections there may be, in all and of one peer's address, and which one goes where there are too many.

A connection is *new* until its peer has shown that it speaks the protocol and, over TLS, its identity. New ones have
few places of their own, and the eldest of them goes for one that comes: peers that only connect keep no gateway out.
Where all of them, or a peer, have as many as they may, one goes for the one that comes: the longest idle of the peer
that has most. Where none is idle, the one that comes is refused.
"""

from collections.abc import Callable
from typing import Final, Generic, Literal, TypeVar

Connection = TypeVar("Connection")

MOST_NEW: Final = 128
"""Connections whose peers have shown nothing yet."""

Crowd = Literal["new_connections", "connections", "peer_connections"]
"""What there was too much of."""


class Places(Generic[Connection]):
    """The connections of a picker's ports; for one thread.

    `most` in all, `most_of_peer` of one address. `idle_since`: when one without a call had its last; None: it has one.
    """

    def __init__(self, most: int, most_of_peer: int, idle_since: Callable[[Connection], float | None]) -> None:
        self._most = most
        self._most_of_peer = most_of_peer
        self._idle_since = idle_since
        self._peers: dict[str, dict[Connection, None]] = {}
        self._count = 0
        self._new: dict[Connection, None] = {}

    def crowded(self, peer: str) -> Crowd | None:
        """What there is too much of for one more connection of `peer`; None: it may come."""
        if len(self._new) >= MOST_NEW:
            return "new_connections"
        if len(self._peers.get(peer, ())) >= self._most_of_peer:
            return "peer_connections"
        return "connections" if self._count >= self._most else None

    def dispensable(self, peer: str, crowd: Crowd) -> Connection | None:
        """The connection that goes so that one of `peer` may come; None: there is none."""
        if crowd == "new_connections":
            return next(iter(self._new))
        if crowd == "connections":
            peer = max(self._peers, key=lambda each: len(self._peers[each]))
        idle = {
            each: since
            for each in self._peers.get(peer, ())
            if each not in self._new and (since := self._idle_since(each)) is not None
        }
        return min(idle, key=lambda each: idle[each], default=None)

    def enter(self, peer: str, connection: Connection) -> None:
        """One has come."""
        self._peers.setdefault(peer, {})[connection] = None
        self._count += 1
        self._new[connection] = None

    def prove(self, connection: Connection) -> None:
        """Its peer has shown that it speaks the protocol; harmless when repeated."""
        self._new.pop(connection, None)

    def leave(self, peer: str, connection: Connection) -> None:
        """One is gone; harmless when repeated."""
        self._new.pop(connection, None)
        there = self._peers.get(peer)
        if there is None or connection not in there:
            return
        del there[connection]
        self._count -= 1
        if not there:
            del self._peers[peer]
