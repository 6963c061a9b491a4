"""A user of the metrics API that sends what it likes: bytes over TLS, and what comes back."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass

G2 = "/apis/custom.metrics.k8s.io/v1beta2"
WAITING = f"{G2}/namespaces/default/pods/*/waiting_requests"
SECONDS = 5.0


def blind() -> ssl.SSLContext:
    """Trusts whatever certificate the adapter made for itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


TLS = blind()


def get(target: str, *headers: str) -> bytes:
    """One request as it goes over the wire."""
    lines = [f"GET {target} HTTP/1.1", "Host: a", *headers, "", ""]
    return "\r\n".join(lines).encode()


@dataclass
class User:
    """One connection to the adapter."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        """Write, as far as the adapter takes it."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(b"".join(parts))
            await self.writer.drain()

    async def flood(self, piece: bytes, seconds: float) -> int:
        """Write `piece` again and again for some time, or until the adapter closes; bytes that were written."""
        written = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(seconds):
                while not self.reader.at_eof():
                    self.writer.write(piece)
                    written += len(piece)
                    await self.writer.drain()
        return written

    async def answer(self) -> int | None:
        """The status of the next answer, whose body is read; None where the adapter closes instead."""
        try:
            async with asyncio.timeout(SECONDS):
                head = await self.reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
                await self.reader.readexactly(int(lengths[0][15:]))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return int(head.split()[1])

    async def closed(self, seconds: float = SECONDS) -> bool:
        """Whether the adapter closes within some time; what it still says is read."""
        try:
            async with asyncio.timeout(seconds):
                while await self.reader.read(1 << 18):
                    pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True


@contextlib.asynccontextmanager
async def user(port: int, context: ssl.SSLContext | None = TLS) -> AsyncGenerator[User]:
    """A connection to the adapter; without a `context` it is one of TCP alone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 20)
    try:
        yield User(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def users(port: int, count: int, context: ssl.SSLContext | None = TLS) -> AsyncGenerator[list[User]]:
    """So many connections at once; those that the adapter does not take are left out."""
    async with contextlib.AsyncExitStack() as stack:
        made: list[User] = []
        for _ in range(count):
            with contextlib.suppress(OSError, ssl.SSLError):
                made.append(await stack.enter_async_context(user(port, context)))
        yield made


async def served(port: int, target: str = WAITING) -> int | None:
    """The status of a well-behaved user's question on a connection of its own."""
    async with user(port) as one:
        await one.send(get(target))
        return await one.answer()
