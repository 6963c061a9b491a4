"""Real local HTTP servers that misbehave in one way each."""

import asyncio
import ssl
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from infscale.endpoint import EndpointKey
from infscale.metrics.sample import EngineSample

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RecordingSink:
    """Keeps what is recorded and tells when enough of it has come."""

    def __init__(self) -> None:
        self.samples: list[tuple[EndpointKey, EngineSample, float]] = []
        self.failures: list[tuple[EndpointKey, str, float]] = []
        self._arrived = asyncio.Event()

    def record_scrape(self, key: EndpointKey, sample: EngineSample, at: float) -> None:
        self.samples.append((key, sample, at))
        self._arrived.set()

    def record_failure(self, key: EndpointKey, cause: str, at: float) -> None:
        self.failures.append((key, cause, at))
        self._arrived.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until recording something has made `condition` true."""
        while not condition():
            self._arrived.clear()
            await self._arrived.wait()


@asynccontextmanager
async def http_server(handler: Handler, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncGenerator[str]:
    """A server that answers every path with `handler`, on `port` (0: any that is free); yields its address."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncGenerator[str]:
    """A server that writes exactly `answer` to each client and closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        await server.wait_closed()


def raw_page(body: bytes, *headers: str) -> bytes:
    """A 200 answer with exactly these headers."""
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/plain", *headers, "", ""]).encode() + body


def gzipped(body: bytes) -> bytes:
    """`body` in gzip's form."""
    compressor = zlib.compressobj(wbits=31)
    return compressor.compress(body) + compressor.flush()


def restricted(page: bytes, names: list[str]) -> bytes:
    """What a server that honours ``name[]`` answers: exactly the samples asked for."""
    kept: list[bytes] = []
    for line in page.splitlines():
        token = line.split()[2] if line.startswith(b"#") else line.partition(b"{")[0].partition(b" ")[0]
        plain = token.decode()
        if plain in names or (line.startswith(b"#") and any(name.startswith(plain + "_") for name in names)):
            kept.append(line)
    return b"".join(line + b"\n" for line in kept)
