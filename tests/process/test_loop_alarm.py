"""A timer that is set to another time."""

import asyncio
import math
import time

from infscale.process.loop_alarm import LoopAlarm


async def test_it_rings_once_at_the_time_that_was_set_last() -> None:
    rang: list[float] = []
    alarm = LoopAlarm(time.monotonic)
    alarm.ring = rang.append
    began = time.monotonic()
    alarm.set(began + 60.0)
    alarm.set(began + 0.02)
    await asyncio.sleep(0.1)
    (at,) = rang
    assert at >= began + 0.02
    alarm.set(began)
    alarm.set(math.inf)
    await asyncio.sleep(0.02)
    assert len(rang) == 1
