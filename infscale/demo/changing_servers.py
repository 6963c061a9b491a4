"""Simulated servers of one process that start and stop while it runs."""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Self

from infscale.errors import InfscaleError
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.engine.steps import EngineSettings
from infscale.sim.http.simulated_servers import SimServer, SimServerSettings

_LOOK_SECONDS = 0.1
_QUIET_LOOKS = 3
"""At how many looks in a row a server has nothing, before it ends: a request may be on its way to it."""

Tell = Callable[[Mapping[str, object]], None]


class ChangingServers:
    """Owner of the servers. ``{"start": NAME}`` and ``{"stop": NAME}`` are obeyed; one that stops first answers all it
    has. `tell` is told ``{"started": NAME, "address": …, "port": …}`` and ``{"stopped": NAME}``.
    """

    def __init__(self, coefficients: str, rng: random.Random, tell: Tell) -> None:
        self._chosen = coefficient_set(coefficients)
        self._rng = rng
        self._tell = tell
        self._stopping: dict[str, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            # Before the group waits for its tasks: none outlives the block.
            stack.callback(self._cancel)
            self._running: set[asyncio.Task[None]] = set()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def obey(self, order: Mapping[str, Any]) -> None:
        """Start or stop a server. Raises `InfscaleError` for an order that is none."""
        match order:
            case {"start": str(name)} if name not in self._stopping:
                self._stopping[name] = asyncio.Event()
                task = self._tasks.create_task(self._run(name))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            case {"stop": str(name)} if name in self._stopping:
                self._stopping[name].set()
            case _:
                raise InfscaleError(f"no order for the servers that there are: {order}")

    async def _run(self, name: str) -> None:
        chosen = self._chosen
        engine = EngineSettings(num_blocks=chosen.num_blocks, block_size=chosen.block_size)
        settings = SimServerSettings(name, chosen, engine)
        async with SimServer(settings, self._rng, lambda: datetime.now(UTC).timestamp()) as server:
            self._tell({"started": name, "address": settings.address, "port": server.port})
            await self._stopping[name].wait()
            quiet = 0
            while quiet < _QUIET_LOOKS:
                quiet = 0 if server.waiting or server.running else quiet + 1
                await asyncio.sleep(_LOOK_SECONDS)
        del self._stopping[name]
        self._tell({"stopped": name})

    def _cancel(self) -> None:
        for task in self._running:
            task.cancel()
