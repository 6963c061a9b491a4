"""The alarm on the event loop."""

import asyncio
import math

from infscale.process.loop_alarm import LoopAlarm


async def test_it_rings_once_at_the_time_that_was_set_last() -> None:
    loop = asyncio.get_running_loop()
    rang: asyncio.Queue[float] = asyncio.Queue()
    alarm = LoopAlarm(loop.time)
    alarm.ring = rang.put_nowait
    wanted = loop.time() + 0.02
    alarm.set(loop.time() + 3600.0)
    alarm.set(wanted)
    # The resolution of the loop's clock lies between.
    assert await rang.get() >= wanted - 0.01
    alarm.set(loop.time())
    alarm.set(math.inf)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert rang.empty()
