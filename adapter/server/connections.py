"""Which connections the adapter keeps, and which give way: bounds in count and in bytes, before anything is proven.

A connection costs memory before its first byte, and its client needs no right for it. So those that have proven nothing
are few, and where one more comes, the oldest of the address that has most of them gives way: an API server, which has
few at a time, always finds room. What unfinished heads hold is bounded in all.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

_QUIET_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may take of the adapter.

    `total` is how many there are at once, `unproven` how many of them without a client certificate that was believed.
    A head (request line and headers) and a body may have `unread_bytes` each, all unfinished ones together
    `all_unread_bytes`. A TLS handshake ends within `handshake_seconds`, a head within `head_seconds` of its first byte,
    the first one of the handshake, a body, which no request needs, within `body_seconds`; an answer is read within
    `write_seconds`. `idle_seconds` are for those that have proven nothing: longer than the 90 s after which an API
    server drops an idle connection.
    """

    total: int = 512
    unproven: int = 128
    unread_bytes: int = 1_048_576
    all_unread_bytes: int = 4 * 1_048_576
    handshake_seconds: float = 10.0
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    write_seconds: float = 30.0
    idle_seconds: float = 120.0


CAUSES: Mapping[str, str] = {
    "connection_limit": "more connections than the adapter keeps; the oldest of the busiest address give way",
    "unread_limit": "unfinished requests held more memory than the adapter gives them; the largest give way",
    "head_too_large": "a request's line and headers, or its body, were larger than the adapter takes",
    "head_timeout": "a request's line and headers did not arrive in time",
    "handshake_timeout": "a TLS handshake did not end in time",
    "idle": "a connection without a client certificate asked nothing for too long",
    "write_timeout": "an answer was not read in time",
}
"""Why connections are closed, as the metric names it, and what the log says of it."""


class Closed:
    """Counts closed connections by cause; says each cause at most once a minute, with how many there were."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter({cause: 0 for cause in CAUSES})
        """How many connections were closed, by cause."""
        self._said: dict[str, tuple[float, int]] = {}

    def record(self, cause: str, now: float) -> None:
        """Note one at monotonic second `now`."""
        self.counts[cause] += 1
        said_at, said_count = self._said.get(cause, (now - _QUIET_SECONDS, 0))
        if now - said_at < _QUIET_SECONDS:
            return
        fields = {"cause": cause, "connections": self.counts[cause] - said_count}
        self._said[cause] = (now, self.counts[cause])
        _log.warning("connections are closed: %s", CAUSES[cause], extra={"fields": fields})


class Connection:
    """One client connection: where it comes from, since when, and what it holds. `Connections` alone changes it."""

    __slots__ = ("abort", "is_open", "is_proven", "number", "peer", "unread")

    def __init__(self, peer: str, number: int, abort: Callable[[], None]) -> None:
        self.peer = peer
        self.number = number
        """Grows from one connection to the next."""
        self.abort = abort
        """Ends it at once."""
        self.is_open = True
        self.is_proven = False
        self.unread = 0
        """Bytes of a request that is not complete."""


class Connections:
    """The connections there are; guards how many they are and what they hold together."""

    def __init__(self, limits: ConnectionLimits, closed: Closed, clock: Callable[[], float]) -> None:
        self.limits = limits
        self._closed = closed
        self._clock = clock
        self._open: dict[int, Connection] = {}
        self._next = 0
        self._proven = 0
        self.unread_bytes = 0
        """What unfinished requests hold."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there are, by whether a certificate of theirs was believed."""
        return {"proven": self._proven, "unproven": len(self._open) - self._proven}

    def admit(self, peer: str, abort: Callable[[], None]) -> Connection:
        """Note a new connection from the address `peer`; another gives way where there are too many."""
        unproven = len(self._open) - self._proven
        if unproven >= self.limits.unproven:
            self._give_way(each for each in self._open.values() if not each.is_proven)
        elif len(self._open) >= self.limits.total:
            self._give_way(self._open.values())
        self._next += 1
        made = self._open[self._next] = Connection(peer, self._next, abort)
        return made

    def prove(self, connection: Connection) -> None:
        """A certificate of this connection's was believed."""
        if connection.is_open and not connection.is_proven:
            connection.is_proven = True
            self._proven += 1

    def received(self, connection: Connection, size: int) -> None:
        """`size` more bytes came of a request that is not complete; the largest gives way where it is too much."""
        if not connection.is_open:
            return
        connection.unread += size
        self.unread_bytes += size
        if self.unread_bytes > self.limits.all_unread_bytes:
            self.close(max(self._open.values(), key=_size_to_give_way), "unread_limit")

    def complete(self, connection: Connection) -> None:
        """A request arrived whole: nothing of this connection is unread."""
        self.unread_bytes -= connection.unread
        connection.unread = 0

    def close(self, connection: Connection, cause: str) -> None:
        """End a connection for one of `CAUSES`."""
        if connection.is_open:
            self.release(connection)
            self._closed.record(cause, self._clock())
            connection.abort()

    def release(self, connection: Connection) -> None:
        """The connection has ended."""
        if not connection.is_open:
            return
        connection.is_open = False
        self.complete(connection)
        del self._open[connection.number]
        self._proven -= connection.is_proven

    def end(self) -> None:
        """End all of them: no limit is at work, and none is counted."""
        for each in tuple(self._open.values()):
            self.release(each)
            each.abort()

    def _give_way(self, candidates: Iterable[Connection]) -> None:
        self.close(to_give_way(tuple(candidates)), "connection_limit")


def to_give_way(connections: tuple[Connection, ...]) -> Connection:
    """Of `connections` the one that ends for a new one: the oldest of the address that has most of them."""
    by_peer = Counter(each.peer for each in connections)
    return max(connections, key=lambda each: (by_peer[each.peer], -each.number))


def _size_to_give_way(connection: Connection) -> tuple[bool, int]:
    return (not connection.is_proven and connection.unread > 0, connection.unread)
