"""What servers list at /v1/models: read rarely, bounded, each with failures of its own."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from infscale.backoff import Backoff
from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.published.catalogue import MODEL_LIST
from infscale.metrics.sample import ListedModels
from infscale.metrics.source import Source
from infscale.periodic import FetchError
from infscale.scrape.model_lists import LIST_LIMIT_BYTES, LONGEST_NAME, MOST_NAMES, ListSettings, ModelLists, read_list
from tests.scrape.h2c_server import h2c_server
from tests.scrape.servers import http_server, raw_page, raw_server
from tests.scrape.test_h2c import page

A, B = EndpointKey("default", "a"), EndpointKey("default", "b")
QUICK = ListSettings(0.05, 0.04, backoff=Backoff(0.01, 1.0, 0.01))
VLLM = {
    "object": "list",
    "data": [
        {"id": "llama", "object": "model", "root": "/models/llama", "parent": None, "max_model_len": 8192},
        {"id": "second-name", "object": "model", "root": "/models/llama", "parent": None},
        {"id": "idle-lora", "object": "model", "root": "/adapters/one", "parent": "llama"},
    ],
}
NAMES = frozenset({"llama", "second-name", "idle-lora"})


def endpoint(key: EndpointKey, authority: str) -> Endpoint:
    host, _, port = authority.rpartition(":")
    return Endpoint(key, host, int(port), {})


class Clock:
    """The loop's time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


class Kept:
    """What a store has been told."""

    def __init__(self) -> None:
        self.told: list[tuple[EndpointKey, frozenset[str], float]] = []

    def record_beside(self, source: Source, key: EndpointKey, sample: ListedModels, at: float) -> None:
        assert source is MODEL_LIST
        self.told.append((key, sample.names, at))


@asynccontextmanager
async def reading(clock: Clock, *endpoints: Endpoint, sink: Kept | None = None) -> AsyncGenerator[ModelLists]:
    async with ModelLists(clock, random.Random(1), QUICK, sink) as lists:
        lists.sync(endpoints)
        yield lists


async def until(lists: ModelLists, key: EndpointKey, expected: frozenset[str] | None) -> None:
    while lists.listed(key) != expected:
        await asyncio.sleep(0.005)


async def rounds(lists: ModelLists, key: EndpointKey, count: int) -> None:
    before = lists.health()[key].scrapes
    while lists.health()[key].scrapes < before + count:
        await asyncio.sleep(0.005)


async def test_every_name_on_the_list_is_known() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response(VLLM)

    async with http_server(answer) as address, reading(Clock(), endpoint(A, address)) as lists:
        assert lists.listed(A) is None
        assert lists.listed(B) is None
        await until(lists, A, NAMES)
        assert set(asked) == {"/v1/models"}


async def test_the_list_of_a_server_that_speaks_http2_alone_is_read() -> None:
    async with (
        h2c_server(page(orjson.dumps(VLLM))) as (address, _),
        ModelLists(Clock(), random.Random(1), QUICK) as lists,
    ):
        lists.sync([endpoint(A, address)], {A})
        await until(lists, A, NAMES)


async def test_a_list_changes_and_is_unknown_once_it_is_too_old() -> None:
    document, status = VLLM, 200

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(document, status=status)

    clock = Clock()
    async with http_server(answer) as address, reading(clock, endpoint(A, address)) as lists:
        await until(lists, A, NAMES)
        document = {"data": [{"id": "new"}]}
        await until(lists, A, frozenset({"new"}))
        status = 503
        await rounds(lists, A, 2)
        clock.ahead = 10.0
        assert lists.listed(A) is None
        assert lists.health()[A].cause == "HTTP 503"


async def test_the_store_is_told_of_each_list_with_its_time_and_that_one_is_too_old() -> None:
    status = 200

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(VLLM, status=status)

    clock, kept = Clock(), Kept()
    async with http_server(answer) as address, reading(clock, endpoint(A, address), sink=kept) as lists:
        await rounds(lists, A, 3)
        assert lists.sizes() == {"default/a": 3}
        first, second = kept.told[:2]
        assert (first[:2], first[1] is second[1], first[2] < second[2]) == ((A, NAMES), True, True)
        status = 503
        clock.ahead = 10.0
        while kept.told[-1][1]:
            await asyncio.sleep(0.005)
        await rounds(lists, A, 3)
        # A failure is no news, until the list is too old; and that is none for long.
        assert [names for _, names, _ in kept.told] == [NAMES] * (len(kept.told) - 1) + [frozenset()]
        assert kept.told[-1][2] == kept.told[-2][2]
        assert lists.sizes() == {}


async def test_the_store_has_a_bounded_part_of_a_list() -> None:
    names = [f"lora-{number:04}" for number in range(300)] + ["x" * 600]

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in names]})

    kept = Kept()
    async with http_server(answer) as address, reading(Clock(), endpoint(A, address), sink=kept) as lists:
        await until(lists, A, frozenset(names))
        while not kept.told:
            await asyncio.sleep(0.005)
    assert kept.told[0][1] == frozenset(names[:256])


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        pytest.param(raw_page(b"{", "Content-Length: 1"), "the list of models is no JSON", id="no JSON"),
        pytest.param(raw_page(b"[]", "Content-Length: 2"), "the list of models has no data", id="no object"),
        pytest.param(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404", id="no such path"),
        pytest.param(raw_page(b"x" * (LIST_LIMIT_BYTES + 1), "Connection: close"), "page larger than 1 MiB", id="long"),
        pytest.param(b"SSH-2.0-x\r\n", "the server does not speak HTTP", id="no HTTP"),
    ],
)
async def test_a_server_without_a_list_lists_nothing_and_says_why(answer: bytes, cause: str) -> None:
    async def good(_: web.Request) -> web.Response:
        return web.json_response(VLLM)

    async with (
        raw_server(answer) as bad,
        http_server(good) as other,
        reading(Clock(), endpoint(A, bad), endpoint(B, other)) as lists,
    ):
        await until(lists, A, frozenset())
        await until(lists, B, NAMES)
        assert lists.health()[A].cause == cause


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_list_that_a_server_withholds_or_fails_to_give_is_unknown(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with http_server(answer) as bad, reading(Clock(), endpoint(A, bad)) as lists:
        await rounds(lists, A, 2)
        assert lists.listed(A) is None
        assert lists.health()[A].cause == f"HTTP {status}"


async def test_the_list_of_a_server_that_nobody_reaches_is_unknown() -> None:
    async with reading(Clock(), endpoint(A, "127.0.0.1:1")) as lists:
        await rounds(lists, A, 2)
        assert lists.listed(A) is None


async def test_a_server_at_another_address_is_another_one() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(VLLM)

    async with http_server(answer) as address, reading(Clock(), endpoint(A, address)) as lists:
        await until(lists, A, NAMES)
        lists.sync([endpoint(A, address)])
        assert lists.listed(A) == NAMES
        lists.sync([endpoint(A, "127.0.0.1:1")])
        assert lists.listed(A) is None
        lists.sync([])
        assert lists.health() == {}


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ({"data": None}, "the list of models has no data"),
        ({"data": ["llama"]}, "an entry of the list of models has no id"),
        ({"data": [{"id": 5}]}, "an entry of the list of models has no id"),
        ({"data": [{"id": "x" * (LONGEST_NAME + 1)}]}, f"a model's name is longer than {LONGEST_NAME} characters"),
        ({"data": [{"id": "x"}] * (MOST_NAMES + 1)}, f"a list of more than {MOST_NAMES} models"),
    ],
)
def test_what_is_no_list_is_refused_in_words(document: object, cause: str) -> None:
    with pytest.raises(FetchError, match=cause):
        read_list(orjson.dumps(document))


@given(st.binary(max_size=200) | st.text('{}[]":,data id', max_size=60).map(str.encode))
def test_any_page_is_a_list_or_a_failure(page: bytes) -> None:
    try:
        names = read_list(page)
    except FetchError:
        return
    assert "" not in names
