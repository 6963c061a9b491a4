"""Who is let in over real TLS, and what everybody else is told."""

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp import ClientConnectionError, ClientSession, TCPConnector, web
from multidict import CIMultiDictProxy
from yarl import URL

from adapter.access.request_access import ClusterAccess, cluster_access
from adapter.access.trust import Trust
from adapter.answering.responder import Responder
from adapter.api.documents import Clock, constant_documents
from adapter.server.app import AdapterApp
from adapter.server.http_connection import StatusServer
from adapter.server.stats import AdapterStats
from infscale.kube.api.errors import Unreachable
from infscale.telemetry.own_metrics import OwnMetrics
from tests.adapter.support import E1, G2, golden_world, vectors
from tests.fakes.certificates import SERVER, Issued, authority
from tests.fakes.cluster import FakeCluster, JsonObject

CLIENT_CA, PROXY_CA, SERVER_CA = authority("kubernetes"), authority("front-proxy-ca"), authority("server")
DATA = {
    "client-ca-file": CLIENT_CA.pem,
    "requestheader-client-ca-file": PROXY_CA.pem,
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
}
PROXY = PROXY_CA.issue("front-proxy-client")
ADMIN = CLIENT_CA.issue("kubernetes-admin", ["system:masters"])
FORGER = CLIENT_CA.issue("front-proxy-client")
PODS = f"{G2}/namespaces/default/pods/*/queue_depth"
AS_ADMIN = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}
NO_HEADERS: Mapping[str, str] = {}
HPA = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"


def wall_clock() -> Clock:
    return Clock(asyncio.get_running_loop().time(), datetime.now(UTC))


def usual_roles(spec: JsonObject) -> bool:
    """What a fresh cluster's roles allow of what is asked here."""
    path = spec.get("nonResourceAttributes", {})
    if path.get("path") == "/version" and path["verb"] == "get":
        return True
    if path.get("path", "").startswith("/apis") and path["verb"] == "get":
        return "system:authenticated" in spec["groups"]
    group = spec.get("resourceAttributes", {}).get("group", "")
    metrics = group in {"custom.metrics.k8s.io", "external.metrics.k8s.io"}
    return metrics and spec["resourceAttributes"]["verb"] in {"get", "list"} and spec["user"] == HPA


class Api:
    """An adapter behind TLS that asks for client certificates, and the cluster that decides."""

    def __init__(self, port: int, cluster: FakeCluster, access: ClusterAccess, server: StatusServer) -> None:
        self.port = port
        self.cluster = cluster
        self.access = access
        self.server = server

    async def ask(
        self, target: str, method: str = "GET", *, by: Issued | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> tuple[int, Any, CIMultiDictProxy[str]]:
        context = await asyncio.to_thread(_client_context, by)
        url = URL(f"https://127.0.0.1:{self.port}{target}", encoded=True)
        async with (
            ClientSession(connector=TCPConnector(ssl=context)) as session,
            session.request(method, url, headers=headers) as response,
        ):
            body = await response.read()
            json = response.headers.get("Content-Type") == "application/json"
            return response.status, orjson.loads(body) if json else body, response.headers


def _client_context(by: Issued | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=SERVER_CA.pem)
    context.check_hostname = False
    if by is not None:
        by.load_into(context)
    return context


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    SERVER_CA.issue("adapter", usage=SERVER).load_into(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


@asynccontextmanager
async def running(
    cluster: FakeCluster | None = None, until: Callable[[FakeCluster], bool] = lambda cluster: bool(cluster.watches)
) -> AsyncGenerator[Api]:
    """An adapter that read the ConfigMap, or whatever `until` waits for."""
    if cluster is None:
        cluster = FakeCluster(DATA)
        cluster.allows = usual_roles
    context = await asyncio.to_thread(_server_context)

    def use(trust: Trust) -> None:
        context.load_verify_locations(cadata=trust.ca_pem)

    async with AsyncExitStack() as stack:
        access = await stack.enter_async_context(cluster_access(cluster, use, wall_clock, random.Random(1)))
        responder = Responder(golden_world(), constant_documents(["queue_depth"], "1.0.0"))
        app = AdapterApp(responder, OwnMetrics(()), wall_clock, AdapterStats(), access=access)
        server = app.server()
        runner = web.ServerRunner(server, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        await eventually(lambda: until(cluster))
        yield Api(runner.addresses[0][1], cluster, access, server)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0)


IDENTITIES = {
    "no certificate": None,
    "client certificate, organisation system:masters, signed by the cluster CA": ADMIN,
    "client certificate of system:kube-scheduler, signed by the cluster CA": CLIENT_CA.issue("system:kube-scheduler"),
    "certificate of the front proxy, signed by the requestheader CA": PROXY,
    "token of a ServiceAccount with cluster-admin": None,
}
RECORDED = [
    pytest.param(case, id=case["name"])
    for case in vectors("metrics_api_golden.json")["cases"]
    if case["status"] in {401, 403, 405} or not case["identity"].startswith("client certificate, organisation")
]


@pytest.mark.parametrize("case", RECORDED)
async def test_recorded_identities_are_answered_alike(case: dict[str, Any]) -> None:
    cluster = FakeCluster(DATA)
    cluster.allows = usual_roles
    cluster.users["TOKEN"] = {"username": "sa", "groups": ["system:masters"]}
    async with running(cluster) as api:
        by = IDENTITIES[case["identity"]]
        status, body, headers = await api.ask(case["path"], case["method"], by=by, headers=case["headers"])
    assert status == case["status"]
    if status in {401, 403} and "json" in case:
        assert body == case["json"]
    if status == 403:
        assert headers["X-Content-Type-Options"] == case["response_headers"]["x-content-type-options"]
        assert headers["Content-Type"] == "application/json"


async def test_the_hpa_s_questions_pass_by_the_roles_it_has() -> None:
    async with running() as api:
        identity = {"X-Remote-User": HPA, "X-Remote-Group": "system:serviceaccounts"}
        assert (await api.ask(PODS, by=PROXY, headers=identity))[0] == 200
        assert (await api.ask(f"{E1}/namespaces/default/queue_depth_external", by=PROXY, headers=identity))[0] == 200
        assert (await api.ask(PODS, "POST", by=PROXY, headers=identity))[0] == 403
        assert (await api.ask("/apis", by=PROXY, headers={"X-Remote-User": "system:kube-aggregator"}))[0] == 200


@pytest.mark.parametrize(
    ("certificate", "headers", "kept"),
    [
        (PROXY, AS_ADMIN, "proven"),
        (ADMIN, {}, "proven"),
        (FORGER, AS_ADMIN, "unproven"),
        (None, {"Authorization": "Bearer good"}, "unproven"),
    ],
    ids=["front proxy", "client", "forger", "token"],
)
async def test_connections_whose_certificate_was_believed_give_no_way(
    certificate: Issued | None, headers: dict[str, str], kept: str
) -> None:
    """Tokens are what any pod has; certificates are the API server's and administrators'."""
    cluster = FakeCluster(DATA)
    cluster.allows = usual_roles
    cluster.users["good"] = {"username": "sa", "groups": ["system:masters"]}
    async with running(cluster) as api:
        context = await asyncio.to_thread(_client_context, certificate)
        async with ClientSession(connector=TCPConnector(ssl=context)) as session:
            url = URL(f"https://127.0.0.1:{api.port}/apis")
            async with session.get(url, headers=headers) as response:
                await response.read()
            assert api.server.limited.counts == {"proven": 0, "unproven": 0} | {kept: 1}


@pytest.mark.parametrize(
    ("certificate", "headers", "status"),
    [
        (PROXY, AS_ADMIN, 200),
        (ADMIN, {}, 200),
        (FORGER, AS_ADMIN, 401),
        (FORGER, {**AS_ADMIN, "Authorization": "Bearer good"}, 401),
        (ADMIN, AS_ADMIN, 401),
        (PROXY_CA.issue("other-name"), AS_ADMIN, 401),
        (FORGER, {}, 403),
        (None, AS_ADMIN, 403),
        (None, {"Authorization": "Bearer good"}, 200),
        (None, {"Authorization": "Bearer bad"}, 401),
    ],
    ids=[
        "front proxy",
        "client",
        "a client with the proxy's name and headers",
        "and with a token",
        "even an admin",
        "a proxy that is not allowed",
        "a client with the proxy's name",
        "headers without certificate",
        "token",
        "wrong token",
    ],
)
async def test_identities_are_proven_or_refused(
    certificate: Issued | None, headers: dict[str, str], status: int
) -> None:
    async with running() as api:
        api.cluster.users["good"] = {"username": "sa", "groups": ["system:masters"]}
        code, body, _ = await api.ask(PODS, by=certificate, headers=headers)
    assert code == status
    if status == 401:
        unproven = {"message": "Unauthorized", "reason": "Unauthorized", "code": 401}
        assert body == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", **unproven}


async def test_an_expired_certificate_never_passes() -> None:
    """TLS itself ends the connection where it knows; what it lets through is 401."""
    async with running() as api:
        expired = PROXY_CA.issue("front-proxy-client", days=(-3, -1))
        with pytest.raises(ClientConnectionError):
            await api.ask(PODS, by=expired, headers=AS_ADMIN)
        assert (await api.ask(PODS, by=PROXY, headers=AS_ADMIN))[0] == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
async def test_health_is_answered_before_the_cluster_said_anything(path: str) -> None:
    cluster = FakeCluster(DATA)
    cluster.fails = [Unreachable("down")] * 1_000
    async with running(cluster, until=lambda cluster: bool(cluster.lists)) as api:
        assert (await api.ask(path))[:2] == (200, b"ok")
        assert (await api.ask(path, "POST"))[0] == 405
        assert (await api.ask(path, headers=AS_ADMIN))[0] == 200
        assert cluster.reviews == []


async def test_certificates_prove_something_as_soon_as_the_config_map_is_read() -> None:
    cluster = FakeCluster(None)
    cluster.allows = usual_roles
    async with running(cluster) as api:
        with pytest.raises(ClientConnectionError):
            await api.ask(PODS, by=PROXY, headers=AS_ADMIN)
        assert (await api.ask("/livez"))[0] == 200
        cluster.change(DATA)
        await eventually(lambda: api.access.trust() is not None)
        assert (await api.ask(PODS, by=PROXY, headers=AS_ADMIN))[0] == 200


async def test_a_rotation_of_the_proxy_s_ca_drops_nobody_and_then_the_old_one() -> None:
    new_ca = authority("front-proxy-ca-2")
    new = new_ca.issue("front-proxy-client")
    async with running() as api:
        both = {**DATA, "requestheader-client-ca-file": PROXY_CA.pem + new_ca.pem}
        for data, old_passes, new_passes in ((both, 200, 200), ({**DATA, **only(new_ca.pem)}, 401, 200)):
            before = api.access.trust()
            api.cluster.change(data)
            await eventually(lambda before=before: api.access.trust() != before)
            assert (await api.ask(PODS, by=PROXY, headers=AS_ADMIN))[0] == old_passes
            assert (await api.ask(PODS, by=new, headers=AS_ADMIN))[0] == new_passes
        api.cluster.change(None)
        api.cluster.end_watch(Unreachable("down"))
        assert (await api.ask(PODS, by=new, headers=AS_ADMIN))[0] == 200


def only(pem: str) -> dict[str, str]:
    return {"requestheader-client-ca-file": pem}


async def test_a_ca_of_the_cluster_may_be_an_intermediate_one() -> None:
    between = PROXY_CA.intermediate("between")
    leaf = between.issue("front-proxy-client")
    async with running() as api:
        before = api.access.trust()
        api.cluster.change({**DATA, **only(between.pem)})
        await eventually(lambda: api.access.trust() != before)
        assert (await api.ask(PODS, by=leaf, headers=AS_ADMIN))[0] == 200
        assert (await api.ask(PODS, by=PROXY, headers=AS_ADMIN))[0] == 401


@pytest.mark.parametrize(
    ("target", "method", "anonymous", "admin"),
    [
        ("/nope", "GET", 403, 404),
        (f"{G2}/namespaces/default/pods", "GET", 403, 400),
        (f"{PODS}?labelSelector=a%20in%20(", "GET", 403, 400),
        (f"{G2}/namespaces/default/pods/a%2Fb/queue_depth", "GET", 403, 404),
        (PODS, "DELETE", 403, 405),
        ("/livez/etcd", "GET", 403, 404),
    ],
)
async def test_nobody_learns_what_exists_without_a_right(target: str, method: str, anonymous: int, admin: int) -> None:
    async with running() as api:
        assert (await api.ask(target, method))[0] == anonymous
        assert (await api.ask(target, method, by=ADMIN))[0] == admin


async def test_a_cluster_that_cannot_be_asked_allows_nothing() -> None:
    async with running() as api:
        api.cluster.fails = [Unreachable("10.0.0.1 refused", retry_after_seconds=60.0)]
        async with asyncio.timeout(5):
            code, body, _ = await api.ask(PODS, by=PROXY, headers={"X-Remote-User": "bob"})
    assert (code, body["reason"]) == (500, "InternalError")
    assert "10.0.0.1" not in body["message"]


async def test_the_log_has_who_asked_for_what_and_no_header(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "adapter")
    hidden = {
        "X-Remote-Group": "secret-group",
        "X-Remote-Extra-Scope": "secret-scope",
        "Authorization": "Bearer secret",
    }
    async with running() as api:
        await api.ask(f"{PODS}?labelSelector=a%3Dsecret", by=PROXY, headers={**hidden, "X-Remote-User": HPA})
        await api.ask(PODS, by=PROXY, headers={**hidden, "X-Remote-User": "bob"})
        await api.ask("/secret", by=PROXY, headers={**hidden, "X-Remote-User": "bob"})
        await api.ask(PODS, by=FORGER, headers={**hidden, "X-Remote-User": "secret-user"})
        await api.ask(PODS, headers={"Authorization": "Bearer secret"})
    lines = [vars(each)["fields"] for each in caplog.records if each.getMessage() == "request"]
    pods = {"verb": "get", "resource": "pods.custom.metrics.k8s.io"}
    assert lines == [
        {"user": HPA, **pods, "code": 404},
        {"user": "bob", **pods, "code": 403},
        {"user": "bob", "verb": "get", "resource": "other", "code": 403},
        {"user": None, **pods, "code": 401},
        {"user": None, **pods, "code": 401},
    ]
    assert "secret" not in caplog.text
    assert not any("secret" in str(vars(each)) for each in caplog.records)
    refused = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert refused == [
        "requests are refused as unauthorized: identity headers came, but the client certificate is expired, not for "
        "clients, or not signed by the CA that counts here",
        "requests are refused as unauthorized: the bearer token is not valid",
    ]
