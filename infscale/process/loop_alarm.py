"""An alarm: a timer of the event loop that is set to another time again and again."""

import asyncio
import math
from collections.abc import Callable


class LoopAlarm:
    """Rings at the last time that was set, by `clock`; `ring` is set before that."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self.ring: Callable[[float], None] | None = None

    def set(self, at: float) -> None:
        """Ring at that time, or as soon as possible after it; infinite: not at all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at != math.inf:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._rings)

    def _rings(self) -> None:
        self._timer = None
        if self.ring is not None:
            self.ring(self._clock())
