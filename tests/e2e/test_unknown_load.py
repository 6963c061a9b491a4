"""Pools whose servers publish no metrics, speak HTTP/2 alone, or are closed to scrapes, behind a real Envoy."""

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute, RoundRobinRoute, bootstrap
from infscale.envoy.process import running_document
from infscale.serving.composition import Serving, serving
from infscale.sim.http.simulated_servers import SimFleet
from tests.cli.test_reference_line import kubeconfig as kubeconfig_of
from tests.cli.test_reference_line import running as reference_line
from tests.e2e.gateway import POOL, serve_config
from tests.fakes.cluster import FakeCluster as FakeReviews
from tests.kube import cluster_objects as made
from tests.kube.api_server import serving as api_server
from tests.kube.fake_cluster import FakeCluster
from tests.sim.simulated import MODEL, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}
PICK = "infscale_picker_unknown_load_picks_total"
UNKNOWN = 'infscale_pool_unknown_load{pool="default/default"}'


@contextlib.asynccontextmanager
async def plain_servers(count: int, hosts: Sequence[str] = ()) -> AsyncGenerator[list[int]]:
    """HTTP servers that know nothing of metrics; yields their ports, which are one where `hosts` are given."""

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/metrics"):
            return web.Response(status=404)
        assert request.transport is not None
        host, port = request.transport.get_extra_info("sockname")
        return web.json_response({"served": host if hosts else port})

    async with contextlib.AsyncExitStack() as stack:
        ports: list[int] = []
        for number in range(count):
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", answer)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            host = hosts[number] if hosts else "127.0.0.1"
            await web.TCPSite(runner, host, ports[0] if hosts and ports else 0).start()
            ports.append(runner.addresses[0][1])
        yield ports


def discovery(ports: Sequence[int], *, h2c: bool = False, metrics_port: int | None = None) -> dict[str, Any]:
    elsewhere = {} if metrics_port is None else {"metricsPort": metrics_port}
    endpoints = [
        {"name": f"server-{number}", "address": "127.0.0.1", "port": port, "labels": {"app": "llm"}, **elsewhere}
        for number, port in enumerate(ports)
    ]
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": "llm"}}, "targetPorts": [{"number": 8000}]}
    pool = {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": "default"},
        "spec": spec | ({"appProtocol": "kubernetes.io/h2c"} if h2c else {}),
    }
    return {"endpoints": endpoints, "objects": [pool]}


@dataclass(frozen=True)
class Front:
    """An Envoy in front of a picker; `serving` where that runs in this process."""

    session: aiohttp.ClientSession
    url: str
    telemetry: str
    serving: Serving | None = None

    async def ask(self, number: int, headers: Mapping[str, str] | None = None) -> aiohttp.ClientResponse:
        body = {"model": MODEL, "prompt": f"{number} " * 300, "max_tokens": 2}
        async with self.session.post(f"{self.url}/v1/completions", json=body, headers=headers) as response:
            await response.read()
            return response

    async def metrics(self) -> str:
        async with self.session.get(f"{self.telemetry}/metrics") as response:
            return await response.text()

    async def metric(self, name: str) -> float:
        values = [line.rpartition(" ")[2] for line in (await self.metrics()).splitlines() if line.startswith(name)]
        return sum(map(float, values))


@contextlib.asynccontextmanager
async def envoy(
    picker: int, members: Sequence[Address], *, h2c: bool = False
) -> AsyncGenerator[tuple[aiohttp.ClientSession, str]]:
    listen, admin = (Address("127.0.0.1", port) for port in free_ports(2))
    route = PickerRoute(listen, Address("127.0.0.1", picker), tuple(members), trusted_headers=(HEADER,))
    document: Any = bootstrap(admin, [route])
    if h2c:
        document["static_resources"]["clusters"][0]["typed_extension_protocol_options"] = HTTP2
    async with running_document(admin, document), aiohttp.ClientSession() as session:
        yield session, f"http://{listen}"


@contextlib.asynccontextmanager
async def front(
    folder: Path, ports: Sequence[int], found: Mapping[str, Any], *, h2c: bool = False, **picker: object
) -> AsyncGenerator[Front]:
    config = await asyncio.to_thread(serve_config, folder, found, **picker)
    async with serving(config) as running:
        assert running.transport is not None
        members = [Address("127.0.0.1", port) for port in ports]
        async with envoy(running.transport.port, members, h2c=h2c) as (session, url):
            snapshot = running.store.snapshot(POOL)
            while snapshot is None or not snapshot.columns.settled.all():
                await asyncio.sleep(0.05)
                snapshot = running.store.snapshot(POOL)
            yield Front(session, url, running.telemetry.url, running)


@contextlib.asynccontextmanager
async def h2c_doors(ports: Sequence[int]) -> AsyncGenerator[list[int]]:
    """A door of HTTP/2 alone to each server: an Envoy that takes nothing else."""
    doors = free_ports(len(ports) + 1)
    admin = Address("127.0.0.1", doors.pop())
    routes = [
        RoundRobinRoute(Address("127.0.0.1", door), (Address("127.0.0.1", port),))
        for door, port in zip(doors, ports, strict=True)
    ]
    document: Any = bootstrap(admin, routes)
    for listener in document["static_resources"]["listeners"]:
        listener["filter_chains"][0]["filters"][0]["typed_config"]["codec_type"] = "HTTP2"
    async with running_document(admin, document):
        yield doors


async def test_servers_without_metrics_answer_and_share_the_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with plain_servers(3) as ports, front(tmp_path, ports, discovery(ports)) as shown:
            answers = [await shown.ask(number) for number in range(30)]
            assert {each.status for each in answers} == {200}
            served = Counter([(await each.json())["served"] for each in answers])
            assert set(served) == set(ports)
            assert await shown.metric(PICK) == 30
            assert await shown.metric(UNKNOWN) == 1
            async with asyncio.timeout(10):
                while "the load of no ready endpoint of pool default/default is known" not in caplog.text:
                    await asyncio.sleep(0.1)
            assert shown.serving is not None
            snapshot = shown.serving.store.snapshot(POOL)
            assert snapshot is not None
            while snapshot.in_flight_requests.any():
                await asyncio.sleep(0.02)
                snapshot = shown.serving.store.snapshot(POOL)
                assert snapshot is not None


async def test_under_refuse_they_are_told_why(tmp_path: Path) -> None:
    async with plain_servers(2) as ports, front(tmp_path, ports, discovery(ports), unknown_load="refuse") as shown:
        answer = await shown.ask(1)
        assert answer.status == 503
        message = (await answer.json())["error"]["message"]
        assert "none of 2 ready endpoints has reported its load within 1 s" in message
        elsewhere = "at /prometheus/metrics, where trtllm-serve has them: HTTP 404"
        assert message.endswith(f"(none has reported yet; scraping failed: HTTP 404; {elsewhere})")
        assert await shown.metric(PICK) == 0
        async with shown.session.get(f"{shown.url}/v1/models") as response:
            assert response.status == 200


@pytest.mark.parametrize("unknown_load", ["serve", "refuse"])
async def test_a_blocked_scrape_port_does_not_close_the_servers(tmp_path: Path, unknown_load: str) -> None:
    settings = [quick_settings(f"sim-{number}") for number in range(2)]
    async with SimFleet(settings, random.Random(7), lambda: 1.8e9) as fleet:
        ports = [server.port for server in fleet.servers]
        found = discovery(ports, metrics_port=1)
        async with front(tmp_path, ports, found, unknown_load=unknown_load) as shown:
            answers = [await shown.ask(number) for number in range(10)]
            if unknown_load == "refuse":
                assert {each.status for each in answers} == {503}
                assert "scraping failed: connection refused" in await answers[0].text()
            else:
                assert {each.status for each in answers} == {200}
                assert {each.headers["x-inference-pod"] for each in answers} == {"sim-0", "sim-1"}


@pytest.mark.parametrize("said", [True, False], ids=["said by the pool", "not said"])
async def test_servers_behind_h2c_ports_answer_and_are_scraped_where_the_pool_says_so(
    tmp_path: Path, said: bool
) -> None:
    settings = [quick_settings(f"sim-{number}") for number in range(2)]
    async with (
        SimFleet(settings, random.Random(7), lambda: 1.8e9) as fleet,
        h2c_doors([server.port for server in fleet.servers]) as doors,
        front(tmp_path, doors, discovery(doors, h2c=said), h2c=True) as shown,
    ):
        assert shown.serving is not None
        snapshot = shown.serving.store.snapshot(POOL)
        assert snapshot is not None
        eligible = int(snapshot.eligible(asyncio.get_running_loop().time()).sum())
        assert eligible == (2 if said else 0)
        answers = [await shown.ask(number) for number in range(10)]
        assert {each.status for each in answers} == {200}
        assert {each.headers["x-inference-pod"] for each in answers} == {"sim-0", "sim-1"}
        assert await shown.metric(PICK) == (0 if said else 10)
        failure = snapshot.columns.failures[0]
        assert (failure is None) == said


async def test_under_refuse_who_asks_h2c_servers_in_http_1_is_told_why(tmp_path: Path) -> None:
    async with (
        plain_servers(1) as ports,
        h2c_doors(ports) as doors,
        front(tmp_path, doors, discovery(doors), h2c=True, unknown_load="refuse") as shown,
    ):
        answer = await shown.ask(1)
        assert answer.status == 503
        assert "(none has reported yet; scraping failed: " in await answer.text()


@pytest.mark.parametrize("conformance", [True, False], ids=["conformance", "by default"])
async def test_the_reference_s_command_line_without_a_configuration_serves_such_a_pool(
    tmp_path: Path, conformance: bool
) -> None:
    """As gateways' conformance tests start it: with its own arguments, and servers that publish no metrics."""
    hosts = [f"127.0.2.{number}" for number in range(1, 4)]
    cluster = FakeCluster()
    async with plain_servers(3, hosts) as ports, api_server(cluster, FakeReviews()) as url:
        pool = made.pool("chat", ports[0], app="llm", namespace="default")
        await cluster.apply("inference.networking.k8s.io", "inferencepools", pool)
        for host in hosts:
            item = made.pod(f"pod-{host[-1]}", host, labels={"app": "llm"}, namespace="default")
            await cluster.apply("", "pods", item)
        kubeconfig = await asyncio.to_thread(kubeconfig_of, tmp_path, url)
        arguments = ["--pool-name=chat", "--pool-namespace=default", f"--kubeconfig={kubeconfig}"]
        arguments += ["--secure-serving=false", "--metrics-endpoint-auth=false", "--zap-encoder=json"]
        arguments += ["--conformance"] if conformance else []
        members = [Address(host, ports[0]) for host in hosts]
        async with reference_line(*arguments) as line, envoy(line.grpc, members) as (session, address):
            front = Front(session, address, f"http://127.0.0.1:{line.metrics}")
            everywhere: set[str] = set()
            for chosen in (hosts[:1], hosts[1:], hosts):
                answers = [await front.ask(n, {HEADER: ",".join(chosen)}) for n in range(30)]
                assert {each.status for each in answers} == {200}
                served = {(await each.json())["served"] for each in answers}
                everywhere |= served
                said = {each.headers.get(SERVED) for each in answers}
                if conformance:
                    assert served <= set(chosen)
                    assert said == {f"{host}:{ports[0]}" for host in served}
                else:
                    assert said == {None}
            assert everywhere == set(hosts)
            assert await front.metric(PICK) == 90


HEADER = "test-epp-endpoint-selection"
SERVED = "x-conformance-test-served-endpoint"
