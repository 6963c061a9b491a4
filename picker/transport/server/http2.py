"""ext_proc over an HTTP/2 server of our own: one method, and the health service, on asyncio protocols.

Most of a picker's work per request would otherwise be its server's. Everything that comes in one read is answered in
one write. What HTTP/2 is, is decided in `picker.transport.h2`, which calls there are in `calls`; this is the shell
around both.
"""

import asyncio
import contextlib
import itertools
import ssl

from infscale.process.listening import BACKLOG, listening
from infscale.process.server_tls import ServingTls
from infscale.process.tasks import running
from picker.transport.h2.events import Limits
from picker.transport.interface import FOLLOW_SECONDS, Clock, NewExchange, Ready, TransportSettings
from picker.transport.server.gateway_connection import GatewayConnection
from picker.transport.server.port import Port
from picker.transport.server.tls_door import TlsDoor
from picker.transport.transport import Transport

ALPN = ("h2",)
"""What is spoken inside TLS."""
_POLL_SECONDS = 0.02


class Http2Transport(Transport):
    """A transport by the server of our own."""

    def __init__(
        self,
        settings: TransportSettings,
        new_exchange: NewExchange,
        clock: Clock,
        ready: Ready,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(settings, new_exchange, clock, ready)
        self._limits = limits or Limits()
        self._servers: list[list[asyncio.Server | TlsDoor]] = []
        self._port: Port | None = None

    async def _end(self, grace_seconds: float) -> None:
        for server in self._servers[0]:
            server.close()
        for connection in self._connections():
            connection.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
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

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        tasks = await stack.enter_async_context(running())
        stack.callback(self._cut)
        port = Port(settings, self._limits, self._clock, self._health, tasks, self.budget, self._notes)
        self._port = port
        context = None
        if settings.tls is not None:
            tls = ServingTls("the picker", settings.tls, ALPN)
            context = await tls.load()
            if settings.tls.reload:
                await stack.enter_async_context(running(tls.followed.follow(FOLLOW_SECONDS)))
        shortest = min(settings.body_timeout_seconds, settings.greeting_seconds, settings.frame_seconds)
        await stack.enter_async_context(running(self._sweep(shortest, port.sweep)))
        await self._listen(settings.address, settings.port, port, self._new_exchange, context)
        if settings.health_port is not None:
            # Probes speak plain text: they carry nothing worth hiding and know no certificate.
            address = settings.health_address or settings.address
            await self._listen(address, settings.health_port, port, None, None)

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
