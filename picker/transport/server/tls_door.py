"""Where connections come in that speak TLS: they have their place before anything is proven, and a time to prove it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial

from picker.transport.server.gateway_connection import GatewayConnection, keep_alive
from picker.transport.server.port import Port

_PAUSE_SECONDS = 0.05


class TlsDoor:
    """Accepts connections on a listening socket, until closed. What comes behind a handshake is `make`'s."""

    def __init__(
        self, listening: socket.socket, port: Port, make: Callable[[], GatewayConnection], context: ssl.SSLContext
    ) -> None:
        self.sockets = (listening,)
        self._port = port
        self._make = make
        self._context = context
        self._accepting = port.tasks.create_task(self._accept(listening))

    def close(self) -> None:
        """Accept no more; harmless when repeated."""
        self._accepting.cancel()
        self.sockets[0].close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError:
                # The peer has gone, or there are no descriptors left at the moment.
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            connection = self._make()
            if connection.enter(str(address[0]), partial(_shut, accepted)):
                keep_alive(accepted)
                self._port.tasks.create_task(self._shake_hands(accepted, connection))
            else:
                accepted.close()

    async def _shake_hands(self, accepted: socket.socket, connection: GatewayConnection) -> None:
        port = self._port
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, accepted, ssl=self._context, ssl_handshake_timeout=port.settings.greeting_seconds
            )
        except OSError:
            # A timeout, an alert and a connection that breaks all are.
            port.notes.acted("silent_connection", connection.peer, port.clock())
            port.leave(connection)
            accepted.close()


def _shut(accepted: socket.socket) -> None:
    """End a connection whose handshake goes on."""
    with contextlib.suppress(OSError):
        accepted.shutdown(socket.SHUT_RDWR)
