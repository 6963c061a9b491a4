"""The node agent's page over HTTP or HTTPS: ``/metrics`` and ``/healthz``, with bounds on all that clients control."""

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web

from infscale.endpoint import authority
from infscale.process.listening import listening
from infscale.process.server_tls import ServingTls
from infscale.process.tasks import running
from infscale.process.tls_files import TlsFiles
from infscale.telemetry.own_metrics import CONTENT_TYPE, OwnMetrics

MOST_CONNECTIONS: Final = 64
"""Connections that are open at once; more are closed."""
CONNECTION_SECONDS: Final = 300.0
"""How long one may be open: a client that needs longer connects again."""
_LINE_BYTES: Final = 4_096
_FIELD_BYTES: Final = 8_192
_HEADERS: Final = 64
_HANDSHAKE_SECONDS: Final = 5.0
_FOLLOW_SECONDS: Final = 10.0


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class AgentServer:
    """Serves `page` while its block is open; port 0 takes a free one, read from `port`."""

    def __init__(self, host: str, port: int, tls: TlsFiles | None, page: OwnMetrics) -> None:
        self._host = host
        self.port = port
        self._tls = tls
        self._page = page
        self._context: ssl.SSLContext | None = None
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http{'s' if self._tls else ''}://{authority(self._host, self.port)}"

    async def __aenter__(self) -> "AgentServer":
        async with AsyncExitStack() as stack:
            if self._tls is not None:
                tls = ServingTls("the node agent", self._tls, ("http/1.1",))
                self._context = await tls.load()
                await stack.enter_async_context(running(tls.followed.follow(_FOLLOW_SECONDS)))
            server = web.Server(
                self._answer,
                access_log=None,
                max_line_size=_LINE_BYTES,
                max_field_size=_FIELD_BYTES,
                max_headers=_HEADERS,
            )
            stack.push_async_callback(server.shutdown, 1.0)
            for each in await listening("the node agent", self._host, self.port, "--listen"):
                await self._serve(server, each, stack)
                self.port = int(each.getsockname()[1])
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _serve(self, server: web.Server, listens: socket.socket, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            if len(server.connections) >= MOST_CONNECTIONS:
                return _Refused()
            handler = server()
            loop.call_later(CONNECTION_SECONDS, handler.force_close)
            return handler

        made = await loop.create_server(
            connection,
            sock=listens,
            ssl=self._context,
            ssl_handshake_timeout=None if self._context is None else _HANDSHAKE_SECONDS,
        )
        stack.callback(made.close)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, text="GET is answered alone\n")
        if request.path == "/healthz":
            return web.Response(text="ok")
        if request.path != "/metrics":
            return web.Response(status=404, text="there is /metrics and /healthz\n")
        return web.Response(body=await self._page.written(), headers={"Content-Type": CONTENT_TYPE})
