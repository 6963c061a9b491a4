"""Limits of connections over real TLS: drips, floods and silence end, and others are answered meanwhile."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, TCPConnector

from adapter.server.adapter_server import AdapterServer, AdapterSettings
from adapter.server.connections import ConnectionLimits
from tests.adapter.server.test_app import Api, trusting
from tests.adapter.support import vector_world

HEAD = b"GET /livez HTTP/1.1\r\nHost: a\r\n"


@asynccontextmanager
async def limited(**limits: float) -> AsyncGenerator[Api]:
    settings = AdapterSettings(port=0, connections=ConnectionLimits(**limits))  # type: ignore[arg-type]
    async with (
        AdapterServer(settings, vector_world()) as server,
        ClientSession(connector=TCPConnector(ssl=trusting(server))) as session,
    ):
        yield Api(server, session)


async def opened(api: Api) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", api.server.port, ssl=trusting(api.server))


async def seconds_until_closed(reader: asyncio.StreamReader) -> float:
    started = time.monotonic()
    try:
        async with asyncio.timeout(10):
            while await reader.read(65_536):
                pass
    except ConnectionError:
        pass
    return time.monotonic() - started


async def closed(api: Api, cause: str, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while api.server.stats.closed.counts[cause] < count:
            await asyncio.sleep(0.01)


BODY = b"GET /apis HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n"


@pytest.mark.parametrize("first", [b"GET /", HEAD + b"\r\nGET /", BODY], ids=["head", "second head", "body"])
async def test_what_drips_ends_in_its_time(first: bytes) -> None:
    """A byte every 0.1 s begins no time anew."""
    async with limited(head_seconds=0.4, body_seconds=0.4) as api:
        reader, writer = await opened(api)
        writer.write(first)
        closing = asyncio.get_running_loop().create_task(seconds_until_closed(reader))
        while not closing.done():
            writer.write(b"a")
            await asyncio.sleep(0.1)
        writer.close()
        assert closing.result() < 3
        assert (await api.ask("/livez"))[0] == 200


async def test_a_connection_that_proves_and_asks_nothing_ends() -> None:
    async with limited(idle_seconds=0.2) as api:
        reader, writer = await opened(api)
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await seconds_until_closed(reader) < 3
        writer.close()
        await closed(api, "idle")


async def test_a_handshake_that_does_not_begin_ends() -> None:
    async with limited(handshake_seconds=0.2) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.server.port)
        assert await seconds_until_closed(reader) < 3
        writer.close()
        await closed(api, "handshake_timeout")
        assert (await api.ask("/livez"))[0] == 200


async def test_a_head_of_two_mebibytes_is_refused_with_a_status() -> None:
    line = b"X-Filler: " + b"a" * 8_000 + b"\r\n"
    async with limited() as api:
        status, body = await api.send(HEAD + line * 200)
        assert (status, body["kind"], body["code"]) == (431, "Status", 431)
        await closed(api, "head_too_large")


async def test_a_head_of_half_a_mebibyte_is_served() -> None:
    line = b"X-Filler: " + b"a" * 8_000 + b"\r\n"
    async with limited() as api:
        reader, writer = await opened(api)
        writer.write(HEAD + line * 64 + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_unfinished_heads_are_bounded_in_all() -> None:
    async with limited(all_unread_bytes=1_000_000) as api:
        writers = [(await opened(api))[1] for _ in range(8)]
        for writer in writers:
            writer.write(HEAD + (b"X-Filler: " + b"a" * 8_000 + b"\r\n") * 60)
        await closed(api, "unread_limit", 6)
        assert (await api.ask("/livez"))[0] == 200
        for writer in writers:
            writer.transport.abort()


async def test_silent_connections_leave_room_for_others() -> None:
    """More sockets than the adapter keeps, without a byte; each question of others needs a connection of its own."""
    async with limited(unproven=8) as api:
        sockets = [socket.create_connection(("127.0.0.1", api.server.port)) for _ in range(40)]
        for _ in range(5):
            assert (await api.ask("/livez", Connection="close"))[0] == 200
        await closed(api, "connection_limit", 30)
        for each in sockets:
            each.close()


async def test_an_answer_that_is_not_read_ends_the_connection() -> None:
    async with limited(write_seconds=0.3) as api:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", api.server.port))
        reader, writer = await asyncio.open_connection(
            sock=raw, ssl=trusting(api.server), server_hostname="127.0.0.1", limit=1_024
        )
        # Enough answers to fill what the kernel takes.
        for _ in range(300):
            writer.write(b"GET /openapi/v2 HTTP/1.1\r\nHost: a\r\n\r\n")
        await closed(api, "write_timeout")
        writer.transport.abort()
        del reader


async def test_a_body_that_has_ended_leaves_its_connection_as_it_was() -> None:
    async with limited(head_seconds=0.3) as api:
        reader, writer = await opened(api)
        for ended in range(2):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(2) == b"ok"
            # The limit has passed when it ends a head that began later.
            _, unfinished = await opened(api)
            unfinished.write(b"GET /")
            await closed(api, "head_timeout", ended + 1)
            unfinished.close()
        writer.close()
        assert sum(api.server.stats.closed.counts.values()) == 2


async def test_a_connection_that_comes_as_the_server_ends_leaves_no_socket() -> None:
    """Warnings are errors: an accepted socket that is not closed is one."""
    for _ in range(10):
        async with limited() as api:
            sockets = [socket.create_connection(("127.0.0.1", api.server.port)) for _ in range(20)]
            await asyncio.sleep(0)
        for each in sockets:
            each.close()
