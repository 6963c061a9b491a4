"""Where connections come in that speak TLS: they have their place before anything is proven, and a time to prove it."""

import asyncio
import contextlib
import ssl
from typing import cast

from picker.transport.gateway_connection import GatewayConnection
from picker.transport.port import Port


class TlsDoor(asyncio.Protocol):
    """One connection before its handshake. What comes behind that is its gateway's."""

    def __init__(self, port: Port, connection: GatewayConnection, context: ssl.SSLContext) -> None:
        self._port = port
        self._connection = connection
        self._context = context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, if there is one, and shake hands."""
        # uvloop's transports are no subclasses of asyncio's.
        raw = cast("asyncio.Transport", transport)
        # What comes first belongs to the handshake.
        raw.pause_reading()
        if self._connection.enter(raw):
            self._port.tasks.create_task(self._shake_hands(raw))

    async def _shake_hands(self, raw: asyncio.Transport) -> None:
        port, connection = self._port, self._connection
        loop = asyncio.get_running_loop()
        served: asyncio.Transport | None = None
        with contextlib.suppress(OSError, RuntimeError, asyncio.CancelledError):
            # A timeout, an alert and a connection that breaks are OSErrors; one that was closed already is the other.
            served = await loop.start_tls(
                raw, connection, self._context, server_side=True, ssl_handshake_timeout=port.greeting_seconds
            )
        if served is None:
            port.no_handshake(connection)
            raw.abort()
        else:
            connection.connection_made(served)
