"""An alarm on the event loop, which rings once, at the last time that was set."""

import asyncio
import math
from collections.abc import Callable


class LoopAlarm:
    """Calls `ring` with the time, by `clock`, which is the loop's; `ring` is given before a time is set."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self.ring: Callable[[float], None] | None = None

    def set(self, at: float) -> None:
        """Ring at `at`, or as soon as possible after it, and no more at what was set before; infinite: not at all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at != math.inf:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._rings)

    def _rings(self) -> None:
        self._timer = None
        if self.ring is not None:
            self.ring(self._clock())
