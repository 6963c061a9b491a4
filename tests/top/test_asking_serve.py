"""Asking a process: documents, and for each fault a cause, within the limits of time and size."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from infscale.top import asking_serve
from infscale.top.asking_serve import NoAnswer, ServeClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def asking(handler: Handler, timeout: float = 5.0) -> AsyncGenerator[ServeClient]:
    application = web.Application()
    application.router.add_get("/debug/{name:.+}", handler)
    server = TestServer(application, host="127.0.0.1")
    async with server:
        address = f"http://127.0.0.1:{server.port}/"
        async with ServeClient(address, timeout) as client:
            yield client


async def test_documents_that_are_not_there_are_none() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.match_info["name"] == "snapshot":
            return web.json_response({"pools": []})
        return web.Response(status=404)

    async with asking(handler) as client:
        found = await client.documents(picks=True)
    assert (found.snapshot, found.picks, found.autoscalers, found.triggers) == ({"pools": []}, None, None, None)


async def test_decisions_are_asked_for_where_they_are_wanted() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.match_info["name"])
        return web.json_response({})

    async with asking(handler) as client:
        await client.documents(picks=False)
    assert sorted(asked) == ["autoscalers", "rollouts", "snapshot", "triggers"]


async def test_the_stages_of_a_pick_are_asked_for_by_its_id() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"of": request.match_info["name"]})

    async with asking(handler) as client:
        found = await client.documents(picks=True, pick="s.7")
    assert found.explanation == {"of": "picks/s.7"}


async def _missing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=404)


async def _failing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503, text="later " * 1000)


async def _other(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>")


async def _elsewhere(_: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})


async def _large(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"x" * 200_000)


async def _hanging(request: web.Request) -> web.StreamResponse:
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(30)
    return web.Response()


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (_missing, "there is no /debug/snapshot"),
        (_failing, "status 503: later later"),
        (_other, "it is no document of infscale"),
        (_elsewhere, "status 302"),
        (_large, "larger than"),
    ],
)
async def test_each_fault_has_its_words(handler: Handler, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking_serve, "MAX_BYTES", 100_000)
    async with asking(handler) as client:
        with pytest.raises(NoAnswer, match=words) as caught:
            await client.documents(picks=False)
    assert len(str(caught.value)) < 300


async def test_what_takes_too_long_is_given_up() -> None:
    async with asking(_hanging, timeout=0.1) as client:
        with pytest.raises(NoAnswer, match=r"none within 0\.1 s"):
            await client.documents(picks=False)


async def test_a_process_that_is_gone_refuses() -> None:
    async with ServeClient("http://127.0.0.1:1", 5.0) as client:
        with pytest.raises(NoAnswer, match="connection refused"):
            await client.documents(picks=False)
