"""Simulated model servers on real sockets, any number of them in one process.

``async with SimFleet(settings, rng, wall) as fleet`` starts a server per setting, each on its own port, and stops them
all at the end. `SimServer` is one of them.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Self

from aiohttp import web

from infscale.errors import StartError
from infscale.process.listening import cannot_listen
from infscale.sim.http.completions import bad_request
from infscale.sim.http.http_api import FaultOrder, HttpApi
from infscale.sim.http.replica import Replica
from infscale.sim.settings import Fault, FaultKind, SimServerSettings

__all__ = ["Fault", "FaultKind", "SimFleet", "SimServer", "SimServerSettings"]

_MAX_BODY_BYTES = 64 * 1024**2
_SHUTDOWN_SECONDS = 0.2
_ACCEPTING_ROUNDS = 5
"""How long a request may take to notice that its connection is gone; 0 would mean for ever to aiohttp."""


class SimServer:
    """One simulated server. `port` and, where asked for, `dcgm_port` are known once it runs.

    `rng` decides ids and which requests a fault hits, `wall` gives Unix time, `neighbours` finds the other servers of
    the process by name, for ``/sim/faults``. Starting raises `StartError` when a port is taken.
    """

    def __init__(
        self,
        settings: SimServerSettings,
        rng: random.Random,
        wall: Callable[[], float],
        neighbours: Callable[[str], "SimServer | None"] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.port = settings.port
        self.dcgm_port = settings.dcgm_port
        self._rng = rng
        self._wall = wall
        self._neighbours = neighbours
        self._stack = AsyncExitStack()
        self._expiries: dict[FaultKind, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            self.replica = Replica(self.settings, self._rng, self._wall, loop)
            self._api = HttpApi(self.replica, self._obey)
            # Requests that accept bodies as long as prompts get.
            requests = partial(web.BaseRequest, loop=loop, client_max_size=_MAX_BODY_BYTES)
            self._web = web.Server(self._api, request_factory=requests, handler_cancellation=True, access_log=None)
            self._listener = await self._listen(self._web, self.settings.port)
            self.port = _port_of(self._listener)
            stack.push_async_callback(self._stop)
            if self.settings.dcgm_port is not None:
                exporter = web.Server(self._api.gpu_metrics, access_log=None)
                self.dcgm_port = _port_of(await stack.enter_async_context(self._served(exporter)))
            # Last, because a task group would wrap what fails within it.
            self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(self._stop_expiries)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _stop_expiries(self) -> None:
        for expiry in self._expiries.values():
            expiry.cancel()

    async def _stop(self) -> None:
        # asyncio leaves a connection open that it is about to accept when the listener closes: accept no more, and let
        # it finish first.
        loop = asyncio.get_running_loop()
        for listening in self._listener.sockets:
            loop.remove_reader(listening.fileno())
        for _ in range(_ACCEPTING_ROUNDS):
            await asyncio.sleep(0)
        self._listener.close()
        self.replica.stop()
        self._drop_connections()
        await self._web.shutdown(_SHUTDOWN_SECONDS)

    @asynccontextmanager
    async def _served(self, exporter: web.Server) -> AsyncGenerator[asyncio.Server]:
        listener = await self._listen(exporter, self.settings.dcgm_port or 0)
        try:
            yield listener
        finally:
            listener.close()
            await exporter.shutdown(_SHUTDOWN_SECONDS)

    async def _listen(self, server: web.Server, port: int) -> asyncio.Server:
        address = self.settings.address
        try:
            return await asyncio.get_running_loop().create_server(server, address, port, reuse_address=True)
        except OverflowError as error:
            raise StartError(f"simulated server {self.settings.name}: port {port} is none; choose another") from error
        except OSError as error:
            who = f"simulated server {self.settings.name}"
            raise cannot_listen(who, address, port, error, "--port (0: a free one)") from error

    @property
    def waiting(self) -> int:
        """Requests in the queues, whatever the metrics page says."""
        return sum(rank.engine.waiting for rank in self.replica.ranks)

    @property
    def running(self) -> int:
        """Requests in the batches, whatever the metrics page says."""
        return sum(rank.engine.running for rank in self.replica.ranks)

    async def inject(self, fault: Fault) -> None:
        """Misbehave from now on, until `clear` or for the fault's seconds."""
        await self.clear(fault.kind)
        self.replica.add_fault(fault)
        if fault.kind is FaultKind.REFUSE:
            self._listener.close()
            self._close_idle_connections()
        elif fault.kind is FaultKind.SLOW_START:
            self._drop_connections()
        if fault.seconds is not None:
            self._expiries[fault.kind] = self._tasks.create_task(self._expire(fault.kind, fault.seconds))

    async def clear(self, kind: FaultKind | None = None) -> None:
        """End the fault of this kind, or all of them; ending one that is not there is fine."""
        for one in tuple(self.replica.faults) if kind is None else (kind,):
            expiry = self._expiries.pop(one, None)
            if expiry is not None and expiry is not asyncio.current_task():
                expiry.cancel()
            if one is FaultKind.REFUSE and one in self.replica.faults:
                self._listener = await self._listen(self._web, self.port)
            self.replica.remove_fault(one)

    async def _expire(self, kind: FaultKind, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while kind in self.replica.faults:
            try:
                await self.clear(kind)
            except StartError:
                # Another program took the port meanwhile; the server comes back when the port is free again.
                await asyncio.sleep(seconds)

    def _close_idle_connections(self) -> None:
        for connection in self._web.connections:
            if connection in self._api.busy:
                connection.close()
            else:
                connection.force_close()

    def _drop_connections(self) -> None:
        for connection in self._web.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _obey(self, order: FaultOrder) -> None:
        server = self
        if order.endpoint is not None and order.endpoint != self.settings.name:
            neighbour = self._neighbours(order.endpoint)
            if neighbour is None:
                raise bad_request("endpoint is the name of a server of this process", "endpoint")
            server = neighbour
        if order.fault is not None:
            await server.inject(order.fault)
        else:
            await server.clear(order.kind)


class SimFleet:
    """Simulated servers in one process, in the order of their settings; names are unique."""

    def __init__(self, settings: Sequence[SimServerSettings], rng: random.Random, wall: Callable[[], float]) -> None:
        self.servers = tuple(SimServer(one, rng, wall, self.find) for one in settings)
        self._by_name = {server.settings.name: server for server in self.servers}
        if len(self._by_name) != len(self.servers):
            raise ValueError("two servers have the same name")
        self._stack = AsyncExitStack()

    def find(self, name: str) -> SimServer | None:
        """The server of this name."""
        return self._by_name.get(name)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for server in self.servers:
                await stack.enter_async_context(server)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def discovery_document(self) -> dict[str, Any]:
        """The running servers in the form the file discovery reads."""
        return {
            "endpoints": [
                {
                    "name": server.settings.name,
                    "namespace": server.settings.namespace,
                    "address": server.settings.address,
                    "port": str(server.port),
                    "labels": dict(server.settings.labels),
                }
                for server in self.servers
            ]
        }


def _port_of(listener: asyncio.Server) -> int:
    return int(listener.sockets[0].getsockname()[1])
