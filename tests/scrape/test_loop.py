import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, closing

import pytest
from aiohttp import web

from infscale.endpoint import EndpointKey
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import VLLM
from infscale.metrics.pages.interpreter import Interpreter
from infscale.periodic import Outcome
from infscale.scrape.loop import TargetLoop
from infscale.scrape.target import Target
from tests.scrape.pages import vllm_page
from tests.scrape.servers import Handler, RecordingSink, http_server, restricted

KEY = EndpointKey("default", "a")
PAGE = vllm_page(waiting=3, filler=2)


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def loop_at(authority: str, sink: RecordingSink, dialect: Dialect | None = VLLM) -> AsyncGenerator[TargetLoop]:
    target = Target(KEY, f"http://{authority}/metrics", dialect)
    with closing(TargetLoop(target, sink, Interpreter, Clock())) as loop:
        yield loop


class Server:
    """Answers with `page` as told and counts how it was asked."""

    def __init__(self, named: str = "honour", page: bytes = PAGE) -> None:
        self.named = named
        self.page = page
        self.asked: list[str] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        names = request.query.getall("name[]", [])
        self.asked.append("named" if names else "whole")
        if not names or self.named == "ignore":
            return web.Response(body=self.page)
        if self.named == "refuse":
            raise web.HTTPBadRequest
        return web.Response(body=restricted(self.page, names) if self.named == "honour" else b"")


@pytest.mark.parametrize(
    ("named", "asked", "mode"),
    [
        ("honour", ["named", "named", "named"], "named"),
        ("ignore", ["named", "whole", "whole"], "whole"),
        ("refuse", ["named", "whole", "whole", "whole"], "whole"),
        ("empty", ["named", "whole", "whole", "whole"], "whole"),
    ],
)
async def test_it_asks_for_names_and_remembers_when_that_does_not_work(named: str, asked: list[str], mode: str) -> None:
    server, sink = Server(named), RecordingSink()
    async with http_server(server) as authority, loop_at(authority, sink) as loop:
        for _ in range(3):
            assert await loop.step(2.0) is Outcome.DONE
    assert server.asked == asked
    assert loop.health.mode == mode
    assert [(key, sample.gauges.waiting, at) for key, sample, at in sink.samples] == [(KEY, 3.0, 50.0)] * 3
    assert len(sink.samples[0][1].counts.histograms) == 4
    assert sink.failures == []


async def test_a_fall_back_that_fails_too_is_not_remembered() -> None:
    server, sink = Server("honour", b"up 1\n"), RecordingSink()
    async with http_server(server) as authority, loop_at(authority, sink) as loop:
        await loop.step(2.0)
        server.page = PAGE
        await loop.step(2.0)
    assert [cause for _, cause, _ in sink.failures] == ["no vllm metrics on the page"]
    assert loop.health.mode == "named"
    assert len(sink.samples) == 1


async def test_the_dialect_is_found_out_from_the_page() -> None:
    server, sink = Server(), RecordingSink()
    async with http_server(server) as authority, loop_at(authority, sink, None) as loop:
        await loop.step(2.0)
        await loop.step(2.0)
        server.page = b"up 1\n"
        async with loop_at(authority, sink, None) as other:
            await other.step(2.0)
    assert server.asked == ["whole", "named", "whole"]
    assert [sample.gauges.waiting for _, sample, _ in sink.samples] == [3.0, 3.0]
    assert sink.failures[0][1] == "no metrics of a known engine on the page"


async def answer_500(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPInternalServerError


async def answer_404(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


async def answer_never(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def answer_slowly(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(PAGE[:1000])
    await asyncio.Event().wait()
    raise AssertionError


async def answer_malformed(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"vllm:num_requests_waiting{ 1\n")


async def answer_cut(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=PAGE[:-20])


@pytest.mark.parametrize(
    ("handler", "cause"),
    [
        (answer_500, "HTTP 500"),
        (answer_404, "HTTP 404"),
        (answer_never, "timed out after 0.1 s"),
        (answer_slowly, "timed out after 0.1 s"),
        (answer_malformed, "malformed sample of vllm:num_requests_waiting"),
        (answer_cut, "page truncated"),
    ],
    ids=["500", "404", "hanging", "slow body", "malformed", "cut"],
)
async def test_a_failure_is_recorded_and_never_a_sample(handler: Handler, cause: str) -> None:
    sink = RecordingSink()
    async with http_server(handler) as authority, loop_at(authority, sink) as loop:
        assert await loop.step(0.1) is Outcome.FAILED
    assert sink.failures == [(KEY, cause, 50.0)]
    assert sink.samples == []
    assert loop.health.cause == cause


async def test_after_a_refusal_the_server_is_taken_for_a_new_one() -> None:
    server, sink = Server("ignore"), RecordingSink()
    async with AsyncExitStack() as up:
        authority = await up.enter_async_context(http_server(server))
        async with loop_at(authority, sink) as loop:
            await loop.step(2.0)
            assert loop.health.mode == "whole"
            await up.aclose()
            assert await loop.step(2.0) is Outcome.REFUSED
    assert sink.failures == [(KEY, "connection refused", 50.0)]
    assert loop.health.mode == "untried"


async def test_a_frozen_page_keeps_its_fingerprint() -> None:
    server, sink = Server(), RecordingSink()
    async with http_server(server) as authority, loop_at(authority, sink) as loop:
        await loop.step(2.0)
        await loop.step(2.0)
        server.page = vllm_page(waiting=4, filler=2)
        await loop.step(2.0)
    first, second, third = (sample.fingerprint for _, sample, _ in sink.samples)
    assert first == second != third
