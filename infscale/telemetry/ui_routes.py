"""The pages under `/ui`: the documents under `/debug/` for a browser, read-only."""

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from infscale.telemetry.debug_documents import DebugDocuments, DebugSources, Handler
from infscale.viewing.seen_documents import Documents, seen
from infscale.viewing.views import view_page
from infscale.viewing.web_page import (
    SCRIPT,
    SCRIPT_PATH,
    STYLE,
    STYLE_PATH,
    UI_PATH,
    asked_for,
    unreadable_page,
    web_page,
)

_KEPT_SECONDS: Final = 1.0
"""How old a document of a page may be: many readers cost as much as one."""

_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def ui_routes(documents: DebugDocuments, sources: DebugSources) -> Mapping[str, Handler]:
    """The paths of pages, and what answers them; one page is written at a time."""
    explain = sources.finders.get("picks")
    writing = asyncio.Lock()

    async def page(request: web.Request) -> web.StreamResponse:
        asked = asked_for(request.query)
        if asked is None:
            return _answer(unreadable_page("there is no such page"), "text/html", 404)
        async with writing:
            found = Documents(
                await documents.get("snapshot", _KEPT_SECONDS),
                await documents.get("picks", _KEPT_SECONDS),
                await documents.get("autoscalers", _KEPT_SECONDS),
                await documents.get("triggers", _KEPT_SECONDS),
                explanation=explain(asked.view.pick) if explain is not None and asked.view.pick else None,
                rollouts=await documents.get("rollouts", _KEPT_SECONDS),
            )
            # A page of a thousand endpoints takes tens of milliseconds, which decisions do not wait for.
            written = await asyncio.to_thread(lambda: web_page(view_page(seen(found), asked.view), asked))
        return _answer(written, "text/html")

    async def style(_: web.Request) -> web.StreamResponse:
        return _answer(STYLE.encode(), "text/css")

    async def script(_: web.Request) -> web.StreamResponse:
        return _answer(SCRIPT.encode(), "text/javascript")

    async def home(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": UI_PATH})

    return {"/": home, UI_PATH: page, f"{UI_PATH}/": page, STYLE_PATH: style, SCRIPT_PATH: script}


def _answer(body: bytes, content_type: str, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=content_type, charset="utf-8", headers=_HEADERS)
