"""Pages over HTTP/2 in plain text: from real servers, with the limits that pages over HTTP/1.1 have."""

import asyncio
import contextlib
import random
import time
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.periodic import Absent, Failing, FetchError, Unreachable
from infscale.process.connecting import REFUSED
from infscale.scrape.answer import Page
from infscale.scrape.fetch import PageClient
from infscale.scrape.pool import ScrapePool
from infscale.scrape.target import Target, TargetTemplate
from tests.scrape.h2c_server import Answering, H2cServer, h2c_server
from tests.scrape.pages import vllm_page
from tests.scrape.servers import RecordingSink, gzipped, raw_page, raw_server

BODY = b"up 1\n" * 1000
KEY = EndpointKey("default", "a")


def client_of(authority: str, limit: int = 1 << 20, *, user: str = "") -> PageClient:
    return PageClient(URL(f"http://{user}{authority}/metrics"), limit, h2c=True)


async def get(authority: str, limit: int = 1 << 20) -> Page:
    with closing(client_of(authority, limit)) as client:
        return await client.get("/metrics")


def page(body: bytes = BODY, *headers: tuple[str, str], piece: int = 16_384) -> Answering:
    def answer(server: H2cServer, stream: int, _: dict[str, str]) -> None:
        server.head(stream, ("content-type", "text/plain"), *headers)
        server.body(stream, body, piece=piece)

    return answer


LONG = b"up 1\n" * 200_000


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(page(), BODY, id="plain"),
        pytest.param(page(BODY, ("content-length", str(len(BODY)))), BODY, id="content length"),
        pytest.param(page(gzipped(BODY), ("content-encoding", "gzip")), BODY, id="gzip"),
        pytest.param(page(b""), b"", id="empty"),
        pytest.param(page(LONG), LONG, id="longer than any window"),
        pytest.param(page(BODY, piece=80), BODY, id="line by line"),
    ],
)
async def test_a_page_comes_whole(answer: Answering, body: bytes) -> None:
    async with h2c_server(answer) as (authority, _):
        assert await get(authority) == Page(body, True)


async def test_pages_come_one_after_the_other_over_one_connection() -> None:
    seen: list[dict[str, str]] = []

    def answer(server: H2cServer, stream: int, headers: dict[str, str]) -> None:
        seen.append(headers)
        server.http.ping(b"8 bytes!")
        page()(server, stream, headers)

    async with h2c_server(answer) as (authority, connections):
        with closing(client_of(authority, user="me:secret@")) as client:
            for number in range(20):
                assert (await client.get(f"/metrics?n={number}")).body == BODY
        assert len(connections) == 1
    assert [each[":path"] for each in seen] == [f"/metrics?n={number}" for number in range(20)]
    assert {each[":authority"] for each in seen} == {authority}
    assert {each["authorization"] for each in seen} == {"Basic bWU6c2VjcmV0"}


async def test_a_server_may_end_the_connection_between_two_pages() -> None:
    def answer(server: H2cServer, stream: int, headers: dict[str, str]) -> None:
        page()(server, stream, headers)
        server.flush()
        server.http.close_connection()

    async with h2c_server(answer) as (authority, connections):
        with closing(client_of(authority)) as client:
            for _ in range(3):
                assert (await client.get("/metrics")).body == BODY
                # The client closes its side when it has read that the server ends the connection.
                while connections[-1].transport is not None:
                    await asyncio.sleep(0.001)
        assert len(connections) == 3


async def test_a_connection_that_ends_before_it_has_seen_the_request_is_replaced() -> None:
    lives: list[int] = []

    def answer(server: H2cServer, stream: int, headers: dict[str, str]) -> None:
        lives.append(stream)
        if len(lives) == 2:
            server.http.close_connection(last_stream_id=1)
        else:
            page()(server, stream, headers)

    async with h2c_server(answer) as (authority, _):
        with closing(client_of(authority)) as client:
            for _ in range(3):
                assert (await client.get("/metrics")).body == BODY
    assert len(lives) == 4


def status(code: int) -> Answering:
    return lambda server, stream, _: server.head(stream, status=code, end=True)


def reset(server: H2cServer, stream: int, _: dict[str, str]) -> None:
    server.http.reset_stream(stream, 2)


def cut(server: H2cServer, stream: int, _: dict[str, str]) -> None:
    server.head(stream, ("content-length", "10000"))
    server.flush()
    server.http.send_data(stream, b"up 1\n")
    server.flush()
    assert server.transport is not None
    server.transport.close()


def raw(data: bytes) -> Answering:
    return lambda server, _, __: server.raw(data)


def tiny_pieces(server: H2cServer, stream: int, _: dict[str, str]) -> None:
    server.head(stream)
    server.flush()
    for _number in range(4000):
        server.raw(b"\0\0\1\0\0" + stream.to_bytes(4, "big") + b"x")


def endless_head(server: H2cServer, stream: int, _: dict[str, str]) -> None:
    server.head(stream, *[(f"x-{number}", "y" * 900) for number in range(200)], end=True)


BOMB = gzipped(b"\0" * (64 << 20))


@pytest.mark.parametrize(
    ("answer", "cause", "kind"),
    [
        pytest.param(status(404), "HTTP 404", Absent, id="not found"),
        pytest.param(status(503), "HTTP 503", Failing, id="unavailable"),
        pytest.param(status(302), "HTTP 302, redirects are not followed", FetchError, id="redirect"),
        pytest.param(reset, "stream reset by the server", FetchError, id="reset"),
        pytest.param(cut, "page truncated", FetchError, id="cut"),
        pytest.param(page(LONG * 2), "page larger than 1 MiB", FetchError, id="too long"),
        pytest.param(page(BODY, ("content-length", "9999999")), "page larger than 1 MiB", FetchError, id="says so"),
        pytest.param(page(BOMB, ("content-encoding", "gzip")), "page larger than 1 MiB", FetchError, id="a bomb"),
        pytest.param(page(BODY, ("content-encoding", "br")), "was not asked for", FetchError, id="encoding"),
        pytest.param(
            page(gzipped(BODY)[:-9], ("content-encoding", "gzip")), "page truncated", FetchError, id="cut gzip"
        ),
        pytest.param(raw(b"\xff" * 100), "does not speak HTTP/2", FetchError, id="noise"),
        pytest.param(raw(b"\0\0\0\4\1\0\0\0\0" * 5000), "too many pieces", FetchError, id="a flood of settings"),
        pytest.param(raw(b"\0\0\x08\6\0\0\0\0\0" + b"8 bytes!"), None, FetchError, id="a ping is none"),
        pytest.param(tiny_pieces, "too many pieces", FetchError, id="bytes one by one"),
        pytest.param(
            endless_head,
            "does not speak HTTP/2",
            FetchError,
            id="a head without end",
        ),
    ],
)
async def test_what_goes_wrong_is_said_in_words(answer: Answering, cause: str | None, kind: type[FetchError]) -> None:
    async with h2c_server(answer) as (authority, _):
        if cause is None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await get(authority)
            return
        with pytest.raises(FetchError, match=cause) as caught:
            await get(authority)
        assert type(caught.value) is kind


async def test_a_server_that_speaks_http_1_alone() -> None:
    async with raw_server(raw_page(BODY)) as authority:
        with pytest.raises(FetchError, match="does not speak HTTP/2"):
            await get(authority)


async def test_who_asks_a_h2c_server_in_http_1_is_told() -> None:
    async with h2c_server(page()) as (authority, _):
        with (
            closing(PageClient(URL(f"http://{authority}/metrics"))) as client,
            pytest.raises(FetchError, match="speaks HTTP/2 alone, which its pool's appProtocol"),
        ):
            await client.get("/metrics")


async def test_nobody_at_the_address() -> None:
    with pytest.raises(Unreachable, match=REFUSED):
        await get("127.0.0.1:1")


async def test_others_are_served_while_one_server_floods() -> None:
    """A flood of the smallest frames costs the library most; what else runs on the loop goes on meanwhile."""
    flood = raw(b"\0\0\0\0\0\0\0\0\1" * 200_000)
    slowest = 0.0

    async def others() -> None:
        nonlocal slowest
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0)
            slowest = max(slowest, time.perf_counter() - started)

    async with h2c_server(flood) as (authority, _), asyncio.TaskGroup() as group:
        running = group.create_task(others())
        with pytest.raises(FetchError):
            await get(authority)
        running.cancel()
    assert slowest < 0.25, "generous: all at once took seconds"


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.builds(frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 3), st.binary(max_size=40)),
        ),
        max_size=20,
    )
)
def test_whatever_a_server_sends_ends_in_a_page_or_in_words(frames: list[bytes]) -> None:
    async def play() -> None:
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

        def answer(server: H2cServer, stream: int, headers: dict[str, str]) -> None:
            server.raw(b"".join(frames))
            if server.transport is not None:
                server.transport.close()

        async with h2c_server(answer) as (authority, _):
            with contextlib.suppress(FetchError):
                async with asyncio.timeout(5):
                    await get(authority)
        assert not errors

    asyncio.run(play())


async def test_a_pool_of_h2c_endpoints_is_scraped() -> None:
    async with h2c_server(page(vllm_page(waiting=4.0))) as (h2c, _):
        sink = RecordingSink()
        async with ScrapePool(sink, asyncio.get_running_loop().time, random.Random(1)) as scrapes:
            scrapes.sync([Target(KEY, f"http://{h2c}/metrics", interval_seconds=0.05, timeout_seconds=0.04, h2c=True)])
            await sink.until(lambda: len(sink.samples) >= 3)
        assert sink.samples[0][1].gauges.waiting == 4.0
        assert not sink.failures


ENDPOINT = Endpoint(KEY, "10.0.0.1", 8000)


@pytest.mark.parametrize(
    ("template", "endpoint", "pool_h2c", "h2c"),
    [
        pytest.param(TargetTemplate(), ENDPOINT, True, True, id="the pool says so"),
        pytest.param(TargetTemplate(), ENDPOINT, False, False, id="the pool does not"),
        pytest.param(TargetTemplate(port=9100), ENDPOINT, True, False, id="all pages are on another port"),
        pytest.param(TargetTemplate(port=8000), ENDPOINT, True, True, id="all pages are on this port"),
        pytest.param(TargetTemplate("https"), ENDPOINT, True, False, id="pages are encrypted"),
        pytest.param(
            TargetTemplate(),
            Endpoint(KEY, "10.0.0.1", 8000, metrics_port=9000),
            True,
            False,
            id="its page is elsewhere",
        ),
        pytest.param(
            TargetTemplate(),
            Endpoint(KEY, "10.0.0.1", 8000, metrics_address="10.0.0.2"),
            True,
            False,
            id="at another address",
        ),
    ],
)
def test_pages_at_the_port_that_serves_speak_what_it_speaks(
    template: TargetTemplate, endpoint: Endpoint, pool_h2c: bool, h2c: bool
) -> None:
    state = DiscoveryState((endpoint,), (Pool(ObjectKey("default", "p"), {}, h2c=pool_h2c),))
    (target,) = template.targets(state.endpoints, state.h2c_endpoints())
    assert target.h2c == h2c
