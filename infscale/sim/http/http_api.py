"""The HTTP paths of a simulated server, over its `Replica`.

Like vLLM, a streamed answer's headers are sent at once, before the first token. Tokens are then written straight to the
connection from the engine's timer: a token costs one small write and no task switch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import HttpVersion11, web

from infscale.sim.engine.steps import FinishedRequest
from infscale.sim.http.completions import Answer, ApiError, EventStream, bad_request, parse_call
from infscale.sim.http.replica import Replica
from infscale.sim.pages.engine_pages import EngineSkin
from infscale.sim.settings import Fault, FaultKind

_JSON = "application/json"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
_UNCOUNTED = frozenset({"/metrics", "/prometheus/metrics", "/health", "/dcgm/metrics", "/sim/faults"})

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class FaultOrder:
    """What ``/sim/faults`` was told: inject `fault`, or end faults of `kind` (None: all); `endpoint` None is here."""

    endpoint: str | None
    fault: Fault | None
    kind: FaultKind | None


class HttpApi:
    """Answers requests for one replica; `obey` carries out orders to misbehave.

    `busy` are the connections with a request under way.
    """

    def __init__(self, replica: Replica, obey: Callable[[FaultOrder], Awaitable[None]]) -> None:
        self._replica = replica
        self._obey = obey
        self.busy: set[object] = set()
        self._headers = {
            "x-inference-pod": replica.settings.name,
            "x-inference-namespace": replica.settings.namespace,
        }
        self._routes: dict[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", lambda request: self._complete(request, True)),
            "/v1/completions": ("POST", lambda request: self._complete(request, False)),
            "/v1/models": ("GET", self._models),
            "/v1/load_lora_adapter": ("POST", self._load_lora),
            "/v1/unload_lora_adapter": ("POST", self._unload_lora),
            "/health": ("GET", self._health),
            "/metrics": ("GET", self._statistics if replica.settings.skin is EngineSkin.TRTLLM else self._metrics),
            "/prometheus/metrics": ("GET", self._metrics),
            "/dcgm/metrics": ("GET", self.gpu_metrics),
        }

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        connection = request.protocol
        self.busy.add(connection)
        try:
            return await self._answer(request)
        finally:
            self.busy.discard(connection)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, replica = request.path, self._replica
        if path == "/sim/faults":
            return await self._guard(self._post_fault if request.method == "POST" else self._list_faults, request)
        if FaultKind.HANG in replica.faults:
            await replica.hang()
            return _cut(request)
        started = replica.now()
        response = await self._guard(self._handler_of(request), request)
        if path in self._routes and path not in _UNCOUNTED:
            sizes = (request.content_length or 0, response.content_length or 0)
            replica.http.observe((path, request.method), response.status, replica.now() - started, sizes)
        return response

    def _handler_of(self, request: web.BaseRequest) -> Handler:
        method, handler = self._routes.get(request.path, ("", _no_such_path))
        if method and request.method != method and not (method == "GET" and request.method == "HEAD"):
            return _wrong_method
        # dcgm-exporter is a process of its own: it answers while the model server starts.
        return handler if self._replica.ready or handler == self.gpu_metrics else _not_ready

    async def _guard(self, handler: Handler, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            headers = self._headers | ({"Retry-After": "1"} if error.status in (429, 503) else {})
            return web.Response(body=error.body(), status=error.status, content_type=_JSON, headers=headers)

    # --- completions -------------------------------------------------------------------------------------------------

    async def _complete(self, request: web.BaseRequest, chat: bool) -> web.StreamResponse:
        replica = self._replica
        broken = replica.struck(FaultKind.ERROR)
        if broken is not None:
            raise ApiError(broken.status, "InternalServerError", "The engine failed (fault injected).")
        if replica.struck(FaultKind.SLEEP) is not None:
            raise ApiError(503, "ServiceUnavailable", "The engine sleeps.")
        call = parse_call(await request.read(), chat)
        answer = Answer(call, ("chatcmpl-" if chat else "cmpl-") + replica.new_id(), replica.created())
        dying = replica.struck(FaultKind.DIE)
        transport = request.transport
        if transport is None:
            return web.Response(status=499)
        done: asyncio.Future[FinishedRequest] = asyncio.get_running_loop().create_future()
        events = EventStream(answer, framed=request.version >= HttpVersion11) if call.stream else None
        sink = _Sink(transport, events, done, dying.after_tokens if dying else None)
        rank, request_id = replica.submit(call, sink.token)
        try:
            if call.stream:
                return await self._stream(request, sink)
            finished = await done
            return web.Response(body=answer.whole(finished), content_type=_JSON, headers=self._headers)
        finally:
            rank.abort(request_id)

    async def _stream(self, request: web.BaseRequest, sink: "_Sink") -> web.StreamResponse:
        headers = self._headers | {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        response = web.StreamResponse(headers=headers)
        try:
            await response.prepare(request)
        except ConnectionError:
            # The client has left; aiohttp ends the connection with what it is given.
            return response
        sink.open()
        await sink.done
        await response.write_eof()
        return response

    # --- the rest of the API -----------------------------------------------------------------------------------------

    async def _health(self, _: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers=self._headers)

    async def _models(self, _: web.BaseRequest) -> web.StreamResponse:
        settings, created = self._replica.settings, self._replica.created()
        base = {
            "id": settings.served_model,
            "object": "model",
            "created": created,
            "owned_by": "vllm",
            "root": settings.served_model,
            "parent": None,
            "max_model_len": settings.context_tokens,
        }
        loras = [
            {**base, "id": name, "root": path or name, "parent": settings.served_model, "max_model_len": None}
            for name, path in self._replica.loras.items()
        ]
        body = orjson.dumps({"object": "list", "data": [base, *loras]})
        return web.Response(body=body, content_type=_JSON, headers=self._headers)

    async def _load_lora(self, request: web.BaseRequest) -> web.StreamResponse:
        document = await _json_object(request)
        name, path = document.get("lora_name"), document.get("lora_path")
        if not isinstance(name, str) or not isinstance(path, str) or not name or not path:
            raise bad_request("Both 'lora_name' and 'lora_path' must be provided.")
        if name in self._replica.loras:
            raise bad_request(f"The lora adapter '{name}' has already been loaded.")
        self._replica.loras[name] = path
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.", headers=self._headers)

    async def _unload_lora(self, request: web.BaseRequest) -> web.StreamResponse:
        name = (await _json_object(request)).get("lora_name")
        if not isinstance(name, str) or not name:
            raise bad_request("'lora_name' must be provided.")
        if name not in self._replica.loras:
            raise ApiError(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        del self._replica.loras[name]
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.", headers=self._headers)

    # --- pages -------------------------------------------------------------------------------------------------------

    async def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        text = self._replica.metrics_page(request.query.getall("name[]", ()))
        return web.Response(body=text.encode(), headers=self._headers | {"Content-Type": _EXPOSITION})

    async def _statistics(self, _: web.BaseRequest) -> web.StreamResponse:
        """What TensorRT-LLM has where others have their metrics page."""
        return web.Response(body=orjson.dumps(self._replica.statistics()), content_type=_JSON, headers=self._headers)

    async def gpu_metrics(self, _: web.BaseRequest) -> web.StreamResponse:
        """The dcgm-exporter page."""
        return web.Response(body=self._replica.gpu_page().encode(), headers={"Content-Type": _EXPOSITION})

    # --- faults ------------------------------------------------------------------------------------------------------

    async def _list_faults(self, _: web.BaseRequest) -> web.StreamResponse:
        body = orjson.dumps({"faults": [kind.value for kind in self._replica.faults]})
        return web.Response(body=body, content_type=_JSON)

    async def _post_fault(self, request: web.BaseRequest) -> web.StreamResponse:
        await self._obey(_parse_order(await _json_object(request)))
        return await self._list_faults(request)


@dataclass(slots=True, eq=False)
class _Sink:
    """Takes one answer's tokens; when `_left` of them have come (None: never) it cuts the connection.

    With `_events` it writes them to the connection, from `open` on: until then the headers are on their way.
    """

    _transport: asyncio.Transport
    _events: EventStream | None
    done: asyncio.Future[FinishedRequest]
    _left: int | None
    _held: list[bytes] | None = field(default_factory=list[bytes])

    def open(self) -> None:
        """Write from now on."""
        self._transport.write(b"".join(self._held or ()))
        self._held = None

    def token(self, finished: FinishedRequest | None) -> None:
        """One more token, and the end of the answer with the last."""
        if self._left is not None:
            if self._left == 0:
                self._transport.abort()
                return
            self._left -= 1
        # That a client left is found out after its connection is closed, and uvloop takes nothing for a closed one.
        if self._events is not None and not self._transport.is_closing():
            event = self._events.token()
            if finished is not None:
                event += self._events.end(finished)
            if self._held is None:
                self._transport.write(event)
            else:
                self._held.append(event)
        if finished is not None and not self.done.done():
            self.done.set_result(finished)


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


def _refusing(status: int, kind: str, message: str) -> Handler:
    async def refuse(_: web.BaseRequest) -> web.StreamResponse:
        raise ApiError(status, kind, message)

    return refuse


_not_ready = _refusing(503, "ServiceUnavailable", "The server is starting.")
_no_such_path = _refusing(404, "NotFoundError", "Not Found")
_wrong_method = _refusing(405, "MethodNotAllowed", "Method Not Allowed")


async def _json_object(request: web.BaseRequest) -> dict[str, Any]:
    try:
        document: Any = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise bad_request("the body is not JSON") from error
    if not isinstance(document, dict):
        raise bad_request("the body is not a JSON object")
    return document


def _parse_order(document: dict[str, Any]) -> FaultOrder:
    kinds = ", ".join(kind.value for kind in FaultKind)
    particulars = dict(document)
    endpoint, name = particulars.pop("endpoint", None), particulars.pop("kind", None)
    if endpoint is not None and not isinstance(endpoint, str):
        raise bad_request("endpoint is the name of a server of this process", "endpoint")
    if name == "none" and not particulars:
        return FaultOrder(endpoint, None, None)
    try:
        kind = FaultKind(name)
        if particulars == {"active": False}:
            return FaultOrder(endpoint, None, kind)
        return FaultOrder(endpoint, Fault(kind, **particulars), kind)
    except (TypeError, ValueError) as error:
        raise bad_request(
            f"a fault is {{kind, seconds, status, after_tokens, ratio, endpoint}}, kind one of {kinds}; "
            "active: false beside kind ends one, kind: none ends all"
        ) from error
