"""What the picker's two servers have in common."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Never, Self

from picker.transport.budget import Budget
from picker.transport.health import Health
from picker.transport.interface import Clock, NewExchange, Ready, TransportSettings
from picker.transport.limits import LimitNotes
from picker.transport.memory_release import MemoryReturn

_SWEEP_SECONDS = 0.5


class Transport(ABC):
    """Serves exchanges made by `new_exchange` to gateways inside ``async with``; leaving cuts off what is open.

    `clock` gives monotonic seconds, `ready` what health checks answer.
    """

    def __init__(self, settings: TransportSettings, new_exchange: NewExchange, clock: Clock, ready: Ready) -> None:
        self._settings = settings
        self._new_exchange = new_exchange
        self._clock = clock
        self._health = Health(ready, settings.any_health_service)
        self._notes = LimitNotes()
        self._stack = contextlib.AsyncExitStack()
        self._ports: list[int] = []
        self.counts = self._notes.counts
        """How often each limit acted."""
        self.budget = Budget(settings.max_buffered_bytes, settings.max_body_bytes)
        """What exchanges hold of bodies."""

    @property
    def port(self) -> int:
        """The port exchanges are served on."""
        return self._ports[0]

    @property
    def health_port(self) -> int | None:
        """The second port of health checks, where there is one."""
        return self._ports[1] if len(self._ports) > 1 else None

    async def __aenter__(self) -> Self:
        """Serve. Raises `StartError` where it cannot listen."""
        async with contextlib.AsyncExitStack() as stack:
            await self._serve(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def drain(self) -> None:
        """Say NOT_SERVING, keep taking exchanges for the notice, let open ones end, stop."""
        self._health.drain()
        await asyncio.sleep(self._settings.notice_seconds)
        await self._end(self._settings.drain_seconds)

    @abstractmethod
    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        """Listen, until `stack` is closed."""

    @abstractmethod
    async def _end(self, grace_seconds: float) -> None:
        """Take no more exchanges, give open ones so much time to end, and stop."""

    async def _sweep(self, shortest_seconds: float, look: Callable[[float], None]) -> Never:
        """Have `look` end what takes too long, for ever; `shortest_seconds` is the least that anything may take."""
        memory = MemoryReturn(self.budget)
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, shortest_seconds / 4))
            memory.look()
            look(self._clock())
