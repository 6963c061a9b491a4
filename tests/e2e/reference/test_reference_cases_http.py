"""The reference's ext_proc cases as HTTP requests through a real Envoy in front of a running infscale.

What the reference expects of messages is looked for where it has an effect: at the pod that got the request, in the
answer that the client got, and in what Envoy's route says of the metadata it was given. Everybody speaks HTTP/1.1:
cases of gRPC are its messages in ordinary bodies, and their responses end without trailers.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from infscale.client_headers import TRUSTABLE
from infscale.demo.child_processes import free_ports
from infscale.endpoint import ObjectKey
from infscale.envoy.config import DESTINATION_HEADER, Address, PickerRoute, bootstrap
from infscale.envoy.process import running_document
from infscale.serving.composition import Serving, serving
from tests.e2e.reference.reference_pool import POOL, configuration, on_loopback, page_of, scraped
from tests.picker.vector_checks import PLAYED, content, contents
from tests.picker.vector_pool import NAMESPACE, Case

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

MODES = {"response bodies withheld": False, "full duplex": True}
COMPLETIONS = "/v1/completions"
# What is asked where a case is of the response alone: of an OpenAI path, and of vLLM's engine over gRPC.
PLAIN = {
    COMPLETIONS: b'{"model": "m", "prompt": "x"}',
    "/vllm.grpc.engine.VllmEngine/Generate": b"\0\0\0\0\7\x1a\5test2",
}
METADATA, ROUTE = "x-seen-metadata", "x-seen-route"
_TYPE = "type.googleapis.com/envoy.extensions"

# What a case says that no client, pod or route can see; tests/e2e/reference/test_reference_cases.py and
# tests/picker/test_ext_proc_vectors.py look at it.
NOT_VISIBLE = {
    "Content-Length": "Envoy drops it where bodies are full duplex, and sends chunks that end with the body",
    "endpoint": "repeats the destination header",
    "kind": "names the check",
    "note": "is a remark",
    "on_response_index": "metadata of answers to the response come after the headers in which a client could see them",
    "responses": "how many messages an answer takes is between Envoy and the picker",
}
SEEN = {
    "body",
    "body_base64",
    "body_end_of_stream",
    "chunks",
    "clear_route_cache",
    "dynamic_metadata",
    "dynamic_metadata_has",
    "dynamic_metadata_lacks",
    "response_set_headers",
    "set_headers",
    "status",
}


@dataclass(frozen=True, slots=True)
class Received:
    """A request as its pod got it."""

    authority: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as the client got it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Pods:
    """The case's pods: each serves its metrics page, records every request and answers as the case says."""

    case: Case
    received: list[Received] = field(default_factory=list[Received])
    read: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released once for each piece of an answer that the client has read."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        async with contextlib.AsyncExitStack() as stack:
            for pod in self.case["pods"]:
                await stack.enter_async_context(self._pod(pod))
            yield

    @contextlib.asynccontextmanager
    async def _pod(self, pod: Case) -> AsyncGenerator[None, None]:
        async def page(_request: web.Request) -> web.Response:
            return web.Response(text=page_of(pod))

        async def any_other(request: web.Request) -> web.StreamResponse:
            authority = f"{pod['ip']}:{pod['port']}"
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.received.append(Received(authority, request.method, request.path, headers, await request.read()))
            return await self._answer(request)

        app = web.Application()
        app.router.add_get("/metrics", page)
        app.router.add_route("*", "/{path:.*}", any_other)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, pod["ip"], pod["port"]).start()
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        said = self.case["request"]
        streamed = "event-stream" in said.get("response_headers", {}).get("content-type", "")
        response = web.StreamResponse(headers=said.get("response_headers", {}))
        await response.prepare(request)
        for number, chunk in enumerate(contents(said, "response_body_chunks")):
            if number and streamed:
                # It passes on as it comes: the next piece is sent when the client has the last one.
                await self.read.acquire()
            await response.write(chunk)
        return response


def watched(document: Any, case: Case) -> Any:
    """The bootstrap document with the case's metadata in, and with what Envoy was told put into the pod's request."""
    for listener in document["static_resources"]["listeners"]:
        (chain,) = listener["filter_chains"]
        manager = chain["filters"][0]["typed_config"]
        hints = [
            {"metadata_namespace": namespace, "value": fields}
            for namespace, fields in case["request"].get("filter_metadata", {}).items()
        ]
        if hints:
            kind = f"{_TYPE}.filters.http.set_metadata.v3.Config"
            manager["http_filters"].insert(0, {"name": "hints", "typed_config": {"@type": kind, "metadata": hints}})
        (host,) = manager["route_config"]["virtual_hosts"]
        (route,) = host["routes"]
        # Envoy chooses the route before it asks the picker; only with its choice cleared it sees the new header.
        picked = {"prefix": "/", "headers": [{"name": DESTINATION_HEADER, "present_match": True}]}
        host["routes"] = [
            {**route, "match": picked, "request_headers_to_add": [added(ROUTE, "picked"), seen_metadata()]},
            {**route, "request_headers_to_add": [added(ROUTE, "first")]},
        ]
    return document


def added(name: str, value: str) -> dict[str, Any]:
    return {"header": {"key": name, "value": value}}


def seen_metadata() -> dict[str, Any]:
    return added(METADATA, "%DYNAMIC_METADATA(envoy.lb)%")


@contextlib.asynccontextmanager
async def envoy(case: Case, picker_port: int) -> AsyncGenerator[dict[str, str], None]:
    """One Envoy with a listener per processing mode; their URLs."""
    admin, *listens = (Address("127.0.0.1", port) for port in free_ports(1 + len(MODES)))
    picker = Address("127.0.0.1", picker_port)
    routes = [
        PickerRoute(listen, picker, None, bodies, trusted_headers=TRUSTABLE)
        for listen, bodies in zip(listens, MODES.values(), strict=True)
    ]
    async with running_document(admin, watched(bootstrap(admin, routes), case)):
        yield {mode: f"http://{listen}" for mode, listen in zip(MODES, listens, strict=True)}


async def asked(session: aiohttp.ClientSession, url: str, pods: Pods) -> Answered:
    """Send the case's request; a case of the response alone gets a plain one."""
    request = pods.case["request"]
    headers = {**request.get("headers", {}), **request.get("request_headers_first", {})}
    path = headers.pop(":path", COMPLETIONS)
    pieces = contents(request, "body_chunks") or [PLAIN[path]]

    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    length = {"content-length": str(sum(map(len, pieces)))}
    sent = (
        session.get(f"{url}/v1/models", headers=headers)
        if request.get("end_of_stream_in_headers")
        else session.post(f"{url}{path}", headers=headers | length, data=chunks())
    )
    async with sent as response:
        body = b""
        async for piece in response.content.iter_any():
            body += piece
            pods.read.release()
        found = {name.lower(): value for name, value in response.headers.items()}
        return Answered(response.status, found, body)


def check_route(pods: Pods, answer: Answered, expect: Case) -> None:
    (received,) = pods.received
    assert answer.status == 200
    # The body's own framing says where it ends: all of it has come, and nothing else.
    assert received.body == content(expect, "body")
    wanted = {name.lower(): value for name, value in expect["set_headers"].items() if name not in NOT_VISIBLE}
    assert {":path": received.path, **received.headers}.items() >= wanted.items()
    assert received.authority == wanted[DESTINATION_HEADER]
    assert (received.headers[ROUTE] == "picked") is expect["clear_route_cache"]
    assert json.loads(received.headers[METADATA]) == expect["dynamic_metadata"]["envoy.lb"]


def check_immediate(pods: Pods, answer: Answered, expect: Case) -> None:
    assert not pods.received
    assert answer.status == expect["status"]
    assert answer.body == expect["body"].encode()
    assert "x-llm-d-request-dropped-reason" not in answer.headers


def check_response(pods: Pods, answer: Answered, expect: Case) -> None:
    (_,) = pods.received
    assert answer.status == 200
    wanted = expect["response_set_headers"]
    assert {name: answer.headers.get(name) for name in wanted} == wanted
    assert answer.body == b"".join(content(chunk, "body") for chunk in expect["chunks"])


def check_behaviour(pods: Pods, answer: Answered, expect: Case) -> None:
    (received,) = pods.received
    assert answer.status == 200
    assert received.authority in {f"{pod['ip']}:{pod['port']}" for pod in pods.case["pods"]}
    metadata = json.loads(received.headers[METADATA])
    assert metadata[DESTINATION_HEADER] == received.authority
    assert set(expect.get("dynamic_metadata_has", {}).get("envoy.lb", ())) <= set(metadata)
    assert not set(expect.get("dynamic_metadata_lacks", {}).get("envoy.lb", ())) & set(metadata)


async def until_books_are_closed(running: Serving, routed: int) -> None:
    """Wait until all that was routed has been completed and nothing is in flight; the test's timeout is the limit."""
    pool = ObjectKey(NAMESPACE, POOL)
    director, snapshot = running.directors.director(pool), running.store.snapshot(pool)
    assert director is not None
    while sum(director.stats.outcomes.values()) < routed or (
        snapshot is not None and snapshot.in_flight_requests.any()
    ):
        await asyncio.sleep(0.01)
        snapshot = running.store.snapshot(pool)
    assert director.stats.outcomes == ({"completed": routed} if routed else {})


CHECKS = {
    "route": check_route,
    "immediate": check_immediate,
    "response": check_response,
    "behaviour": check_behaviour,
    "not_asserted": check_behaviour,
}


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
@pytest.mark.parametrize("case", PLAYED, ids=[case["name"] for case in PLAYED])
async def test_through_envoy_clients_and_pods_see_what_the_reference_expects(
    tmp_path: Path, case: Case, transport: str
) -> None:
    (port,) = free_ports(1)
    case = on_loopback(case, port)
    pods = Pods(case)
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(pods.running())
        ports = [pod["port"] for pod in case["pods"]]
        config = await asyncio.to_thread(configuration, tmp_path, case, ports, transport)
        running = await enter(serving(config))
        assert running.transport is not None
        await scraped(running, len(ports))
        urls = await enter(envoy(case, running.transport.port))
        session = await enter(aiohttp.ClientSession(auto_decompress=False))
        routed = 0
        for url in urls.values():
            pods.received.clear()
            answer = await asked(session, url, pods)
            CHECKS[case["expect"]["kind"]](pods, answer, case["expect"])
            routed += len(pods.received)
        await until_books_are_closed(running, routed)


def test_every_expectation_is_looked_at_or_named() -> None:
    expected = {key for case in PLAYED for key in case["expect"]}
    assert expected <= SEEN | set(NOT_VISIBLE)
