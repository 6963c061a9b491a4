"""The documents under `/debug/`: what they are made of, how often, and for which clients.

A document of a thousand endpoints takes many milliseconds. It is made in steps, so that requests and answers that come
meanwhile wait for a step alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import web

from infscale.endpoint import is_loopback
from infscale.errors import InfscaleError
from infscale.metrics.published.inspection import snapshot_steps
from infscale.metrics.store.metrics_store import MetricStore
from infscale.stepwise import Steps

DebugPage = Callable[[], Steps[object]]
"""Makes a document of JSON, as things are when it begins."""
DebugFinder = Callable[[str], object | None]
"""The document of a thing by its name; None: there is no such thing."""
DebugStream = Callable[[], Iterator[bytes]]
"""Lines, each made when it is asked for."""
DebugCommand = Callable[[str, str], object]
"""Tells a thing, by its name, to do something, and gives its document; raises `InfscaleError` where it refuses."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def at_once(made: Callable[[], object]) -> DebugPage:
    """A document that is made in one go."""

    def page() -> Steps[object]:
        yield
        return made()

    return page


def snapshot_page(store: MetricStore, clock: Callable[[], float]) -> DebugPage:
    """The whole of `store`."""

    def page() -> Steps[object]:
        now = clock()
        pools: list[object] = []
        for snapshot in store.snapshots():
            document = yield from snapshot_steps(snapshot, now)
            pools.append(document)
        return {"pools": pools}

    return page


class DebugDocuments:
    """Documents by the names of their `pages`; one is made at a time, and the last one of each is kept."""

    def __init__(self, pages: Mapping[str, DebugPage], clock: Callable[[], float]) -> None:
        self._pages = pages
        self._clock = clock
        self._made: dict[str, tuple[float, object]] = {}
        self._making = asyncio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name."""
        return tuple(self._pages)

    async def get(self, name: str, most_seconds: float = 0.0) -> object | None:
        """The document `name`, made after the call or less than `most_seconds` before; None: there is no such."""
        page = self._pages.get(name)
        if page is None:
            return None
        async with self._making:
            kept = self._made.get(name)
            if kept is not None and self._clock() - kept[0] < most_seconds:
                return kept[1]
            began = self._clock()
            document = await _taken(page())
            self._made[name] = (began, document)
            return document


async def _taken(steps: Steps[object]) -> object:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class DebugSources:
    """What there is under `/debug/`, by name: documents, documents of one thing each, lines, and commands."""

    pages: Mapping[str, DebugPage] = field(default_factory=dict[str, DebugPage])
    finders: Mapping[str, DebugFinder] = field(default_factory=dict[str, DebugFinder])
    streams: Mapping[str, DebugStream] = field(default_factory=dict[str, DebugStream])
    commands: Mapping[str, DebugCommand] = field(default_factory=dict[str, DebugCommand])


NO_SOURCES: Final = DebugSources()


def debug_routes(documents: DebugDocuments, sources: DebugSources) -> Mapping[str, Handler]:
    """The paths under `/debug/`, and what answers them."""

    async def found(request: web.Request) -> web.StreamResponse:
        find = sources.finders.get(request.match_info["page"])
        document = None if find is None else find(request.match_info["name"])
        if document is None:
            return web.Response(status=404, text="there is nothing of that name (any more)")
        return _json(document)

    async def lines(request: web.Request, made: Iterator[bytes]) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await answer.prepare(request)
        for line in made:
            await answer.write(line)
            # The next line takes some milliseconds, too.
            await asyncio.sleep(0)
        return answer

    async def debug(request: web.Request) -> web.StreamResponse:
        stream = sources.streams.get(request.match_info["page"])
        if stream is not None:
            return await lines(request, stream())
        document = await documents.get(request.match_info["page"])
        if document is None:
            return web.Response(status=404, text=f"there is /debug/{', /debug/'.join(documents.names)}")
        return _json(document)

    return {"/debug/{page}": debug, "/debug/{page}/{name:.+}": found}


def command_route(sources: DebugSources) -> tuple[str, Handler]:
    """The path that things are told commands at (``POST``), and what answers it.

    The body is ``{"command": …}``. It has to be called JSON: a page of another origin cannot have a browser send that
    without asking first, which is not answered.
    """

    async def told(request: web.Request) -> web.StreamResponse:
        obey = sources.commands.get(request.match_info["page"])
        if obey is None:
            return web.Response(status=404, text="there is nothing of that name that takes commands\n")
        if request.content_type != "application/json" or "Origin" in request.headers:
            return web.Response(status=415, text="expected application/json, and not from a web page\n")
        try:
            command = orjson.loads(await request.read())["command"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            command = None
        if not isinstance(command, str):
            return web.Response(status=400, text='expected {"command": "..."}\n')
        try:
            return _json(obey(request.match_info["name"], command))
        except InfscaleError as error:
            return web.Response(status=409, text=f"{error}\n")

    return "/debug/{page}/{name:.+}", told


def _json(document: object) -> web.Response:
    return web.Response(body=orjson.dumps(document, option=orjson.OPT_INDENT_2), content_type="application/json")


def for_this_machine(handler: Handler) -> Handler:
    """`handler` for clients that name this machine: a web page of another origin whose name leads here does not."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        host = request.url.host
        if host is None or not _is_this_machine(host):
            return web.Response(
                status=403, text="this is for clients on this machine: ask for 127.0.0.1 or localhost\n"
            )
        return await handler(request)

    return guarded


def _is_this_machine(host: str) -> bool:
    try:
        return is_loopback(host.lower())
    except ValueError:
        return False
