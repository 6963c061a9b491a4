"""Pools whose load is unknown, said once for each change: in the log, and to the listeners."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from infscale.config.settings import UnknownLoad
from infscale.endpoint import ObjectKey
from infscale.metrics.store.metrics_store import MetricStore

_LOG = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_WHAT_NEXT: dict[UnknownLoad, str] = {
    "serve": "requests are scheduled by what is in flight",
    "refuse": "requests with a body are answered 503 (picker.unknown_load)",
}


@dataclass(slots=True, eq=False)
class LoadWatch:
    """Follows which pools have ready endpoints and know the load of none; `tell` is given all of them at each change.

    What does not last from one look to the next is passed over: a lost page or two are no news.
    """

    _store: MetricStore
    _clock: Callable[[], float]
    _unknown_load: UnknownLoad
    _tell: Callable[[frozenset[ObjectKey]], None]
    _said: frozenset[ObjectKey] = frozenset()
    _seen: frozenset[ObjectKey] = frozenset()

    async def follow(self) -> None:
        """Look again and again until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Look once, and say what is news."""
        now = self._clock()
        unknown = frozenset(each.pool for each in self._store.snapshots() if each.unknown_load(now))
        begun = (unknown & self._seen) - self._said
        ended = self._said - unknown - self._seen
        self._seen = unknown
        if not begun and not ended:
            return
        self._said = (self._said | begun) - ended
        for pool in sorted(begun):
            _LOG.warning("the load of no ready endpoint of pool %s is known: %s", pool, _WHAT_NEXT[self._unknown_load])
        for pool in sorted(ended):
            _LOG.info("the load of pool %s is not unknown any more", pool)
        self._tell(self._said)
