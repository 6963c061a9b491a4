"""ext_proc over an HTTP/2 server of our own: one method, and the health service, on asyncio protocols.

Most of a picker's work per request would otherwise be its server's. Everything that comes in one read is answered in
one write. What HTTP/2 is, is decided in `picker.transport.h2`, which calls there are in `calls`; this is the shell
around both.
"""

import asyncio
import contextlib
import itertools
import ssl
from typing import Self

from infscale.process.listening import BACKLOG, listening
from infscale.process.server_tls import ServingTls
from infscale.process.tasks import running
from picker.transport.budget import Budget
from picker.transport.h2.events import Limits
from picker.transport.health import Health
from picker.transport.interface import FOLLOW_SECONDS, Clock, NewExchange, Ready, TransportSettings
from picker.transport.limits import LimitCounts, LimitNotes
from picker.transport.memory_release import MemoryReturn
from picker.transport.server.gateway_connection import GatewayConnection
from picker.transport.server.port import Port
from picker.transport.server.tls_door import TlsDoor

ALPN = ("h2",)
"""What is spoken inside TLS."""
_POLL_SECONDS = 0.02
_SWEEP_SECONDS = 0.5


class Http2Transport:
    """Serves exchanges made by `new_exchange`; `clock` gives monotonic seconds, `ready` what health checks answer."""

    def __init__(
        self,
        settings: TransportSettings,
        new_exchange: NewExchange,
        clock: Clock,
        ready: Ready,
        limits: Limits | None = None,
    ) -> None:
        self.counts = LimitCounts()
        """How often limits acted."""
        self.budget = Budget(settings.max_buffered_bytes, settings.max_body_bytes)
        """What exchanges hold of bodies."""
        self._settings = settings
        self._new_exchange = new_exchange
        self._clock = clock
        self._limits = limits or Limits()
        self._health = Health(ready, settings.any_health_service)
        self._stack = contextlib.AsyncExitStack()
        self._servers: list[list[asyncio.Server | TlsDoor]] = []
        self._ports: list[int] = []
        self._port: Port | None = None

    @property
    def port(self) -> int:
        """The port exchanges are served on."""
        return self._ports[0]

    @property
    def health_port(self) -> int | None:
        """The second port of health checks, where there is one."""
        return self._ports[1] if len(self._ports) > 1 else None

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(running())
            stack.callback(self._cut)
            await self._serve(stack, tasks)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def drain(self) -> None:
        """Say NOT_SERVING, keep taking exchanges for the notice, let open ones end, stop."""
        self._health.drain()
        await asyncio.sleep(self._settings.notice_seconds)
        for server in self._servers[0]:
            server.close()
        for connection in self._connections():
            connection.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                while any(connection.busy for connection in self._connections()):  # noqa: ASYNC110 # at the end only
                    await asyncio.sleep(_POLL_SECONDS)
        self._cut()

    def _connections(self) -> tuple[GatewayConnection, ...]:
        return tuple(self._port.connections) if self._port is not None else ()

    def _cut(self) -> None:
        self._health.stop()
        for server in itertools.chain(*self._servers):
            server.close()
        for connection in self._connections():
            connection.cut()

    async def _serve(self, stack: contextlib.AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        settings = self._settings
        notes = LimitNotes(self.counts)
        port = Port(settings, self._limits, self._clock, self._health, tasks, self.budget, notes)
        self._port = port
        context = None
        if settings.tls is not None:
            tls = ServingTls("the picker", settings.tls, ALPN)
            context = await tls.load()
            if settings.tls.reload:
                await stack.enter_async_context(running(tls.followed.follow(FOLLOW_SECONDS)))
        await stack.enter_async_context(running(self._sweep(port)))
        await self._listen(settings.address, settings.port, port, self._new_exchange, context)
        if settings.health_port is not None:
            # Probes speak plain text: they carry nothing worth hiding and know no certificate.
            address = settings.health_address or settings.address
            await self._listen(address, settings.health_port, port, None, None)

    async def _sweep(self, port: Port) -> None:
        settings = self._settings
        shortest = min(settings.body_timeout_seconds, settings.greeting_seconds, settings.frame_seconds)
        memory = MemoryReturn()
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, shortest / 4))
            memory.look(self.budget.held_bytes)
            port.sweep(self._clock())

    async def _listen(
        self, address: str, number: int, port: Port, new_exchange: NewExchange | None, context: ssl.SSLContext | None
    ) -> None:
        def made() -> GatewayConnection:
            return GatewayConnection(port, new_exchange)

        sockets = await listening("the picker", address, number, "picker.listen")
        loop = asyncio.get_running_loop()
        self._servers.append(
            [
                await loop.create_server(made, sock=each, backlog=BACKLOG)
                if context is None
                else TlsDoor(each, port, made, context)
                for each in sockets
            ]
        )
        self._ports.append(int(sockets[0].getsockname()[1]))
