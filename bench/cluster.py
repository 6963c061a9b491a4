"""The adapter on a real API server: 1,000 simulated pods, TLS, client certificates, 500 scrapes a second beside it."""

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.gateway import child, cpu_seconds
from bench.rows import Row, machine
from bench.tls_client import TlsClient, tls_client
from infscale.demo.child_processes import free_ports
from lab import documents
from lab.controlplane import ControlPlane
from lab.stack import cluster
from lab.system import Ports, configuration, infscale

NAMESPACE = "bench"
WORKLOAD = "servers"
MODEL = "Qwen/Qwen3-32B"
PODS = 1_000
INTERVAL_SECONDS = 2.0
QUIET_INTERVAL_SECONDS = 14.0
_SAMPLES = 300
_WARM_UP = 20
_PACE_SECONDS = 1 / 30
_BURST = 1_000
_ROUNDS = 5
_READY_SECONDS = 90.0
_BASELINE_SECONDS = 6.0

_CUSTOM = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{NAMESPACE}"
_EXTERNAL = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}"
_POOL = "inferencepools.inference.networking.k8s.io"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_HPA = (
    ("X-Remote-User", "system:serviceaccount:kube-system:horizontal-pod-autoscaler"),
    ("X-Remote-Group", "system:serviceaccounts"),
    ("X-Remote-Group", "system:serviceaccounts:kube-system"),
    ("X-Remote-Group", "system:authenticated"),
)


@dataclass(frozen=True, slots=True)
class _Query:
    """What is asked, and the most it may take: the median and the 99th percentile, milliseconds of time and of CPU."""

    name: str
    path: str
    p50: float | None = None
    p99: float | None = None
    cpu: float | None = None
    accept: str = "application/json"


_QUERIES = (
    _Query("1,000 pods", f"{_CUSTOM}/pods/*/waiting_requests", 4.0, 10.0, 4.0),
    _Query("1,000 pods, queue latency", f"{_CUSTOM}/pods/*/queue_latency_p90_seconds", 4.0, 10.0, 4.0),
    _Query("one pool of 1,000", f"{_CUSTOM}/{_POOL}/{WORKLOAD}/waiting_requests", 1.0, 3.0),
    _Query("one pool of 1,000, queue latency", f"{_CUSTOM}/{_POOL}/{WORKLOAD}/queue_latency_p90_seconds", 1.0, 3.0),
    _Query("one Deployment of 1,000", f"{_CUSTOM}/deployments.apps/{WORKLOAD}/waiting_requests", 1.0, 3.0),
    _Query("external", f"{_EXTERNAL}/waiting_requests", 1.0, 3.0),
    _Query("aggregated discovery", "/apis", p99=3.0, accept=_AGGREGATED),
    _Query("discovery of one version", "/apis/custom.metrics.k8s.io/v1beta2", p99=3.0),
    _Query("/livez", "/livez", p99=3.0),
)


@dataclass(frozen=True, slots=True)
class _Bed:
    """What is measured, and what runs beside it."""

    plane: ControlPlane
    folder: Path
    pages_port: int
    others: Mapping[str, int]
    """Names and process ids."""


async def cluster_rows() -> list[Row]:
    """Run everything, first with a few scrapes a second, then with 500 a second."""
    [pages_port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="infscale-bench-") as name:
        folder = Path(name)
        async with cluster(folder) as plane, child(str(pages_port), module="bench.page_server") as pages:
            assert pages.stdout is not None
            await pages.stdout.readline()
            others = {part: running.process.pid for part, running in plane.parts.items()} | {"pages": pages.pid}
            bed = _Bed(plane, folder, pages_port, others)
            await _fill(bed)
            quiet = await _measured(bed, QUIET_INTERVAL_SECONDS, in_full=False)
            return [*await _measured(bed, INTERVAL_SECONDS, in_full=True), *quiet]


async def _fill(bed: _Bed) -> None:
    """Have all pods ready."""
    deployment = documents.deployment(NAMESPACE, WORKLOAD, MODEL, PODS)
    pool = documents.pool(NAMESPACE, WORKLOAD)
    pool["spec"]["targetPorts"] = [{"number": bed.pages_port}]
    await bed.plane.apply(documents.new_namespace(NAMESPACE), deployment, pool)
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{WORKLOAD}"
    async with asyncio.timeout(_READY_SECONDS):
        while (await bed.plane.client.get(path)).get("status", {}).get("readyReplicas", 0) < PODS:  # noqa: ASYNC110 # elsewhere
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def _adapter(bed: _Bed, interval: float) -> AsyncGenerator[tuple[int, Ports]]:
    """Run infscale until all pods are fresh and then until the block ends; its process id and its ports."""
    ports = Ports.free()
    await bed.plane.apply(*documents.registration(ports.adapter))
    scrape = {
        "interval_seconds": interval,
        "timeout_seconds": 1.5,
        "staleness_limit_seconds": 2.5 * interval,
    }
    document = configuration(bed.plane, ports, NAMESPACE, scrape=scrape, log={"level": "warning"})
    async with infscale(bed.folder, ports, document) as running, aiohttp.ClientSession() as session:
        fresh = f'infscale_pool_fresh_endpoints{{pool="{NAMESPACE}/{WORKLOAD}"}} {PODS}.0'
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                async with session.get(f"http://127.0.0.1:{ports.telemetry}/metrics") as response:
                    if fresh in await response.text():
                        break
                await running.check()
                await asyncio.sleep(interval / 4)
        yield running.process.pid, ports


async def _pages(port: int) -> int:
    """How many pages were served so far."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/pages") as response:
        return int(await response.text())


async def _measured(bed: _Bed, interval: float, *, in_full: bool) -> list[Row]:
    async with _adapter(bed, interval) as (pid, ports):
        per_page, scrapes = await _scraping(bed, pid, told=in_full)
        certificates = bed.plane.certificates.folder
        place = f"https://{documents.ADAPTER_HOST}:{ports.adapter}"
        own = (certificates / "front-proxy.crt", certificates / "front-proxy.key")
        rows = [Row("scrapes beside the adapter's answers", scrapes, "1/s")] if in_full else []
        beside = f"adapter over TLS, {scrapes:.0f} scrapes/s"
        with tls_client(place, *own, _HPA) as client:
            best = await _in_rounds(bed, pid, client, (beside, per_page)) if in_full else {}
            for query in _QUERIES:
                rows += best.get(query.name, [])
                rows += _latency(
                    f"{beside}, 30 queries/s: {query.name}", await asyncio.to_thread(_paced, client, query)
                )
        if in_full:
            rows += await _around(bed, pid, ports)
        return rows


async def _scraping(bed: _Bed, pid: int, *, told: bool) -> tuple[float, float]:
    """CPU seconds that one scrape costs, and scrapes per second; tells what runs beside it."""
    processes = {**bed.others, "infscale": pid}
    before = {name: cpu_seconds(each) for name, each in processes.items()}
    pages, started = await _pages(bed.pages_port), time.monotonic()
    await asyncio.sleep(_BASELINE_SECONDS)
    lasted = time.monotonic() - started
    scraped = await _pages(bed.pages_port) - pages
    cores = {name: (cpu_seconds(each) - before[name]) / lasted for name, each in processes.items()}
    if told:
        shares = ", ".join(f"{name} {share:.2f}" for name, share in cores.items())
        print(f"Cores in use beside the queries: {shares}", file=sys.stderr)
    return cores["infscale"] * lasted / max(scraped, 1), scraped / lasted


def _paced(client: TlsClient, query: _Query) -> list[float]:
    """Milliseconds of each of many queries, a little apart as those of HPAs are."""
    times: list[float] = []
    for _ in range(_SAMPLES + _WARM_UP):
        started = time.perf_counter()
        _asked(client, query)
        taken = time.perf_counter() - started
        times.append(taken * 1e3)
        time.sleep(max(0.0, _PACE_SECONDS - taken))  # noqa: TID251 # a thread of its own, no loop
    return times[_WARM_UP:]


def _asked(client: TlsClient, query: _Query) -> None:
    answer = client.get(query.path, query.accept)
    if answer.code != 200:
        raise RuntimeError(f"{query.path}: {answer.code} {answer.body[:500]!r}")


def _latency(name: str, times: Sequence[float], p50: float | None = None, p99: float | None = None) -> list[Row]:
    percentiles = statistics.quantiles(times, n=100, method="inclusive")
    return [Row(f"{name}, p50", percentiles[49], "ms", p50), Row(f"{name}, p99", percentiles[98], "ms", p99)]


async def _in_rounds(bed: _Bed, pid: int, client: TlsClient, beside: tuple[str, float]) -> dict[str, list[Row]]:
    """The rows of each query, from the round in which the machine itself was quickest just before and after.

    A shared machine is twice as slow from one minute to the next, and a percentile of latency is that of its worst
    moment. The choice looks at the fixed piece of work alone, never at what was measured.
    """
    found: dict[str, tuple[float, list[Row]]] = {}
    for _ in range(_ROUNDS):
        for query in _QUERIES:
            before = machine().value
            rows = await _one_after_another(bed, pid, client, query, beside)
            meanwhile = max(before, machine().value)
            if query.name not in found or meanwhile < found[query.name][0]:
                told = Row(f"{beside[0]}: {query.name}, this machine meanwhile", meanwhile, "µs CPU")
                found[query.name] = meanwhile, [*rows, told]
    return {name: rows for name, (_, rows) in found.items()}


async def _one_after_another(
    bed: _Bed, pid: int, client: TlsClient, query: _Query, beside: tuple[str, float]
) -> list[Row]:
    """Latency and CPU of queries that follow each other at once; CPU is without that of the scrapes in the same time.

    What the processor forgets between queries that are far apart is not in these figures; it is in those beside them.
    """
    name, per_page = beside
    pages, before = await _pages(bed.pages_port), cpu_seconds(pid)
    times = await asyncio.to_thread(_burst, client, query)
    spent = cpu_seconds(pid) - before
    scraped = await _pages(bed.pages_port) - pages
    each = (spent - scraped * per_page) / len(times) * 1e3
    return [
        *_latency(f"{name}: {query.name}", times, query.p50, query.p99),
        Row(f"{name}: {query.name}, CPU", each, "ms CPU", query.cpu),
    ]


def _burst(client: TlsClient, query: _Query) -> list[float]:
    times: list[float] = []
    for _ in range(_BURST):
        started = time.perf_counter()
        _asked(client, query)
        times.append((time.perf_counter() - started) * 1e3)
    return times


async def _around(bed: _Bed, pid: int, ports: Ports) -> list[Row]:
    """The same query through the API server, which adds its own time; and what infscale's own metrics cost."""
    folder = bed.plane.certificates.folder
    query = _QUERIES[0]
    with tls_client(bed.plane.url, folder / "admin.crt", folder / "admin.key") as client:
        times = await asyncio.to_thread(_paced, client, query)
    rows = _latency(f"through the API server, 30 queries/s: {query.name}", times)
    async with aiohttp.ClientSession() as session:
        taken: list[float] = []
        for _ in range(10):
            started = time.perf_counter()
            async with session.get(f"http://127.0.0.1:{ports.telemetry}/metrics") as response:
                await response.read()
            taken.append((time.perf_counter() - started) * 1e3)
            await asyncio.sleep(0.2)
    return [*rows, Row("infscale's own /metrics of 1,000 endpoints", statistics.median(taken), "ms")]
