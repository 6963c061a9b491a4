"""What the http2 transport alone does: certificates that change, gateways that prove who they are, bad neighbours."""

import asyncio
import contextlib
import gc
import random
import ssl
import time
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infscale.process.server_tls import ServingTls
from infscale.process.tls_files import TlsFiles
from lab.certificates import Authority, KeyPair
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.transport.h2 import frames
from picker.transport.h2.events import Limits
from picker.transport.h2.frames import Kind, frame
from picker.transport.h2.hpack import literal
from picker.transport.interface import EXT_PROC_SERVICE, TransportSettings
from picker.transport.server.http2 import ALPN, Http2Transport
from picker.transport.server.port import Port
from tests.fakes.director import FakeDirector
from tests.picker.transport import gateway
from tests.picker.transport.h2.test_connection import BLOCK

NOW = datetime.now(UTC)
PATH = literal(b":path", f"/{EXT_PROC_SERVICE}/Process".encode())
EXCHANGE = BLOCK.replace(literal(b":path", b"/service/Method"), PATH)
GREETING = frames.PREFACE + frames.settings(())


@asynccontextmanager
async def serving(
    director: FakeDirector | None = None, settings: TransportSettings | None = None, limits: Limits | None = None
) -> AsyncGenerator[Http2Transport]:
    rng, behind = random.Random(1), director or FakeDirector()
    made = Http2Transport(
        settings or TransportSettings(port=0),
        lambda: Exchange(ExchangeSettings(), behind, rng),
        time.monotonic,
        lambda: True,
        limits,
    )
    async with made as transport:
        yield transport


@asynccontextmanager
async def connected(
    port: int, context: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def of(transport: Http2Transport) -> Port:
    """What is behind the transport's port."""
    port = transport._port  # pyright: ignore[reportPrivateUsage]
    assert port is not None
    return port


def written(folder: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    return certificate, key


async def talk(reader: asyncio.StreamReader, until: bytes) -> bytes:
    heard = b""
    async with asyncio.timeout(5):
        while until not in heard:
            data = await reader.read(65_536)
            if not data:
                break
            heard += data
    return heard


async def test_plain_http_requests_are_told_what_this_port_is() -> None:
    async with serving() as transport, connected(transport.port) as (reader, writer):
        block = BLOCK.replace(b"application/grpc", b"application/json")
        writer.write(GREETING + frame(Kind.HEADERS, 5, 1, block))
        assert b"this port serves gRPC" in await talk(reader, b"application/grpc\n")


async def test_http_1_is_turned_away_with_a_reason() -> None:
    async with serving() as transport, connected(transport.port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"speaks HTTP/2 without an upgrade" in await talk(reader, b"nothing else comes")


async def test_who_connects_and_says_nothing_is_let_go() -> None:
    settings = TransportSettings(port=0, greeting_seconds=0.1)
    async with serving(settings=settings) as transport, connected(transport.port) as (reader, _):
        assert not (await talk(reader, b"nothing at all")).endswith(b"nothing at all")


async def test_connections_are_as_many_as_allowed() -> None:
    async with (
        serving(settings=TransportSettings(port=0, max_connections=1)) as transport,
        connected(transport.port) as (first, _),
    ):
        assert await first.read(1)
        async with connected(transport.port) as (second, _):
            assert await second.read(1) == b""


async def test_a_gateway_that_does_not_read_is_not_read_either() -> None:
    """Pings are answered as they come; a flood of them without reading the answers stops in the sockets' buffers."""
    async with serving() as transport, connected(transport.port) as (reader, writer):
        writer.write(GREETING)
        pings = frame(Kind.PING, 0, 0, b"12345678") * 10_000

        async def flood() -> None:
            while True:
                writer.write(pings)
                await writer.drain()

        assert await reader.read(1)
        [connection] = of(transport).connections
        socket = connection._transport  # pyright: ignore[reportPrivateUsage]
        assert socket is not None
        async with asyncio.TaskGroup() as tasks:
            flooding = tasks.create_task(flood())
            while not transport.budget.held_bytes:
                await asyncio.sleep(0.01)
            assert not socket.is_reading()
            assert socket.get_write_buffer_size() < 1 << 20
            while not socket.is_reading():
                await reader.read(1 << 16)
            flooding.cancel()


async def test_a_connection_that_breaks_ends_its_exchanges() -> None:
    director = FakeDirector()
    async with serving(director) as transport, connected(transport.port) as (_, writer):
        message = gateway.headers((":path", "/v1/completions"), end_of_stream=True)
        data = b"\0" + len(message).to_bytes(4, "big") + message
        writer.write(GREETING + frame(Kind.HEADERS, 4, 1, EXCHANGE) + frame(Kind.DATA, 0, 1, data))
        async with asyncio.timeout(5):
            while not director.open:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while director.open:
                await asyncio.sleep(0.01)


async def test_a_stream_that_ends_within_a_message_is_told_so_and_its_decision_is_released() -> None:
    director = FakeDirector()
    async with serving(director) as transport, connected(transport.port) as (reader, writer):
        message = gateway.headers((":path", "/v1/completions"), end_of_stream=True)
        data = b"\0" + len(message).to_bytes(4, "big") + message + b"\0\0\0"
        writer.write(GREETING + frame(Kind.HEADERS, 4, 1, EXCHANGE) + frame(Kind.DATA, 1, 1, data))
        heard = await talk(reader, b"the stream ends within a message")
    assert heard.endswith(b"the stream ends within a message")
    assert director.open == 0
    assert director.outcome.kind == "error"


async def test_a_changed_certificate_serves_new_connections_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    first, second = (Authority.made(name, NOW) for name in ("first", "second"))
    certificate, key = written(tmp_path, "tls", first.server("picker", ("127.0.0.1",), NOW))
    tls = ServingTls("the picker", TlsFiles(certificate, key), ALPN)
    listening = await tls.load()
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=listening) as server:
        port = int(server.sockets[0].getsockname()[1])
        assert await believed(port, first) == "h2"
        assert not await tls.followed.refresh(), "nothing has changed"
        written(tmp_path, "tls", second.server("picker", ("127.0.0.1",), NOW))
        assert await tls.followed.refresh()
        assert await believed(port, second) == "h2"
        with pytest.raises(ssl.SSLCertVerificationError):
            await believed(port, first)
        key.write_bytes(b"no key")
        assert not await tls.followed.refresh()
        assert await believed(port, second) == "h2"


async def believed(port: int, authority: Authority) -> str | None:
    """The protocol that a client which believes `authority` agrees on."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    async with connected(port, context) as (_, writer):
        agreed = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    return None if agreed is None else str(agreed)


async def test_with_a_client_ca_only_its_gateways_are_served(tmp_path: Path) -> None:
    ca, stranger = (Authority.made(name, NOW) for name in ("gateways", "strangers"))
    certificate, key = written(tmp_path, "tls", ca.server("picker", ("127.0.0.1",), NOW))
    (tmp_path / "ca.crt").write_bytes(ca.pem)
    files = TlsFiles(certificate, key, tmp_path / "ca.crt")
    async with serving(settings=replace(TransportSettings(port=0), tls=files)) as transport:
        for signer, served in ((ca, True), (stranger, False), (None, False)):
            context = ssl.create_default_context(cadata=ca.pem.decode())
            context.set_alpn_protocols(["h2"])
            if signer is not None:
                context.load_cert_chain(*written(tmp_path, "gateway", signer.client("gateway", (), NOW)))
            assert await greeted(transport.port, context) is served


async def greeted(port: int, context: ssl.SSLContext) -> bool:
    """Whether the server says anything to a client with this context."""
    try:
        async with connected(port, context) as (reader, writer):
            writer.write(GREETING)
            return bool(await reader.read(9))
    except (ssl.SSLError, ConnectionError):
        return False


async def test_a_connection_that_is_gone_stays_in_memory_for_no_garbage_collector() -> None:
    """Garbage is collected rarely: what holds itself would keep whole bodies until then."""
    gc.collect()
    gc.disable()
    try:
        async with serving() as transport:
            async with connected(transport.port) as (reader, writer):
                message = gateway.headers((":path", "/v1/completions"))
                data = b"\0" + len(message).to_bytes(4, "big") + message
                writer.write(GREETING + frame(Kind.HEADERS, 4, 1, EXCHANGE) + frame(Kind.DATA, 0, 1, data))
                assert await reader.read(1)
                [connection] = [weakref.ref(each) for each in of(transport).connections]
            async with asyncio.timeout(5):
                while connection() is not None:
                    await asyncio.sleep(0.01)
            assert transport.budget.held_bytes == 0
    finally:
        gc.enable()


async def test_a_frame_that_drips_is_cut_however_often_a_byte_comes() -> None:
    settings = TransportSettings(port=0, frame_seconds=0.4)
    async with serving(settings=settings) as transport, connected(transport.port) as (reader, writer):
        writer.write(GREETING)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(talk(reader, b"nothing that is said"))
            for byte in frame(Kind.HEADERS, 4, 1, EXCHANGE):
                # A byte behind the end would have the socket reset, and with it what was said lost.
                if not transport.counts["unfinished_frame"]:
                    writer.write(bytes((byte,)))
                    await asyncio.sleep(0.03)
        assert listening.result().endswith(b"a frame took too long to come")
        assert transport.counts["unfinished_frame"] == 1


async def test_limits_are_said_once_in_a_while_and_without_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as transport:
        for _ in range(3):
            async with connected(transport.port) as (reader, writer):
                writer.write(b"GET /secret HTTP/1.1\r\n\r\n")
                await talk(reader, b"nothing else comes")
        assert transport.counts["protocol_fault"] == 3
    [record] = [each for each in caplog.records if each.name == "picker.transport.limits"]
    assert vars(record)["fields"] == {"limit": "protocol_fault", "peer": "127.0.0.1", "times": 1}
