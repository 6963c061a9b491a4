import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from infscale.backoff import Backoff
from infscale.endpoint import EndpointKey
from infscale.metrics.pages.dialects import VLLM
from infscale.scrape.pool import ScrapePool, ScrapeSettings
from infscale.scrape.target import Target
from tests.scrape.pages import vllm_page
from tests.scrape.servers import RecordingSink, http_server

A, B = EndpointKey("default", "a"), EndpointKey("default", "b")
PAGE = vllm_page(filler=1)


@pytest.fixture
async def authority() -> AsyncIterator[str]:
    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=PAGE)

    async with http_server(page) as authority:
        yield authority


def pool_of(sink: RecordingSink) -> ScrapePool:
    settings = ScrapeSettings(backoff=Backoff(0.01, 2.0, 0.02))
    return ScrapePool(sink, asyncio.get_running_loop().time, random.Random(1), settings)


def target(key: EndpointKey, authority: str, interval: float = 0.02) -> Target:
    return Target(key, f"http://{authority}/metrics", VLLM, interval, interval * 0.9)


def keys(sink: RecordingSink) -> list[EndpointKey]:
    return [key for key, _, _ in sink.samples]


async def test_every_target_is_scraped_again_and_again(authority: str) -> None:
    sink = RecordingSink()
    async with pool_of(sink) as pool:
        pool.sync([target(A, authority), target(B, authority)])
        await sink.until(lambda: keys(sink).count(A) >= 3 and keys(sink).count(B) >= 3)
        health = pool.health()
    assert health.keys() == {A, B}
    assert health[A].cause is None
    assert health[A].page_bytes == len(PAGE)
    assert health[A].mode == "whole"


async def test_a_target_that_is_gone_is_never_recorded_again(authority: str) -> None:
    sink = RecordingSink()
    async with pool_of(sink) as pool:
        pool.sync([target(A, authority), target(B, authority)])
        await sink.until(lambda: A in keys(sink) and B in keys(sink))
        pool.sync([target(B, authority)])
        sink.samples.clear()
        await sink.until(lambda: keys(sink).count(B) >= 5)
        assert pool.health().keys() == {B}
    assert A not in keys(sink)


async def test_syncing_the_same_targets_twice_changes_nothing(authority: str) -> None:
    sink = RecordingSink()
    async with pool_of(sink) as pool:
        pool.sync([target(A, authority)])
        await sink.until(lambda: len(sink.samples) >= 2)
        tasks, scrapes = asyncio.all_tasks(), pool.health()[A].scrapes
        pool.sync([target(A, authority)])
        assert asyncio.all_tasks() == tasks
        assert pool.health()[A].scrapes == scrapes


async def test_a_changed_target_starts_anew(authority: str) -> None:
    sink = RecordingSink()
    async with pool_of(sink) as pool:
        pool.sync([Target(A, "http://127.0.0.1:1/metrics", VLLM, 0.5, 0.4)])
        await sink.until(lambda: bool(sink.failures))
        assert pool.health()[A].cause == "connection refused"
        pool.sync([target(A, authority)])
        assert pool.health()[A].scrapes == 0
        await sink.until(lambda: bool(sink.samples))


async def test_a_hanging_server_holds_up_only_itself(authority: str) -> None:
    asked = 0

    async def hang(_request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        raise AssertionError

    sink = RecordingSink()
    async with http_server(hang) as hanging, pool_of(sink) as pool:
        pool.sync([target(A, hanging, 0.05), target(B, authority)])
        await sink.until(lambda: len(sink.failures) >= 3 and keys(sink).count(B) >= 5)
    assert A not in keys(sink)
    assert {cause for _, cause, _ in sink.failures} == {"timed out after 0.04 s"}
    assert asked <= len(sink.failures) + 1


async def test_leaving_the_pool_leaves_no_scrape_behind(authority: str) -> None:
    sink = RecordingSink()
    async with pool_of(sink) as pool:
        pool.sync([target(A, authority), target(B, authority)])
        await sink.until(lambda: bool(sink.samples))
        assert {str(A), str(B)} <= {task.get_name() for task in asyncio.all_tasks()}
    assert {str(A), str(B)}.isdisjoint(task.get_name() for task in asyncio.all_tasks())
