import asyncio
import gc
import ssl
import tracemalloc
import weakref
import zlib
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from infscale.periodic import FetchError, Rejected, Unreachable
from infscale.process.certificates import CertificatePair, self_signed
from infscale.scrape.answer import Answer, Page, Room
from infscale.scrape.fetch import PageClient
from infscale.scrape.tls_trust import PageCertificates
from tests.fakes.certificates import Issued
from tests.fakes.certificates import authority as certificate_authority
from tests.scrape.servers import gzipped, http_server, raw_page, raw_server

BODY = b"up 1\n" * 1000


async def get(authority: str, limit: int = 1 << 20, scheme: str = "http", *, verify_tls: bool = True) -> Page:
    """One page, by a client of its own."""
    with client_of(authority, limit, scheme, verify_tls=verify_tls) as client:
        return await client.get("/metrics")


@contextmanager
def client_of(
    authority: str, limit: int = 1 << 20, scheme: str = "http", *, verify_tls: bool = True
) -> Generator[PageClient]:
    with closing(PageClient(URL(f"{scheme}://{authority}/metrics"), limit, verify_tls=verify_tls)) as client:
        yield client


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
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + raw_page(CHUNKED, "Transfer-Encoding: chunked"),
            True,
            id="interim answer first",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + BODY, False, id="HTTP/1.0"),
    ],
)
async def test_a_page_arrives_with_word_about_its_end(answer: bytes, whole: bool) -> None:
    async with raw_server(answer) as authority:
        assert await get(authority) == Page(BODY, whole)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(raw_page(BODY, f"Content-Length: {len(BODY) + 1}"), "page truncated", id="content length not met"),
        pytest.param(raw_page(CHUNKED[:-20], "Transfer-Encoding: chunked"), "page truncated", id="chunks not ended"),
        pytest.param(
            raw_page(b"not gzip", "Content-Length: 8", "Content-Encoding: gzip"), "page truncated", id="broken gzip"
        ),
        pytest.param(
            raw_page(gzipped(BODY) + b"more", f"Content-Length: {len(gzipped(BODY)) + 4}", "Content-Encoding: gzip"),
            "page truncated",
            id="more behind what was compressed",
        ),
        pytest.param(
            raw_page(gzipped(BODY)[:-1], f"Content-Length: {len(gzipped(BODY)) - 1}", "Content-Encoding: gzip"),
            "page truncated",
            id="compressed and cut",
        ),
        pytest.param(b"", "connection closed by the server", id="nothing"),
        pytest.param(b"SSH-2.0-x\r\n", "the server does not speak HTTP", id="other protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", "connection closed by the server", id="half a head"),
        pytest.param(raw_page(b"x\r\n", "Transfer-Encoding: chunked"), "page truncated", id="no chunks"),
        pytest.param(
            raw_page(b"x", "Content-Length: 1", "Content-Encoding: br"),
            "page in an encoding that was not asked for",
            id="unknown encoding",
        ),
        pytest.param(raw_page(b"", *["X: " + "y" * 1000] * 80), "the server does not speak HTTP", id="endless head"),
        pytest.param(
            b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
            "the server does not speak HTTP",
            id="another protocol from here on",
        ),
        pytest.param(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", "HTTP 500", id="500"),
        pytest.param(b"HTTP/1.1 204 X\r\n\r\n", "HTTP 204", id="204"),
    ],
)
async def test_a_page_that_is_not_whole_is_no_page(answer: bytes, cause: str) -> None:
    async with raw_server(answer) as authority:
        with pytest.raises(FetchError, match=f"^{cause}$"):
            await get(authority)


@pytest.mark.parametrize(
    "headers",
    [(f"Content-Length: {len(BODY)}",), (), (f"Content-Length: {len(gzipped(BODY))}", "Content-Encoding: gzip")],
    ids=["announced", "streamed", "compressed"],
)
async def test_a_page_over_the_limit_is_refused(headers: tuple[str, ...]) -> None:
    body = gzipped(BODY) if len(headers) == 2 else BODY
    async with raw_server(raw_page(body, *headers)) as authority:
        with pytest.raises(FetchError, match=r"^page larger than 0\.00390625 MiB$"):
            await get(authority, 4096)


@pytest.mark.parametrize("piece", [b"\0\0\0\xff\xff", b"junk"], ids=["of nothing", "behind the page"])
def test_compressed_bytes_are_limited_as_well(piece: bytes) -> None:
    packer = zlib.compressobj(wbits=31)
    begun = packer.compress(b"up 1\n") + packer.flush(zlib.Z_FULL_FLUSH if piece.startswith(b"\0") else zlib.Z_FINISH)
    answer = Answer(100_000)
    answer.feed(raw_page(b"", "Content-Encoding: gzip") + begun)
    for _ in range(10):
        if answer.error is None:
            answer.feed(piece * 5_000)
    assert str(answer.error) in ("page larger than 0.0953674 MiB", "page truncated")


def chunks_of(size: int, count: int) -> bytes:
    return (b"%x\r\n" % size + b"x" * size + b"\r\n") * count


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (raw_page(chunks_of(1, 100_000), "Transfer-Encoding: chunked"), "page in too many pieces"),
        (raw_page(chunks_of(20, 100_000), "Transfer-Encoding: chunked"), "page in too many pieces"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 100_000, "the server does not speak HTTP"),
        (raw_page(b"", *(f"X-{number}: {number}" for number in range(100_000))), "the server does not speak HTTP"),
        (raw_page(b"", "X: " + "x" * 10_000_000), "the server does not speak HTTP"),
        (
            raw_page(b"1;" + b"x" * 10_000_000 + b"\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
            "the server does not speak HTTP",
        ),
        (
            raw_page(b"0\r\n" + b"X: y\r\n" * 1_000_000 + b"\r\n", "Transfer-Encoding: chunked"),
            "the server does not speak HTTP",
        ),
        (raw_page(b"x" * 100, "Content-Length: " + "9" * 5000), "the server does not speak HTTP"),
        (raw_page(b"x" * 100, "Content-Length: 99999999999999"), "page larger than 1 MiB"),
        (raw_page(b"junk", "Content-Encoding: br"), "page in an encoding that was not asked for"),
        (raw_page(b"junk", "Content-Encoding: zstd"), "page in an encoding that was not asked for"),
        (raw_page(gzipped(BODY), "Content-Encoding: gzip", "Content-Encoding: br"), "page in an encoding that was not"),
        (
            raw_page(gzipped(bytes(50 << 20)), "Content-Encoding: gzip"),
            "page larger than 1 MiB",
        ),
    ],
    ids=[
        "chunks of one byte",
        "chunks of less than a line",
        "interim answers without end",
        "headers without end",
        "one header without end",
        "chunk extension without end",
        "trailers without end",
        "length of 5000 digits",
        "length beyond the limit",
        "brotli",
        "zstandard",
        "two encodings",
        "gzip bomb",
    ],
)
def test_what_a_server_sends_is_bounded_in_memory_however_it_sends_it(answer: bytes, cause: str) -> None:
    tracemalloc.start()
    taken = Answer(1 << 20)
    for start in range(0, len(answer), 1 << 16):
        taken.feed(answer[start : start + (1 << 16)])
        if taken.error is not None:
            break
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(taken.error).startswith(cause)
    assert peak < 4 << 20


def test_a_page_may_come_line_by_line() -> None:
    lines = [b'vllm:num_requests_running{engine="0",model_name="m"} %d\n' % number for number in range(20_000)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines if len(line) >= 54)
    taken = Answer(4 << 20)
    taken.feed(raw_page(chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked"))
    assert taken.error is None
    assert taken.page().whole


def growing(room: Room, size: int) -> Answer:
    """An answer of which so much has come."""
    answer = Answer(8 << 20, room)
    answer.feed(raw_page(b""))
    for _ in range(size >> 16):
        if answer.error is None:
            answer.feed(b"x" * (1 << 16))
    return answer


def test_pages_that_come_in_together_have_a_bound_and_small_ones_always_room() -> None:
    room = Room(16 << 20)
    answers = [growing(room, 4 << 20) for _ in range(8)]
    assert room.held_bytes <= (16 << 20) + 8 * (1 << 20) + (1 << 16)
    causes = {str(each.error) for each in answers if each.error is not None}
    assert causes == {"pages that come in at the same time exceed 16 MiB"}
    assert sum(each.error is None for each in answers) == 4
    small = growing(room, 1 << 20)
    assert small.error is None
    for each in (*answers, small):
        each.drop()
    assert room.held_bytes == 0
    again = growing(room, 4 << 20)
    assert again.error is None
    again.drop()


async def test_what_came_is_let_go_however_the_page_ends() -> None:
    room = Room()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(BODY)
        await asyncio.Event().wait()
        return response

    async def quick(_: web.Request) -> web.StreamResponse:
        return web.Response(body=BODY)

    async with http_server(slow) as hanging, http_server(quick) as answering, raw_server(raw_page(BODY[:-1])) as broken:
        for authority in (hanging, answering, broken, "127.0.0.1:1"):
            with closing(PageClient(URL(f"http://{authority}/metrics"), room=room)) as client:
                with suppress(TimeoutError, FetchError):
                    async with asyncio.timeout(0.5):
                        await client.get("/metrics")
                assert room.held_bytes == 0
        with closing(PageClient(URL(f"http://{answering}/metrics"), 4096, room=room)) as client:
            with pytest.raises(FetchError, match="page larger"):
                await client.get("/metrics")
            assert room.held_bytes == 0


async def test_an_endless_page_is_left_at_the_limit() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with http_server(endless) as authority:
        with pytest.raises(FetchError, match="page larger than 1 MiB"):
            await get(authority)


async def test_a_refused_page_is_freed_at_once() -> None:
    """An error that refers to itself would keep megabytes until the garbage collector comes by."""
    errors: list[weakref.ref[FetchError]] = []
    async with raw_server(raw_page(BODY)) as authority:
        gc.disable()
        try:
            try:
                await get(authority, 4096)
            except FetchError as error:
                errors.append(weakref.ref(error))
            # The call that woke this task refers to it until the next.
            await asyncio.sleep(0)
            assert [error() for error in errors] == [None]
            assert not [each for each in gc.get_objects() if isinstance(each, Answer)]
        finally:
            gc.enable()


async def test_redirects_are_not_followed() -> None:
    visits: list[str] = []

    async def redirect(request: web.Request) -> web.StreamResponse:
        visits.append(request.path)
        raise web.HTTPFound("/elsewhere")

    async with http_server(redirect) as authority:
        with pytest.raises(FetchError, match="HTTP 302, redirects are not followed"):
            await get(authority)
    assert visits == ["/metrics"]


async def test_a_4xx_is_told_apart() -> None:
    async def forbidden(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPForbidden

    async with http_server(forbidden) as authority:
        with pytest.raises(Rejected, match="HTTP 403"):
            await get(authority)


async def test_nobody_listening_is_told_apart(unused_port: int) -> None:
    with pytest.raises(Unreachable, match="connection refused"):
        await get(f"127.0.0.1:{unused_port}")


@pytest.fixture
async def unused_port() -> int:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def written(folder: Path, name: str, issued: Issued | CertificatePair) -> tuple[Path, Path]:
    """A certificate and its key as files."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    if isinstance(issued, Issued):
        content = issued.pem.encode(), issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        content = issued.certificate, issued.key
    certificate.write_bytes(content[0])
    key.write_bytes(content[1])
    return certificate, key


@asynccontextmanager
async def https_server(
    folder: Path, clients: Path | None = None, sent: list[str | None] | None = None
) -> AsyncGenerator[tuple[int, Path]]:
    """The port of a server of `BODY`, and its certificate; it wants one of its clients that `clients` has signed.

    `sent` gets what requests say of who asks.
    """
    pair = self_signed("server", datetime.now(UTC).replace(microsecond=0), timedelta(days=1))
    files = await asyncio.to_thread(written, folder, "server", pair)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(context.load_cert_chain, *files)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        await asyncio.to_thread(context.load_verify_locations, clients)
    app = web.Application()

    async def page(request: web.Request) -> web.Response:
        if sent is not None:
            sent.append(request.headers.get("Authorization"))
        return web.Response(body=BODY)

    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield runner.addresses[0][1], files[0]
    finally:
        await runner.cleanup()


async def test_a_certificate_is_verified_unless_told_otherwise(tmp_path: Path) -> None:
    async with https_server(tmp_path) as (port, _):
        authority = f"127.0.0.1:{port}"
        with pytest.raises(FetchError, match=r"^TLS handshake failed$"):
            await get(authority, scheme="https")
        assert (await get(authority, scheme="https", verify_tls=False)).body == BODY


async def test_authorities_of_ones_own_are_believed_as_their_file_is_now(tmp_path: Path) -> None:
    other = await asyncio.to_thread(written, tmp_path, "other", certificate_authority())
    ca = tmp_path / "ca.crt"
    async with https_server(tmp_path) as (port, certificate):
        with closing(PageClient(URL(f"https://127.0.0.1:{port}"), certificates=PageCertificates(ca))) as client:
            for content, problem in (
                (None, "certificates for scraping cannot be used: No such file or directory"),
                (b"nonsense", "certificates for scraping cannot be used: they are no PEM files that belong together"),
                (other[0].read_bytes(), "TLS handshake failed"),
            ):
                if content is not None:
                    await asyncio.to_thread(ca.write_bytes, content)
                with pytest.raises(FetchError, match=f"^{problem}$"):
                    await client.get("/metrics")
            await asyncio.to_thread(ca.write_bytes, certificate.read_bytes())
            assert (await client.get("/metrics")).body == BODY


async def test_a_scrape_shows_the_certificate_it_is_given(tmp_path: Path) -> None:
    signer = certificate_authority()
    clients, _ = await asyncio.to_thread(written, tmp_path, "clients", signer)
    files = await asyncio.to_thread(written, tmp_path, "client", signer.issue("scraper"))
    async with https_server(tmp_path, clients) as (port, certificate):
        url = URL(f"https://127.0.0.1:{port}")
        with closing(PageClient(url, certificates=PageCertificates(certificate))) as client, pytest.raises(FetchError):
            await client.get("/metrics")
        for verify_tls, ca in ((True, certificate), (False, None), (False, tmp_path / "none")):
            shown = PageCertificates(ca, files)
            with closing(PageClient(url, verify_tls=verify_tls, certificates=shown)) as client:
                assert (await client.get("/metrics")).body == BODY


async def test_the_dot_at_the_end_of_a_host_name_is_not_of_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def of_this_machine(host: str, port: int, **hints: int) -> object:
        assert host == "localhost."
        return await resolve("127.0.0.1", port, **hints)

    monkeypatch.setattr(loop, "getaddrinfo", of_this_machine)
    async with https_server(tmp_path) as (port, certificate):
        url = URL(f"https://localhost.:{port}")
        with closing(PageClient(url, certificates=PageCertificates(certificate))) as client:
            assert (await client.get("/metrics")).body == BODY


async def test_a_server_is_known_by_another_name_than_its_address_where_it_is_said(tmp_path: Path) -> None:
    async with https_server(tmp_path) as (port, certificate):
        url = URL(f"https://127.0.0.1:{port}")
        for name, known in (("localhost", True), ("exporter.gpu.svc", False)):
            shown = PageCertificates(certificate, server_name=name)
            with closing(PageClient(url, certificates=shown)) as client:
                if known:
                    assert (await client.get("/metrics")).body == BODY
                else:
                    with pytest.raises(FetchError, match=r"^TLS handshake failed$"):
                        await client.get("/metrics")


async def test_the_token_of_today_is_sent_over_https_and_never_said(tmp_path: Path) -> None:
    token = tmp_path / "token"
    sent: list[str | None] = []
    async with https_server(tmp_path, sent=sent) as (port, certificate):
        shown = PageCertificates(certificate, token_file=token)
        with closing(PageClient(URL(f"https://127.0.0.1:{port}"), certificates=shown)) as client:
            for content, problem in (
                (None, "the token for scraping cannot be read: No such file or directory"),
                (b"", "the token for scraping cannot be used"),
                (b"two lines\nof it", "the token for scraping cannot be used"),
                (b"caf\xc3\xa9", "the token for scraping cannot be used"),
                (b"x" * 20_000, "the token for scraping cannot be used"),
            ):
                if content is not None:
                    await asyncio.to_thread(token.write_bytes, content)
                with pytest.raises(FetchError, match=f"^{problem}") as caught:
                    await client.get("/metrics")
                assert "caf" not in str(caught.value)
            for content in (b"first\n", b"first\n", b"second"):
                await asyncio.to_thread(token.write_bytes, content)
                assert (await client.get("/metrics")).body == BODY
    assert sent == ["Bearer first", "Bearer first", "Bearer second"]


@asynccontextmanager
async def connections(*answers: bytes | None) -> AsyncGenerator[tuple[str, list[int]]]:
    """A server that gives one of `answers` to each connection's every request; None: it closes without one.

    Yields its address, and how many requests came on each connection.
    """
    counts: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(counts)
        counts.append(0)
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                answer = answers[min(sum(counts), len(answers) - 1)]
                counts[number] += 1
                if answer is None:
                    return
                writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"{host}:{port}", counts
    finally:
        server.close()
        await server.wait_closed()


GOOD = raw_page(BODY, f"Content-Length: {len(BODY)}")


async def test_pages_come_over_one_connection() -> None:
    async with connections(GOOD, raw_page(CHUNKED, "Transfer-Encoding: chunked"), GOOD) as (authority, counts):
        with client_of(authority) as client:
            for _ in range(3):
                assert await client.get("/metrics") == Page(BODY, True)
    assert counts == [3]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(raw_page(BODY, f"Content-Length: {len(BODY)}", "Connection: close"), id="said to be the last"),
        pytest.param(GOOD + b"HTTP/1.1 200 OK\r\n", id="more than was asked for"),
        pytest.param(GOOD + b"XX", id="and no HTTP"),
    ],
)
async def test_a_connection_that_ends_with_its_page_is_not_asked_again(answer: bytes) -> None:
    async with connections(answer, GOOD) as (authority, counts):
        with client_of(authority) as client:
            assert await client.get("/metrics") == Page(BODY, True)
            assert await client.get("/metrics") == Page(BODY, True)
    assert counts == [1, 1]


async def test_a_connection_that_the_server_closed_between_two_pages_is_made_again() -> None:
    async with connections(GOOD, None, GOOD) as (authority, counts):
        with client_of(authority) as client:
            assert await client.get("/metrics") == Page(BODY, True)
            assert await client.get("/metrics") == Page(BODY, True)
    assert counts == [2, 1]


async def test_a_server_that_closes_new_connections_without_a_word_is_asked_once() -> None:
    async with connections(None) as (authority, counts):
        with client_of(authority) as client, pytest.raises(FetchError, match=r"^connection closed by the server$"):
            await client.get("/metrics")
    assert counts == [1]


async def test_after_a_page_that_was_given_up_the_next_one_is_its_own() -> None:
    late = raw_page(b"late 1\n", "Content-Length: 8")
    async with connections(late, GOOD) as (authority, counts):
        with client_of(authority) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.get("/metrics")
            assert await client.get("/metrics") == Page(BODY, True)
    assert counts == [1, 1]


async def test_an_unknown_name_is_told_apart() -> None:
    with pytest.raises(Unreachable, match=r"^host name not found$"):
        await get("no-such-host.invalid:80")


@given(st.lists(st.integers(1, len(GOOD) - 1), max_size=6), st.sampled_from(["plain", "chunked", "gzip"]))
def test_a_page_is_the_same_however_its_bytes_arrive(cuts: list[int], form: str) -> None:
    packed = gzipped(BODY)
    answer = {
        "plain": GOOD,
        "chunked": raw_page(CHUNKED, "Transfer-Encoding: chunked"),
        "gzip": raw_page(packed, f"Content-Length: {len(packed)}", "Content-Encoding: gzip"),
    }[form]
    whole = Answer(1 << 20)
    for start, stop in pairwise([0, *sorted({cut for cut in cuts if cut < len(answer)}), len(answer)]):
        whole.feed(answer[start:stop])
    assert whole.ended
    assert whole.error is None
    assert whole.page() == Page(BODY, True)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_bytes_break_the_reading_of_an_answer(first: bytes, second: bytes) -> None:
    answer = Answer(100)
    for data in (first, b"HTTP/1.1 200 OK\r\n" + second):
        if answer.error is None and not answer.ended:
            answer.feed(data)
    answer.end(cleanly=True)
    assert answer.ended or answer.error is not None
