"""A call that does not come back costs its caller a limited time, and no other call anything."""

import asyncio
import threading

import pytest

from infscale.node_agent.timely_calls import Hanging, TimelyCalls


async def test_results_and_errors_are_the_call_s_own() -> None:
    calls = TimelyCalls("NVML", 2.0)
    assert await calls.result("a", lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        await calls.result("a", lambda: 1 // 0)
    assert calls.hanging == 0


async def test_a_hanging_call_is_given_up_and_not_made_again_until_it_is_over() -> None:
    calls = TimelyCalls("NVML", 0.05)
    over, made = threading.Event(), 0

    def hang() -> None:
        nonlocal made
        made += 1
        over.wait(10)

    with pytest.raises(Hanging, match=r"NVML does not answer within 0\.05 s"):
        await calls.result("a", hang)
    with pytest.raises(Hanging, match="NVML does not answer"):
        await calls.result("a", hang)
    assert (made, calls.hanging) == (1, 1)
    assert await calls.result("b", lambda: 2) == 2, "others go on"
    over.set()
    while calls.hanging:
        await asyncio.sleep(0.001)
    assert await calls.result("a", lambda: 3) == 3
