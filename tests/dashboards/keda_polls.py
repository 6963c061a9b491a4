"""KEDA of the scene: for each pool a trigger of type external-push, with a stream, and polls."""

import asyncio
import contextlib
from collections.abc import Sequence

import grpc.aio

from tests.keda.keda_client import Keda, channel

_POLL_SECONDS = 0.5


async def polled(port: int, namespace: str, pools: Sequence[str]) -> None:
    """Ask the scaler on `port` for all of `pools` until cancelled."""
    async with channel(port) as opened, asyncio.TaskGroup() as tasks:
        for name in pools:
            trigger = Keda(opened, {"pool": name, "slo": "queue_p90=1s"}, name, namespace)
            tasks.create_task(_streamed(trigger))
            tasks.create_task(_asked(trigger))


async def _streamed(trigger: Keda) -> None:
    async for _ in trigger.stream_active():
        pass


async def _asked(trigger: Keda) -> None:
    while True:
        # A value that is not known yet is an error of its own.
        with contextlib.suppress(grpc.aio.AioRpcError):
            await trigger.is_active()
            await trigger.value()
        await asyncio.sleep(_POLL_SECONDS)
