import asyncio
import gc
import ssl
import weakref
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from infscale.certificates import self_signed
from infscale.periodic import FetchError, Rejected, Unreachable
from infscale.scrape.fetch import Page, fetch
from tests.scrape.servers import gzipped, http_server, raw_page, raw_server

BODY = b"up 1\n" * 1000


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def get(session: aiohttp.ClientSession, authority: str, limit: int = 1 << 20) -> Page:
    return await fetch(session, URL(f"http://{authority}/metrics"), limit)


CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        pytest.param(raw_page(BODY, f"Content-Length: {len(BODY)}"), True, id="content length"),
        pytest.param(raw_page(CHUNKED, "Transfer-Encoding: chunked"), True, id="chunked"),
        pytest.param(raw_page(BODY, "Connection: close"), False, id="until the connection closes"),
        pytest.param(
            raw_page(gzipped(BODY), f"Content-Length: {len(gzipped(BODY))}", "Content-Encoding: gzip"), True, id="gzip"
        ),
    ],
)
async def test_a_page_arrives_with_word_about_its_end(
    session: aiohttp.ClientSession, answer: bytes, whole: bool
) -> None:
    async with raw_server(answer) as authority:
        assert await get(session, authority) == Page(BODY, whole)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(raw_page(BODY, f"Content-Length: {len(BODY) + 1}"), "page truncated", id="content length not met"),
        pytest.param(raw_page(CHUNKED[:-20], "Transfer-Encoding: chunked"), "page truncated", id="chunks not ended"),
        pytest.param(
            raw_page(b"not gzip", "Content-Length: 8", "Content-Encoding: gzip"), "page truncated", id="broken gzip"
        ),
        pytest.param(b"", "connection closed by the server", id="nothing"),
        pytest.param(b"SSH-2.0-x\r\n", "the server does not speak HTTP", id="other protocol"),
        pytest.param(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", "HTTP 500", id="500"),
        pytest.param(b"HTTP/1.1 204 X\r\n\r\n", "HTTP 204", id="204"),
    ],
)
async def test_a_page_that_is_not_whole_is_no_page(session: aiohttp.ClientSession, answer: bytes, cause: str) -> None:
    async with raw_server(answer) as authority:
        with pytest.raises(FetchError, match=f"^{cause}$"):
            await get(session, authority)


@pytest.mark.parametrize(
    "headers",
    [(f"Content-Length: {len(BODY)}",), (), (f"Content-Length: {len(gzipped(BODY))}", "Content-Encoding: gzip")],
    ids=["announced", "streamed", "compressed"],
)
async def test_a_page_over_the_limit_is_refused(session: aiohttp.ClientSession, headers: tuple[str, ...]) -> None:
    body = gzipped(BODY) if len(headers) == 2 else BODY
    async with raw_server(raw_page(body, *headers)) as authority:
        with pytest.raises(FetchError, match=r"^page larger than 0\.00390625 MiB$"):
            await get(session, authority, 4096)


async def test_an_endless_page_is_left_at_the_limit(session: aiohttp.ClientSession) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with http_server(endless) as authority:
        with pytest.raises(FetchError, match="page larger than 1 MiB"):
            await get(session, authority)


async def test_a_refused_page_is_freed_at_once(session: aiohttp.ClientSession) -> None:
    """An error that refers to itself would keep megabytes until the garbage collector comes by."""
    errors: list[weakref.ref[FetchError]] = []
    async with raw_server(raw_page(BODY)) as authority:
        gc.disable()
        try:
            try:
                await get(session, authority, 4096)
            except FetchError as error:
                errors.append(weakref.ref(error))
            assert [error() for error in errors] == [None]
        finally:
            gc.enable()


async def test_redirects_are_not_followed(session: aiohttp.ClientSession) -> None:
    visits: list[str] = []

    async def redirect(request: web.Request) -> web.StreamResponse:
        visits.append(request.path)
        raise web.HTTPFound("/elsewhere")

    async with http_server(redirect) as authority:
        with pytest.raises(FetchError, match="HTTP 302, redirects are not followed"):
            await get(session, authority)
    assert visits == ["/metrics"]


async def test_a_4xx_is_told_apart(session: aiohttp.ClientSession) -> None:
    async def forbidden(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPForbidden

    async with http_server(forbidden) as authority:
        with pytest.raises(Rejected, match="HTTP 403"):
            await get(session, authority)


async def test_nobody_listening_is_told_apart(session: aiohttp.ClientSession, unused_port: int) -> None:
    with pytest.raises(Unreachable, match="connection refused"):
        await get(session, f"127.0.0.1:{unused_port}")


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_a_certificate_is_verified_unless_told_otherwise(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    pair = self_signed("127.0.0.1", datetime.now(UTC).replace(microsecond=0), timedelta(days=1))
    for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
        await asyncio.to_thread((tmp_path / name).write_bytes, content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(context.load_cert_chain, tmp_path / "tls.crt", tmp_path / "tls.key")
    app = web.Application()

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=BODY)

    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        url = URL(f"https://127.0.0.1:{runner.addresses[0][1]}/metrics")
        with pytest.raises(FetchError, match=r"^TLS handshake failed$"):
            await fetch(session, url)
        assert (await fetch(session, url, verify_tls=False)).body == BODY
    finally:
        await runner.cleanup()
