"""The API over HTTPS: recorded paths, bad input, limits, and what is counted and logged."""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import orjson
import pytest
from aiohttp import ClientSession, TCPConnector, web
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from yarl import URL

from adapter.answering.forwarding import Forwarder
from adapter.answering.provider import ExternalValues, Kind, ObjectValues, Provider
from adapter.answering.responder import Responder
from adapter.api.documents import Clock, constant_documents
from adapter.api.paths import ExternalRequest, ObjectRequest
from adapter.server.adapter_server import AdapterServer, AdapterSettings
from adapter.server.app import AdapterApp
from adapter.server.stats import AdapterStats
from infscale.endpoint import ObjectKey
from infscale.metrics.published.catalogue import BY_NAME as PUBLISHED_NAMES
from infscale.metrics.sample import Reading
from infscale.telemetry.own_metrics import OwnMetrics
from tests.adapter.support import E1, G1, G2, POOLS, World, clock, vector_world, vectors


class Api:
    """A running adapter and a client that trusts the CA it made."""

    def __init__(self, server: AdapterServer, session: ClientSession) -> None:
        self.server = server
        self.session = session

    async def ask(self, target: str, method: str = "GET", **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        url = URL(self.server.url + target, encoded=True)
        async with self.session.request(method, url, headers=headers, allow_redirects=False) as response:
            body = await response.read()
            kind = response.headers.get("Content-Type", "")
            return (
                response.status,
                orjson.loads(body) if kind == "application/json" and body else body,
                response.headers,
            )

    async def send(self, raw: bytes) -> tuple[int, Any]:
        """Send bytes as they are and read the one answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, ssl=trusting(self.server))
        try:
            writer.write(raw)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            body = await reader.readexactly(length)
        finally:
            writer.close()
            await writer.wait_closed()
        return int(head.split()[1]), orjson.loads(body)


def trusting(server: AdapterServer) -> ssl.SSLContext:
    assert server.ca_pem is not None
    return ssl.create_default_context(cadata=server.ca_pem.decode())


@asynccontextmanager
async def running(
    provider: Provider, moment: Callable[[], Clock] = clock, max_in_flight: int = 400
) -> AsyncGenerator[Api]:
    settings = AdapterSettings(port=0, max_in_flight=max_in_flight)
    async with (
        AdapterServer(settings, provider, moment) as server,
        ClientSession(connector=TCPConnector(ssl=trusting(server))) as session,
    ):
        yield Api(server, session)


def recorded_paths() -> list[Any]:
    recorded = vectors("api_paths.json")
    return [
        pytest.param(case, id=f"{group}: {case['name']}")
        for group in ("custom", "external", "extra_ours")
        for case in recorded[group]
    ]


@pytest.mark.parametrize("case", recorded_paths())
async def test_recorded_paths_are_answered_alike(case: dict[str, Any]) -> None:
    """One deliberate difference: what the library answers with a list of none is 404 here."""
    assert case.keys() <= {"name", "method", "path", "status", "items"}
    async with running(vector_world()) as api:
        status, body, headers = await api.ask(case["path"], case.get("method", "GET"))
    if case.get("items") == 0:
        case = {"status": 404}
    assert status == case["status"]
    assert headers["Content-Type"] == "application/json"
    if case.get("items") is None:
        assert (body["kind"], body["code"]) == ("Status", status)
    else:
        assert len(body["items"]) == case["items"]


@pytest.mark.parametrize(
    ("target", "method", "status", "reason"),
    [
        ("/nope", "GET", 404, "NotFound"),
        ("/openapi/v1", "GET", 404, "NotFound"),
        ("/metrics", "POST", 405, "MethodNotAllowed"),
        (f"{G1}/namespaces/ns/pods", "GET", 400, "BadRequest"),
        (f"{G1}/namespaces/ns/pods/*/some-metric?labelSelector=a%20in%20(", "GET", 400, "BadRequest"),
        (f"{G1}/namespaces/ns/pods/foo%2F..%2Fbar/some-metric", "GET", 404, "NotFound"),
        (f"{G1}/namespaces/ns/pods/%2e%2e/some-metric", "GET", 404, "NotFound"),
        (f"{G1}/namespaces/ns/pods/%FF/some-metric", "GET", 404, "NotFound"),
        (f"{G1}/namespaces/ns/pods/foo/some-metric", "DELETE", 405, "MethodNotAllowed"),
        ("/livez", "POST", 405, "MethodNotAllowed"),
    ],
)
async def test_every_refusal_is_a_status(target: str, method: str, status: int, reason: str) -> None:
    async with running(vector_world()) as api:
        code, body, headers = await api.ask(target, method)
    assert (code, body["kind"], body["code"], body["reason"]) == (status, "Status", status, reason)
    assert headers["Content-Type"] == "application/json"
    assert headers.get("Allow") == ("GET" if status == 405 else None)


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /apis HTTP/1.1\r\nHost: a\r\nbroken header\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /apis HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /apis HTTP/1.1\r\nHost: a\r\n" + b"X-Many: a\r\n" * 2_100 + b"\r\n",
    ],
    ids=["no HTTP", "version", "header", "line too long", "header too long", "too many headers"],
)
async def test_malformed_requests_get_a_status_too(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(vector_world()) as api:
        status, body = await api.send(raw)
        again, _, _ = await api.ask("/livez")
    assert (status, body["kind"], body["reason"]) == (400, "Status", "BadRequest")
    assert again == 200
    assert "aaaa" not in body["message"] + caplog.text


async def test_users_with_hundreds_of_groups_are_served() -> None:
    """The API server sends one header line per group, and extra fields can be long."""
    groups = b"".join(b"X-Remote-Group: group-%d\r\n" % each for each in range(400))
    extra = b"X-Remote-Extra-Scopes: " + b"s" * 9_000 + b"\r\n"
    async with running(vector_world()) as api:
        status, body = await api.send(b"GET /apis HTTP/1.1\r\nHost: a\r\n" + groups + extra + b"\r\n")
    assert (status, body["kind"]) == (200, "APIGroupList")


async def test_a_body_is_ignored_and_the_connection_lives_on() -> None:
    async with running(vector_world()) as api:
        async with api.session.get(api.server.url + "/apis", data=b"x" * 900_000) as response:
            assert response.status == 200
        assert (await api.ask("/apis"))[0] == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
async def test_probes_are_answered_while_the_store_is_cold(path: str) -> None:
    async with running(World(a=1).provider) as api:
        assert (await api.ask(path))[:2] == (200, b"ok")
        assert (await api.ask(G1))[0] == 200
        assert (await api.ask(f"{G1}/namespaces/llm/pods/*/waiting_requests"))[0] == 503


async def test_discovery_is_not_modified_only_for_who_knows_it() -> None:
    """A probe of the aggregator takes a 304 it did not ask for as a failure."""
    async with running(vector_world()) as api:
        status, _, headers = await api.ask(G1)
        assert status == 200
        assert (await api.ask(G1, **{"If-None-Match": headers["ETag"]}))[:2] == (304, b"")
        assert (await api.ask(G1, **{"If-None-Match": '"other"'}))[0] == 200


async def test_the_adapter_s_own_counts_are_on_its_port() -> None:
    async with running(vector_world()) as api:
        await api.ask("/apis")
        code, body, headers = await api.ask("/metrics")
    assert code == 200
    assert b'infscale_adapter_requests_total{kind="discovery",status="200"} 1.0' in body
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_a_client_is_answered_in_the_form_it_takes() -> None:
    path = f"{G2}/namespaces/ns/pods/*/some-metric"
    async with running(vector_world()) as api:
        _, body, headers = await api.ask(path, Accept="application/yaml")
        assert (headers["Content-Type"], body[:12]) == ("application/yaml", b"kind: Metric")
        assert (await api.ask(path, Accept="text/html"))[0] == 406
        _, groups, headers = await api.ask(
            "/apis", Accept="application/json;as=APIGroupDiscoveryList;v=v2;g=apidiscovery.k8s.io"
        )
        assert b"APIGroupDiscoveryList" in groups
        assert headers["Content-Type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        assert headers["Vary"] == "Accept"


async def test_documents_can_be_pretty() -> None:
    async with running(vector_world()) as api, api.session.get(api.server.url + "/apis?pretty=true") as response:
        assert b"\n  " in await response.read()


async def test_the_whole_way_from_a_scrape_to_an_hpa_s_question() -> None:
    """A stale pod is left out, a pool counts it as the highest, and the text of a refusal has age and cause."""
    world = World(a=3)
    world.report_all(100.0, waiting=2.0)
    world.report("a-0", 110.0, waiting=1.0)
    world.report("a-1", 110.0, waiting=4.0)
    world.fail("a-2", 110.0)
    async with running(world.provider, lambda: clock(110.0)) as api:
        _, pods, _ = await api.ask(f"{G2}/namespaces/llm/pods/%2A/waiting_requests?labelSelector=app%3Dvllm")
        _, pool, _ = await api.ask(f"{G2}/namespaces/llm/{POOLS}/a/waiting_requests")
        _, external, _ = await api.ask(f"{E1}/namespaces/llm/waiting_requests?labelSelector=pool%3Da")
        code, refused, _ = await api.ask(f"{G2}/namespaces/llm/pods/a-2/waiting_requests")
    snapshot = world.store.snapshot(ObjectKey("llm", "a"))
    assert snapshot is not None
    assert {item["describedObject"]["name"]: item["value"] for item in pods["items"]} == {"a-0": "1", "a-1": "4"}
    assert [item["value"] for item in pool["items"]] == ["9"]
    assert [item["value"] for item in external["items"]] == ["9"]
    assert {each["metadata"]["resourceVersion"] for each in (pods, pool, external)} == {snapshot.revision}
    assert (code, refused["reason"]) == (503, "ServiceUnavailable")
    assert "10.0 s old" in refused["message"]
    assert "connection refused" in refused["message"]


class Failing:
    """A provider with a fault."""

    def objects(self, request: ObjectRequest, now: float) -> ObjectValues:
        raise RuntimeError(f"bug about {request.labels}")

    def external(self, request: ExternalRequest, now: float) -> ExternalValues:
        raise RuntimeError("bug")


async def test_a_fault_is_an_internal_error_and_its_log_repeats_nothing_a_client_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(Failing()) as api:
        code, body, _ = await api.ask(f"{G1}/namespaces/ns/pods/*/m?labelSelector=secret%3Dvalue")
        assert (await api.ask("/livez"))[0] == 200
    assert (code, body["kind"], body["reason"]) == (500, "Status", "InternalError")
    assert "RuntimeError at " in caplog.text
    assert "secret" not in caplog.text


async def test_requests_are_counted_by_kind_and_code() -> None:
    async with running(vector_world()) as api:
        for target in (
            f"{G1}/namespaces/ns/pods/*/some-metric",
            f"{G1}/namespaces/ns/pods/*/nope",
            "/apis",
            "/x",
            "/livez",
        ):
            await api.ask(target)
        stats = api.server.stats
    assert stats.requests == {
        ("custom", 200): 1,
        ("custom", 404): 1,
        ("discovery", 200): 1,
        ("other", 404): 1,
        ("probe", 200): 1,
    }
    assert stats.durations["custom"].count == 2


class Large:
    """A provider whose answer does not fit into the buffers of a connection."""

    def objects(self, request: ObjectRequest, now: float) -> ObjectValues:
        pods = ((ObjectKey("ns", f"pod-{each}"), Reading(1.0, now)) for each in range(60_000))
        return ObjectValues(Kind("Pod", "v1"), tuple(pods), "s1.1")

    def external(self, request: ExternalRequest, now: float) -> ExternalValues:
        raise NotImplementedError


async def test_more_metric_requests_than_the_cap_are_told_to_come_back() -> None:
    """A client that does not read its answer holds its place; probes and discovery need none."""
    path = f"{G1}/namespaces/ns/pods/*/m"
    async with running(Large(), max_in_flight=1) as api:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", api.server.port, ssl=trusting(api.server), limit=1_024
        )
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        code, body, headers = await api.ask(path)
        assert (code, body["reason"], headers["Retry-After"]) == (429, "TooManyRequests", "1")
        assert (await api.ask("/livez"))[0] == 200
        assert (await api.ask(G1))[0] == 200
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while (await api.ask(path))[0] == 429:
                await asyncio.sleep(0)


_PARTS = (
    "apis",
    "custom.metrics.k8s.io",
    "external.metrics.k8s.io",
    "v1beta1",
    "namespaces",
    "llm",
    "pods",
    "a-0",
    POOLS,
)
_ODD = ("*", "%2A", "%2F", "..", "%00", "%FF", "", "\u00fc", "metrics", "waiting_requests")
_WORDS = st.sampled_from((*_PARTS, *_ODD))
_TARGETS = st.tuples(
    st.lists(st.one_of(_WORDS, st.text(max_size=6)), max_size=9).map("/".join),
    st.one_of(st.just(""), st.text(max_size=20), st.text(max_size=20).map("labelSelector=".__add__)),
)


@hypothesis_settings(max_examples=20, deadline=None)
@given(st.lists(_TARGETS, min_size=1, max_size=20))
async def test_hostile_paths_and_queries_never_hurt(targets: list[tuple[str, str]]) -> None:
    world = World(a=2)
    world.report("a-0", 100.0)
    async with running(world.provider) as api:
        for path, query in targets:
            raw = f"/{path}?{query}".encode("utf-8", "replace").replace(b"#", b"%23")
            target = b"".join(bytes([each]) if 33 <= each < 127 else b"%%%02X" % each for each in raw).decode()
            code, body, headers = await api.ask(target)
            assert code in {200, 400, 404, 503}
            assert headers["Content-Type"].startswith(("application/json", "text/plain; "))
            assert code == 200 or body["kind"] == "Status"


class Other:
    """Another adapter, which lists `names` and has values of what `answers`."""

    def __init__(self, names: set[str], answers: set[str]) -> None:
        self._names = names
        self._answers = answers

    def knows(self, metric: str) -> bool:
        return metric in self._names

    async def answer(self, request: ObjectRequest) -> bytes | None:
        return b'{"items":"theirs"}' if request.metric in self._answers else None


@pytest.mark.parametrize(
    ("metric", "other", "theirs"),
    [
        ("vllm:num_requests_waiting", Other(set(), set()), False),
        ("vllm:num_requests_waiting", Other({"vllm:num_requests_waiting"}, {"vllm:num_requests_waiting"}), True),
        ("vllm:num_requests_waiting", Other({"vllm:num_requests_waiting"}, set()), False),
        ("waiting_requests", Other({"waiting_requests"}, {"waiting_requests"}), False),
        ("DCGM_FI_DEV_GPU_UTIL", Other({"DCGM_FI_DEV_GPU_UTIL"}, {"DCGM_FI_DEV_GPU_UTIL"}), True),
        ("DCGM_FI_DEV_GPU_UTIL", Other(set(), {"DCGM_FI_DEV_GPU_UTIL"}), True),
    ],
    ids=["none has it", "the other has it", "the other lists it alone", "ours by name", "in another unit", "unlisted"],
)
async def test_a_name_of_an_engine_is_the_other_adapter_s_where_that_has_a_metric_of_it(
    metric: str, other: Other, theirs: bool
) -> None:
    world = World(a=1)
    world.report_all(100.0)
    forwarder = cast("Forwarder", other)
    responder = Responder(world.provider, constant_documents(PUBLISHED_NAMES, "0"), forwarder, PUBLISHED_NAMES)
    app = AdapterApp(responder, OwnMetrics(), clock, AdapterStats())
    runner = web.ServerRunner(app.server(), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = URL(f"http://127.0.0.1:{runner.addresses[0][1]}{G2}/namespaces/llm/pods/*/{metric}", encoded=True)
        async with ClientSession() as session, session.get(url) as response:
            body = orjson.loads(await response.read())
    finally:
        await runner.cleanup()
    assert (body.get("items") == "theirs") == theirs
    if not theirs:
        assert body["items"][0]["metric"]["name"] == metric
