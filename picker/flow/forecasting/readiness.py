"""When a pool will have its next endpoint, by how long its endpoints have taken to become ready so far."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from infscale.endpoint import Endpoint, EndpointKey, Phase

_MOST_REMEMBERED: Final = 8
_LEAST_SECONDS: Final = 1.0


class Readiness:
    """Owner of what is known of one pool's endpoints that start, monotonic seconds.

    Those that are there already when they are first looked at began at a time that is not known: nothing is learnt of
    them.
    """

    def __init__(self) -> None:
        self._began: dict[EndpointKey, float] = {}
        self._known: set[EndpointKey] | None = None
        self._took: deque[float] = deque(maxlen=_MOST_REMEMBERED)

    def follow(self, endpoints: Iterable[Endpoint], now: float) -> None:
        """The endpoints that the pool has now."""
        phases = {each.key: each.phase for each in endpoints}
        known, self._known = self._known, set(phases)
        began: dict[EndpointKey, float] = {}
        for key, phase in phases.items():
            at = self._began.get(key)
            if phase is Phase.STARTING and known is not None and (at is not None or key not in known):
                began[key] = now if at is None else at
            elif phase is Phase.READY and at is not None:
                self._took.append(now - at)
        self._began = began

    def seconds(self, now: float) -> float | None:
        """Until the next endpoint is ready that starts now, or would if one started; None: that is not known.

        An endpoint takes as long as the average of the last ones.
        """
        if not self._took:
            return None
        usual = sum(self._took) / len(self._took)
        return max(min([at + usual - now for at in self._began.values()], default=usual), _LEAST_SECONDS)

    @property
    def starting(self) -> bool:
        """Whether an endpoint starts of which it is known since when."""
        return bool(self._began)
