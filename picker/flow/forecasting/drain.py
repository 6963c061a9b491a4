"""How fast a queue drains, and so when it is worth coming back."""

import math
from typing import Final

_HORIZON_SECONDS: Final = 30.0


class Drain:
    """GPU seconds of work that leave a queue per second, averaged over the last half minute or so."""

    def __init__(self) -> None:
        self._left = 0.0
        self._at = -math.inf
        self._since = math.inf

    def left(self, work_seconds: float, now: float) -> None:
        """So much work was dispatched at `now`."""
        self._left = self._decayed(now) + work_seconds
        self._since = min(self._since, now)
        self._at = now

    def seconds_for(self, work_seconds: float, now: float) -> float | None:
        """Until so much work has left; None: nothing has left yet, or not of late."""
        # What has been watched for a short time only has that short a past.
        span = max(now - self._since, 1.0)
        rate = self._decayed(now) / (_HORIZON_SECONDS * -math.expm1(-span / _HORIZON_SECONDS))
        return work_seconds / rate if rate > 1e-9 else None

    def _decayed(self, now: float) -> float:
        return self._left * math.exp((self._at - now) / _HORIZON_SECONDS) if self._left else 0.0
