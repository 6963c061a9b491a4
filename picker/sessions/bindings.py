"""Where sessions are that have a name of the client's, remembered as long as they are used."""

from collections import OrderedDict
from typing import Final

from infscale.endpoint import EndpointKey

MAX_BINDINGS: Final = 100_000


class Bindings:
    """The endpoints of sessions by the digests of their ids; unused ones are forgotten after `ttl_seconds`.

    At most `limit`, so that clients which invent ids take no memory from others: the one unused for longest goes first.
    """

    def __init__(self, ttl_seconds: float, limit: int = MAX_BINDINGS) -> None:
        self._ttl_seconds = ttl_seconds
        self._limit = limit
        # The least recently used first.
        self._bound: OrderedDict[bytes, tuple[EndpointKey, float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._bound)

    def get(self, session: bytes, now: float) -> tuple[EndpointKey, float] | None:
        """The endpoint of `session` and since when it is there; None: it is bound to none."""
        found = self._bound.get(session)
        if found is None or now - found[2] > self._ttl_seconds:
            return None
        return found[0], found[1]

    def bind(self, session: bytes, endpoint: EndpointKey, now: float) -> None:
        """`session` was sent to `endpoint`."""
        before = self.get(session, now)
        since = before[1] if before is not None and before[0] == endpoint else now
        self._bound[session] = (endpoint, since, now)
        self._bound.move_to_end(session)
        while self._bound and (len(self._bound) > self._limit or self._oldest_age(now) > self._ttl_seconds):
            self._bound.popitem(last=False)

    def _oldest_age(self, now: float) -> float:
        return now - next(iter(self._bound.values()))[2]
