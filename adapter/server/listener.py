"""Accepts connections of the adapter: each is counted and bounded before its TLS handshake begins."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from adapter.server.connections import Connection
from adapter.server.http_connection import StatusServer
from infscale.process.log import where
from infscale.process.tasks import running

_PAUSE_SECONDS = 0.1
_QUIET_SECONDS = 60.0
_SHUTDOWN_SECONDS = 5.0
# A peer that has gone already is no fault of the socket that listens.
_PASSING = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EINTR})

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Listener:
    """Serves what comes to sockets that listen while its block `accepting` runs; owns them and the handshakes."""

    sockets: Sequence[socket.socket]
    context: ssl.SSLContext
    server: StatusServer
    _quiet_until: float = field(default=0.0, init=False)

    @asynccontextmanager
    async def accepting(self) -> AsyncGenerator[None, None]:
        """Accept until the block ends; the sockets are closed then."""
        with ExitStack() as stack:
            for each in self.sockets:
                stack.enter_context(each)
            async with running(*(self._accept(each) for each in self.sockets)):
                yield

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as handshakes:
            while True:
                try:
                    accepted, address = await loop.sock_accept(listening)
                except OSError as error:
                    await self._failed(error)
                    continue
                connection = self.server.limited.admit(str(address[0]), partial(_cut, accepted))
                _Handshake(accepted, connection, self).begin(handshakes)

    async def _failed(self, error: OSError) -> None:
        if error.errno in _PASSING:
            return
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            _log.error("the adapter cannot accept connections now: %s", error.strerror or error)
        await asyncio.sleep(_PAUSE_SECONDS)


class _Handshake:
    """One connection from its acceptance until its protocol handler has it; guards whose its socket is."""

    def __init__(self, accepted: socket.socket, connection: Connection, listener: Listener) -> None:
        self._accepted: socket.socket | None = accepted
        self._connection = connection
        self._connections = listener.server.limited
        self._server = listener.server
        self._context = listener.context

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Shake hands, as one of `tasks`."""
        tasks.create_task(self._run()).add_done_callback(self._close)

    def _close(self, _: object) -> None:
        """A task that is cancelled before its first step has given its socket away to nothing."""
        if self._accepted is not None:
            self._accepted.close()
            self._connections.release(self._connection)

    async def _run(self) -> None:
        accepted, self._accepted = self._accepted, None
        if accepted is None:
            raise RuntimeError("a handshake runs once")
        connection, connections = self._connection, self._connections
        seconds = connections.limits.handshake_seconds
        try:
            # The loop's own limit of a handshake has no error of its own.
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: self._server.handler(connection),
                    accepted,
                    ssl=self._context,
                    ssl_handshake_timeout=2 * seconds,
                    ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
                )
        except TimeoutError:
            connections.close(connection, "handshake_timeout")
        except OSError:
            # No TLS, or none that we take; the client knows.
            connections.release(connection)
        except Exception as error:
            # The top of a connection's life: what one provokes ends that one alone.
            connections.release(connection)
            _log.error("the adapter failed at a TLS handshake: %s", where(error))
        except BaseException:
            connections.release(connection)
            raise


def _cut(accepted: socket.socket) -> None:
    """End a connection whose handshake has not ended."""
    with suppress(OSError):
        accepted.shutdown(socket.SHUT_RDWR)
