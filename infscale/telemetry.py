"""infscale's own `/metrics` and `/debug/snapshot`.

The collectors read snapshots when they are asked; nothing is counted twice and nothing unknown is exported as 0.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from infscale.endpoint import authority, is_loopback
from infscale.errors import StartError
from infscale.listening import EVERY_ADDRESS, every_address
from infscale.metrics.answers import group_reading, models
from infscale.metrics.inspection import snapshot_document
from infscale.metrics.published import PUBLISHED, PublishedMetric
from infscale.metrics.sample import Reading
from infscale.metrics.snapshot import PoolSnapshot
from infscale.periodic import ScrapeHealth

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Snapshots(Protocol):
    """Who has the pools."""

    def snapshots(self) -> tuple[PoolSnapshot, ...]:
        """The current view of every pool."""
        ...


class Guard(Protocol):
    """Who may read ``/metrics``."""

    async def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """The answer to somebody who may not; None: the request may be answered."""
        ...


@dataclass(frozen=True, slots=True)
class TelemetryListen:
    """Where telemetry listens (port 0: any free one), and who guards ``/metrics``; None: everybody who can connect."""

    host: str
    port: int
    guard: Guard | None = None


class StoreCollector(Collector):
    """The store as Prometheus metrics: pools by `metrics`, endpoints with ages, revisions."""

    def __init__(
        self, store: Snapshots, clock: Callable[[], float], metrics: Iterable[PublishedMetric] = PUBLISHED
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = tuple(metrics)

    def collect(self) -> Iterator[Metric]:
        """Every family, from one snapshot per pool."""
        now, snapshots = self._clock(), self._store.snapshots()
        yield from _pools(self._metrics, snapshots, now)
        yield from _endpoints(snapshots, now)


def _pools(metrics: tuple[PublishedMetric, ...], snapshots: tuple[PoolSnapshot, ...], now: float) -> Iterator[Metric]:
    for metric in metrics:
        family = GaugeMetricFamily(f"infscale_pool_{metric.name}", metric.meaning, labels=["pool", "model"])
        for snapshot in snapshots:
            for model in models(metric, snapshot):
                reading = group_reading(metric, snapshot, now, model)
                if isinstance(reading, Reading):
                    family.add_metric([str(snapshot.pool), model or ""], reading.value)
        yield family
    counts: dict[str, tuple[str, Callable[[PoolSnapshot], float]]] = {
        "infscale_pool_endpoints": ("endpoints there are", lambda pool: float(len(pool))),
        "infscale_pool_ready_endpoints": ("endpoints that are ready", lambda pool: float(pool.columns.ready.sum())),
        "infscale_pool_fresh_endpoints": (
            "ready endpoints with a fresh observation",
            lambda pool: float((pool.columns.ready & pool.fresh(now)).sum()),
        ),
        "infscale_pool_saturated_endpoints": (
            "endpoints known to be saturated",
            lambda pool: float(pool.saturated(now).sum()),
        ),
        "infscale_store_revision": ("number of the store's current revision", lambda pool: float(pool.number)),
    }
    for name, (meaning, count) in counts.items():
        family = GaugeMetricFamily(name, meaning, labels=["pool"])
        for snapshot in snapshots:
            family.add_metric([str(snapshot.pool)], count(snapshot))
        yield family


def _endpoints(snapshots: tuple[PoolSnapshot, ...], now: float) -> Iterator[Metric]:
    columns = {
        "waiting_requests": "requests queued in the engine",
        "running_requests": "requests in the engine's running batch",
        "waiting_tokens": "prompt tokens of the queued requests",
        "kv_cache_utilization_ratio": "share of KV-cache blocks in use",
        "kv_cache_used_tokens": "tokens that the KV-cache blocks in use have room for",
        "in_flight_requests": "requests dispatched that have not ended",
        "in_flight_tokens": "work of those requests",
        "saturation_ratio": "share of capacity in use",
        "age_seconds": "age of the last observation",
        "gpu_memory_used_bytes": "GPU memory in use",
        "model_load_seconds": "time from the start of the container until the pod was Ready",
    }
    documents = [(str(snapshot.pool), snapshot_document(snapshot, now)["endpoints"]) for snapshot in snapshots]
    for column, meaning in columns.items():
        family = GaugeMetricFamily(f"infscale_endpoint_{column}", meaning, labels=["pool", "endpoint"])
        for pool, rows in documents:
            for row in rows if isinstance(rows, list) else []:
                value = row.get(column) if isinstance(row, dict) else None
                if isinstance(row, dict) and isinstance(value, float):
                    family.add_metric([pool, str(row["endpoint"])], value)
        yield family


class SourcesCollector(Collector):
    """How scraping and discovery go; targets are endpoints and the addresses of exporters.

    `disconnected_seconds` says how long each watch of a cluster has been without its API server.
    """

    def __init__(
        self,
        health: Callable[[], Mapping[str, ScrapeHealth]],
        refusals: Callable[[], int],
        disconnected_seconds: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._health = health
        self._refusals = refusals
        self._disconnected_seconds = disconnected_seconds

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        scrapes = CounterMetricFamily("infscale_scrapes", "scrapes begun", labels=["target"])
        failures = CounterMetricFamily("infscale_scrape_failures", "scrapes that gave nothing", labels=["target"])
        duration = GaugeMetricFamily("infscale_scrape_duration_seconds", "how long the last took", labels=["target"])
        size = GaugeMetricFamily("infscale_scrape_page_bytes", "size of the last page", labels=["target"])
        for target, health in self._health().items():
            scrapes.add_metric([target], health.scrapes)
            failures.add_metric([target], health.failures)
            if health.duration_seconds is not None:
                duration.add_metric([target], health.duration_seconds)
            if health.page_bytes is not None:
                size.add_metric([target], health.page_bytes)
        yield from (scrapes, failures, duration, size)
        yield CounterMetricFamily(
            "infscale_discovery_refusals",
            "versions of the discovery file, or of objects of the cluster, that were refused",
            self._refusals(),
        )
        disconnected = GaugeMetricFamily(
            "infscale_watch_disconnected_seconds", "how long a watch has been without its API server", labels=["watch"]
        )
        for watch, seconds in self._disconnected_seconds().items():
            disconnected.add_metric([watch], seconds)
        yield disconnected


def _application(
    store: Snapshots,
    collectors: Iterable[Collector],
    clock: Callable[[], float],
    metrics_of_pools: Iterable[PublishedMetric],
    listen: TelemetryListen,
) -> web.Application:
    registry = CollectorRegistry()
    for collector in (StoreCollector(store, clock, metrics_of_pools), *collectors):
        registry.register(collector)

    async def metrics(request: web.Request) -> web.Response:
        refusal = await listen.guard.refusal(request) if listen.guard is not None else None
        if refusal is not None:
            return refusal
        return web.Response(body=generate_latest(registry), headers={"Content-Type": _CONTENT_TYPE})

    async def debug_snapshot(_: web.Request) -> web.Response:
        now = clock()
        document = {"pools": [snapshot_document(snapshot, now) for snapshot in store.snapshots()]}
        body = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        return web.Response(body=body, content_type="application/json")

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    if is_loopback(listen.host):
        application.router.add_get("/debug/snapshot", debug_snapshot)
    application.router.add_get("/healthz", healthz)
    return application


class TelemetryServer:
    """Serves `/metrics`, `/debug/snapshot` and `/healthz`; port 0 takes a free one, read from `port`.

    Where other machines can connect there is no `/debug/snapshot`: it would tell anyone of every endpoint.
    `metrics` are those that pools have: the table of the configuration, formulas included.
    """

    def __init__(
        self,
        listen: TelemetryListen,
        store: Snapshots,
        collectors: Iterable[Collector],
        clock: Callable[[], float],
        metrics: Iterable[PublishedMetric] = PUBLISHED,
    ) -> None:
        self._host = listen.host
        self.port = listen.port
        application = _application(store, collectors, clock, metrics, listen)
        self._runner = web.AppRunner(application, access_log=None)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{authority(self._host, self.port)}"

    async def __aenter__(self) -> "TelemetryServer":
        await self._runner.setup()
        try:
            if self._host == EVERY_ADDRESS:
                site: web.BaseSite = web.SockSite(self._runner, every_address(self.port))
            else:
                site = web.TCPSite(self._runner, self._host, self.port)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise StartError(
                f"telemetry cannot listen on {self._host}:{self.port}: {error.strerror or error}; "
                "choose another port with telemetry.listen"
            ) from error
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
