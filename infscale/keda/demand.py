"""Whether a pool is in demand: requests came for it while it was empty, or it has some now.

This is what activates a ScaledObject and keeps it active. It turns false only where it is known that there is nothing:
an unknown load counts as what was last known of it, for a minute, and after that as load where an endpoint is ready.
"""

from collections.abc import Iterable
from typing import Final

from infscale.endpoint import ObjectKey, Phase
from infscale.metrics.published.answers import group_reading
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.queue_readers import queued_requests
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.snapshot import PoolSnapshot

KEPT_SECONDS: Final = 60.0
"""How long what was last known of a load counts once it is unknown."""

_LOADS: Final = (BY_NAME["waiting_requests"], BY_NAME["running_requests"])


def asked_for(snapshot: PoolSnapshot, since: float, more_than: float = 0.0) -> bool:
    """Whether more than so many requests over one window found no ready endpoint, the last of them after `since`."""
    steps = snapshot.turned_away
    if not steps or steps[-1][0] < since:
        return False
    if more_than < 1:
        return True
    window = snapshot.state.settings.window_seconds
    ends = [last for last, _ in steps if last >= since]
    return any(sum(requests for at, requests in steps if end - window <= at <= end) > more_than for end in ends)


def known_load(snapshot: PoolSnapshot, now: float) -> bool | None:
    """Whether requests are in flight, run or wait; None where that is unknown. Without a ready pod none runs."""
    if snapshot.in_flight_requests.any() or queued_requests(snapshot):
        return True
    if not _serves(snapshot):
        return False
    readings = [group_reading(metric, snapshot, now) for metric in _LOADS]
    if any(not isinstance(each, Unknown) and each.value > 0 for each in readings):
        return True
    return None if any(isinstance(each, Unknown) for each in readings) else False


def _serves(snapshot: PoolSnapshot) -> bool:
    """Whether there is a ready pod, even if its server says of itself that it takes nothing new."""
    return any(endpoint.phase is Phase.READY for endpoint in snapshot.endpoints)


class Loads:
    """Guards what was last known of the load of each pool."""

    def __init__(self) -> None:
        self._known: dict[ObjectKey, tuple[bool, float]] = {}

    def observe(self, snapshots: Iterable[PoolSnapshot], now: float) -> None:
        """Look at all pools there are, and forget those that are gone."""
        pools: set[ObjectKey] = set()
        for each in snapshots:
            self.has_load(each, now)
            pools.add(each.pool)
        for gone in self._known.keys() - pools:
            del self._known[gone]

    def has_load(self, snapshot: PoolSnapshot, now: float) -> bool:
        """Whether the pool has load, as far as that is known."""
        load = known_load(snapshot, now)
        if not _serves(snapshot):
            # Nothing is known of what the next endpoint will have.
            self._known.pop(snapshot.pool, None)
            return bool(load)
        if load is not None:
            self._known[snapshot.pool] = load, now
            return load
        last, at = self._known.get(snapshot.pool, (True, now))
        return last or now - at > KEPT_SECONDS
