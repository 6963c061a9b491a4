"""A whole installation under load that a real Prometheus scrapes: what boards are looked at with.

Two pools of simulated servers on addresses of their own, an API server in memory that knows their pods, a process of
`infscale serve`, Envoy in front, a GPU page for each server, a node agent without GPUs, servers' gRPC health, requests
that surge, autoscalers that ask the adapter, and KEDA. infscale asks that Prometheus for a query and a rule's series.
"""

import asyncio
import contextlib
import functools
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.node_agent.agent import NodeView
from infscale.node_agent.page import NodeAgentCollector
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.engine.steps import EngineSettings
from infscale.sim.http.simulated_servers import SimFleet, SimServerSettings
from infscale.sim.settings import Fault, FaultKind
from infscale.telemetry.own_metrics import OwnMetrics
from lab.load import load_on
from lab.processes import running
from lab.system import POOL_HEADER
from picker.epp_config.presets import PRESETS
from tests.cli.test_reference_line import kubeconfig
from tests.dashboards.autoscalers import Autoscaler, followed, told
from tests.dashboards.keda_polls import polled
from tests.e2e.programs import program
from tests.fakes.cluster import FakeCluster as FakeReviews
from tests.kube import cluster_objects as made
from tests.kube.api_server import serving as api_server
from tests.kube.fake_cluster import FakeCluster
from tests.picker.transport.test_transports import certificate
from tests.sources.health_server import SERVING, real_health

NAMESPACE = "chat"
RULES = Path(__file__).parents[2] / "dashboards" / "rules" / "infscale.yaml"
_TOKEN = "autoscaler"
_HOST = "127.0.0.1"
_SERVICE = {"namespace": "infscale-system", "name": "infscale-adapter"}
_API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices/"
_SURGE_SECONDS, _CALM_SECONDS = 12.0, 8.0
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Served:
    """A pool: its servers, requests that each runs at once, its KV-cache blocks, and what is asked of them.

    That is requests per second, in calm and in surges, and the tokens of each answer.
    """

    name: str
    coefficients: str
    servers: int
    batch: int
    blocks: int
    calm: float
    surge: float
    tokens: int

    @property
    def model(self) -> str:
        """The model that its servers serve."""
        return coefficient_set(self.coefficients).model

    @property
    def pods(self) -> tuple[str, ...]:
        """The names of its pods."""
        return tuple(f"{self.name}-{number}" for number in range(self.servers))

    def settings(self, port: int, place: int) -> list[SimServerSettings]:
        """Its servers, each on an address of its own."""
        chosen = coefficient_set(self.coefficients)
        engine = EngineSettings(num_blocks=self.blocks, block_size=chosen.block_size, max_num_seqs=self.batch)
        return [
            SimServerSettings(
                name,
                chosen,
                engine,
                namespace=NAMESPACE,
                address=f"127.0.77.{16 * place + number}",
                port=port,
                dcgm_port=0,
            )
            for number, name in enumerate(self.pods, 1)
        ]


POOLS = (
    Served("chat", "llama-3.1-8b-h100", 3, 3, 80, 4.0, 21.0, 60),
    Served("code", "llama-2-7b-a100", 2, 2, 40, 1.0, 9.0, 30),
)
IDLE = "idle"
"""A pool without servers, for which requests come."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What runs: the URL of Prometheus, of infscale's telemetry and of the gateway, and the servers."""

    prometheus: str
    telemetry: str
    gateway: str
    fleet: SimFleet
    session: aiohttp.ClientSession

    async def under_load(self, seconds: float) -> float:
        """Send requests that surge, with some that fail, for `seconds`; gives the Unix time at which that was over."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with contextlib.AsyncExitStack() as stack:
            loads = [
                (
                    await stack.enter_async_context(
                        load_on(self.gateway, f"{NAMESPACE}/{each.name}", each.model, each.tokens)
                    ),
                    each,
                )
                for each in POOLS
            ]
            await self._faulty()
            while (elapsed := loop.time() - started) < seconds:
                for place, (load, pool) in enumerate(loads):
                    phase = (elapsed + _CALM_SECONDS * place) % (_SURGE_SECONDS + _CALM_SECONDS)
                    load.rate = pool.surge if phase < _SURGE_SECONDS else pool.calm
                await self._bad_requests()
                await asyncio.sleep(0.5)
            over = datetime.now(UTC).timestamp()
            for load, _ in loads:
                load.rate = 0.0
        return over

    async def _faulty(self) -> None:
        """One server answers some requests with an error, another is not reached for a while."""
        erring, gone = self.fleet.find(POOLS[0].pods[0]), self.fleet.find(POOLS[1].pods[0])
        assert erring is not None
        assert gone is not None
        await erring.inject(Fault(FaultKind.ERROR, ratio=0.2))
        await gone.inject(Fault(FaultKind.REFUSE, seconds=4.0))

    async def _bad_requests(self) -> None:
        """One that cannot be read, one for a pool without servers, one whose client does not wait for the answer."""
        pool = POOLS[0]
        headers = {POOL_HEADER: f"{NAMESPACE}/{pool.name}"}
        url = f"{self.gateway}/v1/completions"
        async with self.session.post(url, data=b"{", headers=headers) as response:
            assert response.status == 400
        idle = {POOL_HEADER: f"{NAMESPACE}/{IDLE}"}
        async with self.session.post(url, json={"model": pool.model, "prompt": "anyone"}, headers=idle) as response:
            assert response.status == 503
        body = {"model": pool.model, "prompt": "wait", "max_tokens": 200, "stream": True}
        limit = aiohttp.ClientTimeout(total=0.05)
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with self.session.post(url, json=body, headers=headers, timeout=limit) as response:
                await response.read()


@contextlib.asynccontextmanager
async def scene(folder: Path) -> AsyncGenerator[Scene]:
    """Everything, until the block ends; it begins when Prometheus has scraped infscale and all servers are known."""
    picker, adapter, telemetry, keda, gateway, admin, prometheus, *ports = free_ports(7 + len(POOLS))
    settings = [
        each for place, (pool, port) in enumerate(zip(POOLS, ports, strict=True)) for each in pool.settings(port, place)
    ]
    autoscalers = [Autoscaler(NAMESPACE, pool.name, pool.pods) for pool in POOLS]
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        fleet = await enter(SimFleet(settings, random.Random(7), lambda: datetime.now(UTC).timestamp()))
        api = await enter(api_server(await _cluster(settings), _reviews()))
        agent = await enter(_page(_node_agent))
        # On all addresses of loopback: those of the servers.
        health, _ = await enter(real_health({"": SERVING}, host="0.0.0.0"))
        beside = _beside(folder, agent, health, keda, prometheus)
        config = _serve_config(folder, api, (picker, adapter, telemetry), fleet, beside)
        served = await enter(program(folder / "serve.log", "serve", "--config", str(config)))
        await served.until_it_says("composition: serving")
        listen = Address(_HOST, gateway)
        route = PickerRoute(listen, Address(_HOST, picker), None, trusted_headers=(POOL_HEADER,))
        await enter(running_envoy(Address(_HOST, admin), [route]))
        states = await enter(_page(functools.partial(told, autoscalers)))
        await enter(running("prometheus", _prometheus(folder, prometheus, telemetry, states), folder))
        tasks = await enter(asyncio.TaskGroup())
        ca = (folder / "tls.crt").read_text()
        asking = tasks.create_task(followed(autoscalers, f"https://localhost:{adapter}", ca, _TOKEN))
        stack.callback(asking.cancel)
        polling = tasks.create_task(polled(keda, NAMESPACE, [each.name for each in POOLS]))
        stack.callback(polling.cancel)
        session = await enter(aiohttp.ClientSession())
        found = Scene(f"http://{_HOST}:{prometheus}", f"http://{_HOST}:{telemetry}", f"http://{listen}", fleet, session)
        await _until_known(found, len(settings))
        yield found


class _Cluster(FakeCluster):
    """One whose metrics APIs infscale has."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        if not path.startswith(_API_SERVICES):
            return await super().get(path, params)
        return {
            "metadata": {"name": path.removeprefix(_API_SERVICES)},
            "spec": {"service": _SERVICE, "versionPriority": 100},
            "status": {"conditions": [{"type": "Available", "status": "True"}]},
        }


async def _cluster(settings: Sequence[SimServerSettings]) -> FakeCluster:
    """The API server's objects: pools and their pods."""
    cluster = _Cluster()
    await _pool(cluster, IDLE, 8000)
    for name, port in {each.name.rpartition("-")[0]: each.port for each in settings}.items():
        await _pool(cluster, name, port)
    ready = datetime.now(UTC) - timedelta(hours=1)
    for each in settings:
        pool = each.name.rpartition("-")[0]
        started = ready - timedelta(seconds=each.coefficients.load_seconds)
        container = made.container("vllm", each.port)
        await cluster.apply(
            "",
            "pods",
            made.pod(
                each.name,
                each.address,
                labels={"app": pool},
                ready_at=f"{ready:%Y-%m-%dT%H:%M:%SZ}",
                containers=[container],
                statuses=[made.started("vllm", f"{started:%Y-%m-%dT%H:%M:%SZ}")],
            ),
        )
    return cluster


async def _pool(cluster: FakeCluster, name: str, port: int) -> None:
    pool = made.pool(name, port, app=name, namespace=NAMESPACE)
    await cluster.apply("inference.networking.k8s.io", "inferencepools", pool)


def _reviews() -> FakeReviews:
    reviews = FakeReviews()
    reviews.users = {_TOKEN: {"username": "system:serviceaccount:kube-system:horizontal-pod-autoscaler"}}
    reviews.allows = lambda spec: True
    return reviews


_RULE = {
    "seriesQuery": 'infscale_pool_ready_endpoints{namespace!=""}',
    "resources": {"overrides": {"namespace": {"resource": "namespace"}}},
    "metricsQuery": "max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
}


async def _node_agent(_: web.BaseRequest) -> web.Response:
    """The page of a node agent of a node without GPUs."""
    page = await OwnMetrics([NodeAgentCollector(NodeView)]).written()
    return web.Response(body=page, content_type="text/plain")


def _beside(folder: Path, agent: str, health: int, keda: int, prometheus: int) -> dict[str, Any]:
    """The sections of what is beside engines' pages, HPAs and requests."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"rules": [_RULE]}))
    ready = {
        "name": "ready_servers",
        "query": 'max(infscale_pool_ready_endpoints{pool="${namespace}/${pool}"})',
        "interval_seconds": 1,
    }
    return {
        "node_agent": {"targets": [f"http://{agent}/metrics"], "interval_seconds": 1},
        "grpc_health": {"port": health, "interval_seconds": 1, "timeout_seconds": 0.8},
        "keda": {"listen": f"{_HOST}:{keda}"},
        "prometheus": {
            "servers": {"main": {"url": f"http://{_HOST}:{prometheus}"}},
            "queries": [ready],
            "adapter_rules": {"file": "rules.yaml", "relist_seconds": 1, "interval_seconds": 1},
        },
    }


def _serve_config(
    folder: Path, api: str, ports: tuple[int, int, int], fleet: SimFleet, beside: Mapping[str, Any]
) -> Path:
    picker, adapter, telemetry = ports
    files = certificate(folder)
    (folder / "epp.yaml").write_text(PRESETS["infscale"])
    document: dict[str, Any] = {
        "kubernetes": {"kubeconfig": kubeconfig(folder, api)},
        "discovery": {"kubernetes": {"namespaces": [NAMESPACE], "write_status": False}},
        "dcgm": {
            "targets": [f"http://{each.settings.address}:{each.dcgm_port}/metrics" for each in fleet.servers],
            "interval_seconds": 1,
        },
        "pools": {f"{NAMESPACE}/{each.name}": {"window_seconds": 10} for each in POOLS},
        "picker": {
            "listen": f"{_HOST}:{picker}",
            "trusted_headers": [POOL_HEADER],
            "config_file": "epp.yaml",
            "flow_control": {"enabled": True, "no_endpoint_seconds": 0.2},
        },
        "adapter": {
            "listen": f"{_HOST}:{adapter}",
            "service": f"{_SERVICE['namespace']}/{_SERVICE['name']}",
            "tls": {"certificate": str(files.certificate), "key": str(files.key)},
        },
        "telemetry": {"listen": f"{_HOST}:{telemetry}", "reference_names": True},
        **beside,
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@contextlib.asynccontextmanager
async def _page(answer: Any) -> AsyncGenerator[str]:
    """A page on loopback; its address."""
    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, 0).start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


def _prometheus(folder: Path, port: int, telemetry: int, states: str) -> list[str]:
    jobs = {"infscale": f"{_HOST}:{telemetry}", "kube-state-metrics": states}
    # As the Prometheus Operator adds them; infscale's own labels of these names count (docs/dashboards.md).
    added = {"namespace": "monitoring", "endpoint": "metrics", "pod": "somewhere"}
    document = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": name, "honor_labels": True, "static_configs": [{"targets": [target], "labels": added}]}
            for name, target in jobs.items()
        ],
    }
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump(document))
    return [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={_HOST}:{port}",
        "--log.level=warn",
    ]


async def _until_known(found: Scene, endpoints: int) -> None:
    """Wait until Prometheus knows of all endpoints; the test's timeout is the limit."""
    all_known = f"sum(infscale_pool_fresh_endpoints) == {endpoints}"
    question = {"query": f"{all_known} and on() kube_horizontalpodautoscaler_status_desired_replicas"}
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            async with found.session.get(f"{found.prometheus}/api/v1/query", params=question) as response:
                result = (await response.json())["data"]["result"] if response.status == 200 else []
            if result:
                return
        await asyncio.sleep(_PAUSE_SECONDS)
