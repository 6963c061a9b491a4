"""The HTTP shell: reads a request, lets the pure parts answer, writes the bytes.

There is no router: the path is parsed once, decoded, by `adapter.api.paths`, and every error, aiohttp's own included,
leaves as a Kubernetes `Status`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from aiohttp import hdrs, web

from adapter.access.authentication import Caller
from adapter.access.peer import peer_of
from adapter.access.request_access import OPEN, Access, audit
from adapter.access.request_attributes import Asked
from adapter.answering.responder import KINDS, PathKind, Reply, Responder, refusal
from adapter.api.documents import Clock
from adapter.api.negotiation import Preferences
from adapter.api.paths import ExternalRequest, MetricRequest, ObjectRequest, Request, TelemetryRequest, parse
from adapter.errors import ApiError, TooManyRequests
from adapter.server.connections import ConnectionLimits, Connections
from adapter.server.http_connection import StatusHandler, StatusServer
from adapter.server.stats import AdapterStats
from infscale.telemetry.own_metrics import CONTENT_TYPE, OwnMetrics

WRITE_TIMEOUT_SECONDS = 30.0
PIECE_BYTES = 262_144
_REMEMBERED_REQUESTS = 1_024
_REMEMBERED_CHARACTERS = 512

_NOT_FOUND = 404
# Autoscalers ask the same again and again.
_remembered = lru_cache(maxsize=_REMEMBERED_REQUESTS)(parse)
_BUSY = "the adapter is answering as many requests as it takes at once; ask again"


@dataclass(slots=True, eq=False)
class AdapterApp:
    """Answers what `access` admits with a `Responder`; takes at most `max_in_flight` metric requests at once.

    `page` has the process' own metrics. Without `access` every request is admitted: for an adapter that only this
    machine can reach.
    """

    responder: Responder
    page: OwnMetrics
    clock: Callable[[], Clock]
    stats: AdapterStats
    max_in_flight: int = 400
    access: Access | None = None
    _in_flight: int = field(default=0, init=False)

    def server(self, limits: ConnectionLimits | None = None) -> StatusServer:
        """An aiohttp server of this app on the running loop, which keeps connections within `limits`."""
        connections = Connections(limits or ConnectionLimits(), self.stats.closed, asyncio.get_running_loop().time)
        self.stats.connections = lambda: connections.counts
        return StatusServer(self.handle, _response, self.stats, connections)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        started = self.clock().monotonic
        kind = PathKind.OTHER
        parsed: Request | ApiError
        try:
            parsed = _parsed(request.method, request.path, request.rel_url.raw_query_string)
        except ApiError as error:
            parsed = error
        else:
            kind = KINDS[type(parsed)]
        try:
            response = await self._admitted(request, parsed)
        except ApiError as error:
            response = _response(refusal(error))
        self.stats.record(kind.value, response.status, self.clock().monotonic - started)
        return response

    async def _admitted(self, request: web.BaseRequest, parsed: Request | ApiError) -> web.StreamResponse:
        """The answer to a request, or why it has none: without the right to it a caller does not learn what exists."""
        asked = Asked(request.method, request.path, None if isinstance(parsed, ApiError) else parsed)
        peer = peer_of(request.transport)
        admission = OPEN if self.access is None else await self.access.admit(Caller(request.headers, peer), asked)
        if peer is not None and admission.user is not None and isinstance(request.protocol, StatusHandler):
            request.protocol.prove()
        if isinstance(parsed, ApiError):
            response: web.StreamResponse = _response(refusal(parsed))
        else:
            response = await self._answered(request, parsed)
        audit(admission, asked, response.status)
        return response

    async def _answered(self, request: web.BaseRequest, asked: Request) -> web.StreamResponse:
        if isinstance(asked, TelemetryRequest):
            return _response(Reply(200, await self.page.written(), CONTENT_TYPE))
        wanted = Preferences(request.headers.get(hdrs.ACCEPT), request.headers.get(hdrs.IF_NONE_MATCH))
        if not isinstance(asked, ObjectRequest | ExternalRequest):
            return _response(self.responder.answer(asked, self.clock(), wanted))
        if self._in_flight >= self.max_in_flight:
            return _response(refusal(TooManyRequests(_BUSY)))
        # What is asked elsewhere is not among those in flight: another adapter that hangs keeps no client from what
        # infscale knows.
        if isinstance(asked, ObjectRequest) and self.responder.is_of_others(asked):
            found = await self.responder.elsewhere(asked, wanted)
            return await self._own(request, asked, wanted) if found is None else _response(found)
        response = await self._own(request, asked, wanted)
        if response.status == _NOT_FOUND and isinstance(asked, ObjectRequest):
            found = await self.responder.elsewhere(asked, wanted)
            response = response if found is None else _response(found)
        return response

    async def _own(self, request: web.BaseRequest, asked: MetricRequest, wanted: Preferences) -> web.StreamResponse:
        """The answer from the store."""
        self._in_flight += 1
        try:
            reply = self.responder.answer(asked, self.clock(), wanted)
            if len(reply.body) <= PIECE_BYTES:
                return _response(reply)
            # Written here so that clients that read slowly count as in flight, and not for ever.
            async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                return await _written(request, reply)
        finally:
            self._in_flight -= 1


def _parsed(method: str, path: str, query: str) -> Request:
    short = len(path) + len(query) <= _REMEMBERED_CHARACTERS
    return (_remembered if short else parse)(method, path, query)


async def _written(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Write `reply` piece by piece: a TLS transport takes whatever it is given at once, however slowly it is read."""
    response = web.StreamResponse(status=reply.code, headers=_headers(reply))
    response.content_length = len(reply.body)
    await response.prepare(request)
    for start in range(0, len(reply.body), PIECE_BYTES):
        await response.write(reply.body[start : start + PIECE_BYTES])
    await response.write_eof()
    return response


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.code, body=reply.body, headers=_headers(reply))


def _headers(reply: Reply) -> dict[str, str]:
    return {hdrs.CONTENT_TYPE: reply.content_type, hdrs.CACHE_CONTROL: "no-cache, private", **reply.headers}
