"""ext_proc over an HTTP/2 server of our own: one method, and the health service, on asyncio protocols.

Most of a picker's work per request would otherwise be its server's. Everything that comes in one read is answered in
one write. What HTTP/2 is, is decided in `picker.transport.h2`, which calls there are in `calls`; this is the shell
around both.
"""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass
from typing import Self, cast

from infscale.listening import EVERY_ADDRESS, cannot_listen, every_address
from picker.transport.calls import Call, Calls
from picker.transport.certificates import ServingTls
from picker.transport.exchange_call import ExchangeCall
from picker.transport.h2.events import END_DATA, Limits
from picker.transport.h2.grpc import plain_answer
from picker.transport.health import HEALTH_SERVICE, Health
from picker.transport.health_calls import HealthCheck, HealthWatch
from picker.transport.interface import EXT_PROC_SERVICE, Clock, NewExchange, Ready, TransportSettings

_PROCESS = f"/{EXT_PROC_SERVICE}/Process"
_CHECK, _WATCH = f"/{HEALTH_SERVICE}/Check", f"/{HEALTH_SERVICE}/Watch"
_PREFACE_SECONDS = 10.0
_BACKLOG = 1024
_POLL_SECONDS = 0.02
# A gateway that vanished without a word is found out after 15 + 3 × 5 s.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


@dataclass(slots=True)
class _Served:
    """What all connections of a port share."""

    limits: Limits
    max_message_bytes: int
    new_exchange: NewExchange | None
    clock: Clock
    health: Health
    watches: asyncio.TaskGroup
    connections: set["_Connection"]
    max_connections: int


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
        self._settings = settings
        self._new_exchange = new_exchange
        self._clock = clock
        self._limits = limits or Limits()
        self._health = Health(ready, settings.any_health_service)
        self._stack = contextlib.AsyncExitStack()
        self._servers: list[asyncio.Server] = []
        self._ports: list[int] = []
        self._connections: set[_Connection] = set()

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
            tasks = asyncio.TaskGroup()
            await tasks.__aenter__()
            # Left without the block's own error, which the group would wrap in an ExceptionGroup.
            stack.push_async_callback(tasks.__aexit__, None, None, None)
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
        exchanges = self._servers[0]
        exchanges.close()
        for connection in tuple(self._connections):
            connection.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                while any(connection.busy for connection in self._connections):  # noqa: ASYNC110 # at the end only
                    await asyncio.sleep(_POLL_SECONDS)
        self._cut()

    def _cut(self) -> None:
        self._health.stop()
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.cut()

    async def _serve(self, stack: contextlib.AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        settings = self._settings

        def served(new_exchange: NewExchange | None) -> _Served:
            return _Served(
                self._limits,
                settings.max_message_bytes,
                new_exchange,
                self._clock,
                self._health,
                tasks,
                self._connections,
                settings.max_connections,
            )

        context = None
        if settings.tls is not None:
            tls = ServingTls(settings.tls)
            context = await tls.load()
            stack.callback(tasks.create_task(tls.follow()).cancel)
        await self._listen(settings.address, settings.port, served(self._new_exchange), context)
        if settings.health_port is not None:
            # Probes speak plain text: they carry nothing worth hiding and know no certificate.
            address = settings.health_address or settings.address
            await self._listen(address, settings.health_port, served(None), None)

    async def _listen(self, address: str, port: int, served: _Served, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            if address == EVERY_ADDRESS:
                server = await loop.create_server(
                    lambda: _Connection(served), sock=every_address(port), ssl=context, backlog=_BACKLOG
                )
            else:
                server = await loop.create_server(
                    lambda: _Connection(served), address, port, ssl=context, backlog=_BACKLOG
                )
        except OSError as error:
            raise cannot_listen("the picker", address, port, error, "picker.listen") from error
        self._servers.append(server)
        self._ports.append(int(server.sockets[0].getsockname()[1]))


class _Connection(asyncio.Protocol):
    """One connection of a gateway: carries bytes between its socket and its calls."""

    def __init__(self, served: _Served) -> None:
        self._served = served
        self._calls = Calls(served.limits, self._call)
        self._transport: asyncio.Transport | None = None
        self._preface: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether an exchange is open on it."""
        return any(isinstance(call, ExchangeCall) for call in self._calls.open)

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        if len(self._served.connections) >= self._served.max_connections:
            self._transport.abort()
            return
        self._served.connections.add(self)
        _keep_alive(transport.get_extra_info("socket"))
        self._preface = asyncio.get_running_loop().call_later(_PREFACE_SECONDS, self._transport.abort)
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self._preface is not None:
            self._preface.cancel()
            self._preface = None
        self._calls.receive(data)
        self.flush()
        if self._calls.failed and self._transport is not None:
            self._transport.close()

    def eof_received(self) -> None:
        """The gateway sends no more: the transport closes the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self._preface is not None:
            self._preface.cancel()
        self._served.connections.discard(self)
        self._calls.lost()

    def pause_writing(self) -> None:
        """The gateway does not read: what it sends is not read either, or its answers would pile up here."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    # What the owner and the calls ask

    def leave(self) -> None:
        """Take no new calls."""
        self._calls.leave()
        self.flush()

    def cut(self) -> None:
        """End it now; calls that are open are told."""
        if self._transport is not None:
            self._transport.close()

    def flush(self) -> None:
        """Write what is to be sent."""
        out = self._calls.take()
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def _call(self, calls: Calls, path: str | None, stream: int) -> Call | None:
        served = self._served
        if path is None:
            return _PlainRequest(calls, stream)
        if path == _PROCESS and served.new_exchange is not None:
            return ExchangeCall(calls, stream, served.new_exchange(), served.clock, served.max_message_bytes)
        if path == _CHECK:
            return HealthCheck(calls, stream, served.health)
        if path == _WATCH:
            return HealthWatch(calls, stream, served.health, served.watches, self.flush)
        return None


class _PlainRequest:
    """A request that is no gRPC call: told so once it has come, whatever it holds."""

    def __init__(self, calls: Calls, stream: int) -> None:
        self._calls = calls
        self._stream = stream

    def received(self, data: bytes, *, ended: bool) -> None:
        """See `Call`."""
        del data
        if ended:
            block, body = plain_answer(415, "this port serves gRPC: POST with content-type application/grpc\n")
            self._calls.answer(self._stream, block)
            self._calls.send(self._stream, body, END_DATA)

    def gone(self) -> None:
        """See `Call`."""


def _keep_alive(connection: socket.socket | None) -> None:
    if connection is None:
        return
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
