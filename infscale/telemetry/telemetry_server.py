"""infscale's own `/metrics`, the documents under `/debug/`, and the pages of them under `/ui`.

The collectors read snapshots when they are asked; nothing is counted twice and nothing unknown is exported as 0.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric, Sample
from prometheus_client.registry import Collector

from infscale.endpoint import Endpoint, ObjectKey, authority, is_loopback
from infscale.errors import StartError
from infscale.metrics.gauges import GAUGES
from infscale.metrics.published.answers import group_reading, models
from infscale.metrics.published.catalogue import BY_NAME, ENGINE, PUBLISHED, PublishedMetric
from infscale.metrics.published.column_readers import ColumnReader
from infscale.metrics.published.queue_readers import OfQueue
from infscale.metrics.published.step_readers import ModelError, PredictedFirstToken, PredictedOutputToken
from infscale.metrics.sample import FloatArray, Reading
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.process.listening import listening
from infscale.telemetry.debug_documents import (
    NO_SOURCES,
    DebugDocuments,
    DebugSources,
    command_route,
    debug_routes,
    for_this_machine,
    snapshot_page,
)
from infscale.telemetry.own_metrics import CONTENT_TYPE, OwnMetrics
from infscale.telemetry.ui_routes import ui_routes

Guard = Callable[[web.BaseRequest], Awaitable[web.Response | None]]
"""Decides whether a request may read ``/metrics``: gives its refusal; None: it may be answered."""


@dataclass(frozen=True, slots=True)
class TelemetryListen:
    """Where telemetry listens (port 0: any free one), and what guards ``/metrics``; None: any client may read."""

    host: str
    port: int
    guard: Guard | None = None


class StoreCollector(Collector):
    """The store as Prometheus metrics: pools by `metrics`, endpoints with ages, revisions."""

    def __init__(
        self, store: MetricStore, clock: Callable[[], float], metrics: Iterable[PublishedMetric] = PUBLISHED
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = tuple(metrics)
        self._named: dict[ObjectKey, tuple[Sequence[Endpoint], list[dict[str, str]]]] = {}

    def collect(self) -> Iterator[Metric]:
        """Every family, each from one snapshot per pool, of the moment at which it is asked for."""
        for metric in self._metrics:
            yield _pools(metric, self._store.snapshots(), self._clock())
        for name, (meaning, count) in _COUNTS.items():
            family = GaugeMetricFamily(name, meaning, labels=["pool"])
            for snapshot in self._store.snapshots():
                family.add_metric([str(snapshot.pool)], count(snapshot, self._clock()))
            yield family
        for name, (meaning, read) in _COLUMNS.items():
            family = GaugeMetricFamily(f"infscale_endpoint_{name}", meaning, labels=["pool", "endpoint"])
            for snapshot in self._store.snapshots():
                values, labels = read(snapshot, self._clock()), self._labels(snapshot)
                family.samples += [
                    Sample(family.name, labels[row], float(values[row]))
                    for row in np.flatnonzero(np.isfinite(values)).tolist()
                ]
            yield family

    def _labels(self, snapshot: PoolSnapshot) -> list[dict[str, str]]:
        """Those of each row, made again when the pool has other endpoints."""
        endpoints, labels = self._named.get(snapshot.pool, ((), []))
        if endpoints is not snapshot.endpoints:
            pool = str(snapshot.pool)
            labels = [{"pool": pool, "endpoint": str(endpoint.key)} for endpoint in snapshot.endpoints]
            self._named[snapshot.pool] = (snapshot.endpoints, labels)
        return labels


def _pools(metric: PublishedMetric, snapshots: tuple[PoolSnapshot, ...], now: float) -> Metric:
    family = GaugeMetricFamily(f"infscale_pool_{metric.name}", metric.meaning, labels=["pool", "model"])
    for snapshot in snapshots:
        if snapshot.queue is None and isinstance(metric.reader, OfQueue):
            # Unknown of hundreds of models.
            continue
        for model in models(metric, snapshot):
            reading = group_reading(metric, snapshot, now, model)
            if isinstance(reading, Reading):
                family.add_metric([str(snapshot.pool), model or ""], reading.value)
    return family


_COUNTS: Mapping[str, tuple[str, Callable[[PoolSnapshot, float], float]]] = {
    "infscale_pool_endpoints": ("endpoints of a pool, ready or not", lambda pool, _: float(len(pool))),
    "infscale_pool_ready_endpoints": (
        "endpoints of a pool that are ready",
        lambda pool, _: float(pool.columns.ready.sum()),
    ),
    "infscale_pool_fresh_endpoints": (
        "ready endpoints of a pool with an observation younger than the staleness limit",
        lambda pool, now: float((pool.columns.ready & pool.fresh(now)).sum()),
    ),
    "infscale_pool_saturated_endpoints": (
        "endpoints of a pool that are known to be saturated",
        lambda pool, now: float(pool.saturated(now).sum()),
    ),
    "infscale_pool_unknown_load": (
        "1 while a pool has ready endpoints and the load of none is known: what is in flight decides about requests, "
        "or they are refused (picker.unknown_load)",
        lambda pool, now: float(pool.unknown_load(now)),
    ),
    "infscale_pool_asleep_endpoints": (
        "endpoints of a pool whose engine says that it sleeps",
        lambda pool, _: float(pool.columns.asleep.sum()),
    ),
    "infscale_pool_not_serving_endpoints": (
        "endpoints of a pool whose servers say over gRPC that they take no requests",
        lambda pool, _: float(sum(each is not None and each.serving is False for each in pool.columns.health)),
    ),
    "infscale_store_revision": (
        "number of the store's current revision; every decision names one",
        lambda pool, _: float(pool.number),
    ),
}


def _gauge(place: int) -> Callable[[PoolSnapshot, float], FloatArray]:
    source = BY_NAME[GAUGES[place].published].source

    def fresh(pool: PoolSnapshot, now: float) -> FloatArray:
        column = pool.columns.of_gauges[place]
        return np.where(source.fresh(pool, now), column, np.nan)

    return fresh


def _of_steps(reader: ColumnReader) -> Callable[[PoolSnapshot, float], FloatArray]:
    return lambda pool, now: np.where(ENGINE.fresh(pool, now), reader.read(pool, now, None), np.nan)


_COLUMNS: Mapping[str, tuple[str, Callable[[PoolSnapshot, float], FloatArray]]] = {
    **{gauge.published: (gauge.meaning, _gauge(place)) for place, gauge in enumerate(GAUGES)},
    "in_flight_requests": (
        "requests that the picker sent to an endpoint and that have not ended",
        lambda pool, _: pool.in_flight_requests,
    ),
    "in_flight_tokens": (
        "tokens of requests in flight at an endpoint: what is not cached of their prompts, and expected answers",
        lambda pool, _: pool.in_flight_tokens,
    ),
    "saturation_ratio": ("share of an endpoint's capacity in use; 1 is full", lambda pool, now: pool.saturation(now)),
    "latency_model_error_ratio": (
        "relative error of the model of an endpoint's step times, of late",
        _of_steps(ModelError()),
    ),
    "predicted_time_per_output_token_seconds": (
        "time between an endpoint's output tokens by that model, for its batch of the moment",
        _of_steps(PredictedOutputToken()),
    ),
    "predicted_time_to_first_token_seconds": (
        "time to an endpoint's first token by that model, of a prompt of 1,000 uncached tokens that comes now",
        _of_steps(PredictedFirstToken()),
    ),
    "age_seconds": (
        "age of an endpoint's last observation",
        lambda pool, now: np.maximum(0.0, now - pool.columns.observed_at),
    ),
}
"""What is told of each endpoint."""


def _application(
    shown: OwnMetrics, listen: TelemetryListen, documents: DebugDocuments, sources: DebugSources
) -> web.Application:
    async def metrics(request: web.Request) -> web.Response:
        refusal = await listen.guard(request) if listen.guard is not None else None
        if refusal is not None:
            return refusal
        asked = request.query.getall("name[]", ())
        return web.Response(body=await shown.written(asked), headers={"Content-Type": CONTENT_TYPE})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/healthz", healthz)
    if is_loopback(listen.host):
        for path, handler in {**debug_routes(documents, sources), **ui_routes(documents, sources)}.items():
            application.router.add_get(path, for_this_machine(handler))
        path, handler = command_route(sources)
        application.router.add_post(path, for_this_machine(handler))
    return application


class TelemetryServer:
    """Serves `/metrics`, `/healthz`, `/debug/…` and `/ui`; port 0 takes a free one, read from `port`.

    `shown` is the page of metrics, `sources` are more documents under `/debug/`. Where other machines can
    connect there is nothing under `/debug/` and `/ui`, because they show every endpoint.
    """

    def __init__(
        self,
        listen: TelemetryListen,
        store: MetricStore,
        shown: OwnMetrics,
        clock: Callable[[], float],
        sources: DebugSources = NO_SOURCES,
    ) -> None:
        self._host = listen.host
        self.port = listen.port
        documents = DebugDocuments({"snapshot": snapshot_page(store, clock), **sources.pages}, clock)
        application = _application(shown, listen, documents, sources)
        self._runner = web.AppRunner(application, access_log=None)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{authority(self._host, self.port)}"

    async def __aenter__(self) -> "TelemetryServer":
        await self._runner.setup()
        try:
            for each in await listening("telemetry", self._host, self.port, "telemetry.listen"):
                await web.SockSite(self._runner, each).start()
        except StartError:
            await self._runner.cleanup()
            raise
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
