"""A Prometheus that says what a test has it say, on a socket."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def vector(*rows: tuple[Mapping[str, str], str], at: float = 1_000.0) -> dict[str, Any]:
    """The answer of an instant query; values as Prometheus writes them."""
    result = [{"metric": dict(labels), "value": [at, value]} for labels, value in rows]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@dataclass
class FakePrometheus:
    """Answers queries by their text; `answer` instead of that where it is set. `asked` has what came."""

    queries: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    series: dict[str, Sequence[Mapping[str, str]]] = field(default_factory=dict[str, Sequence[Mapping[str, str]]])
    answer: Answer | None = None
    asked: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list[tuple[str, str, Mapping[str, str]]])
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = {**request.query, **(await request.post() if request.method == "POST" else {})}
        given = {key: str(value) for key, value in form.items()}
        self.asked.append((request.method, given.get("query") or given.get("match[]") or "", dict(request.headers)))
        if self.answer is not None:
            return await self.answer(request)
        if request.path.endswith("/series"):
            return web.json_response({"status": "success", "data": list(self.series.get(given["match[]"], ()))})
        return web.json_response(self.queries.get(given["query"], vector()))


@asynccontextmanager
async def listening(
    fake: FakePrometheus, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncGenerator[FakePrometheus, None]:
    """The fake at its `url`, until the block ends."""
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    fake.url = f"{'http' if tls is None else 'https'}://localhost:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


async def hang(request: web.Request) -> web.StreamResponse:
    """Never answers."""
    del request
    await asyncio.Event().wait()
    raise AssertionError


def endless(piece: bytes, pause_seconds: float) -> Answer:
    """Writes pieces for as long as they are read."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(piece)
                await asyncio.sleep(pause_seconds)
        except ConnectionError:
            return response

    return answer


def saying(
    document: Any = None, *, code: int = 200, text: str | None = None, headers: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    """Always says that."""

    async def answer(request: web.Request) -> web.StreamResponse:
        del request
        if text is not None:
            return web.Response(status=code, text=text, headers=headers)
        return web.json_response(document, status=code, headers=headers)

    return answer
