"""The composition: collector, picker and adapter in one process on one store."""

import contextlib
import logging
import random
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass

from prometheus_client.registry import Collector

from adapter.answering.store_provider import StoreProvider
from adapter.server.adapter_server import AdapterServer
from infscale.client_headers import ignored
from infscale.config import KubernetesSettings, ServeConfig
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.kube.api.client import KubeClient
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.store.metrics_store import MetricStore, StoreSettings
from infscale.periodic import ScrapeHealth, TaskSet
from infscale.scrape.model_lists import ListSettings, ModelLists
from infscale.scrape.pipe import Setup
from infscale.scrape.pool import ScrapePool, ScrapeSettings
from infscale.scrape.processes import ScrapeProcesses
from infscale.scrape.target import TargetTemplate
from infscale.serving.answering import Answers
from infscale.serving.discovering import Discovering, discovering
from infscale.serving.load_watch import LoadWatch
from infscale.serving.metrics_access import MetricsAccess
from infscale.serving.observing import Observing
from infscale.serving.scheduling import (
    SchedulingFile,
    check_change,
    check_pools,
    load_scheduling,
    log_notes,
    pool_settings,
)
from infscale.serving.scraping import scraping
from infscale.sources.dcgm import DcgmSource, DcgmTarget
from infscale.telemetry.own_process import ProcessCollector
from infscale.telemetry.telemetry_server import SourcesCollector, StoreCollector, TelemetryListen, TelemetryServer
from picker.directing.candidates import takes_requests
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.directing.pool_directors import PoolDirectors
from picker.directing.served_models import NO_LISTS
from picker.epp_config.loader import PickerConfig
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.parsing import ParserTable
from picker.telemetry.counts import PortCollector, ReloadCollector
from picker.transport.interface import NewExchange, TlsFiles, Transport, TransportSettings
from picker.transport.server.http2 import Http2Transport

_LOG = logging.getLogger(__name__)

_REWRITES_NOTE = (
    "models are rewritten: clients read the name of the model that served them, unless the gateway sends the picker "
    "response bodies (response_body_mode: FULL_DUPLEX_STREAMED)"
)

clock = time.monotonic

PARTS = frozenset({"picker", "adapter"})
"""What can run on a store; each may run alone."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What runs: the store, what decides on it, and where each part listens."""

    store: MetricStore
    directors: PoolDirectors
    scrapes: ScrapeProcesses
    telemetry: TelemetryServer
    transport: Transport | None
    adapter: AdapterServer | None

    def log_listeners(self) -> None:
        """Say where every part listens."""
        places = {"telemetry": self.telemetry.url}
        if self.transport is not None:
            places["picker"] = f"ext_proc on port {self.transport.port}"
        if self.adapter is not None:
            places["adapter"] = self.adapter.url
        _LOG.info("serving", extra={"fields": {"pools": len(self.store.pools()), **places}})

    async def drain(self) -> None:
        """End exchanges in order; everything else stops with the block."""
        if self.transport is not None:
            await self.transport.drain()


def _exchange_settings(config: ServeConfig, scheduling: PickerConfig) -> ExchangeSettings:
    picker = config.picker
    reference = picker.error_format == "reference"
    return ExchangeSettings(
        error_format=picker.error_format,
        echo_request_headers=reference,
        buffer_responses=reference,
        max_body_bytes=picker.max_body_bytes,
        destination_count=picker.destinations,
        parsers=ParserTable.of(scheduling.parsers),
        subset_hints=picker.subset_hints,
        attributes=scheduling.reporting.attributes,
        report_served=scheduling.reporting.served,
        ignored_headers=ignored(picker.trusted_headers),
        # What the reference picker says, it says to the letter.
        tell_revision=not reference,
    )


def _target_template(config: ServeConfig, scheduling: PickerConfig) -> TargetTemplate:
    scrape = scraping(config.scrape, scheduling.scraping)
    return TargetTemplate(
        scheme=scrape.scheme,
        path=scrape.path,
        interval_seconds=scrape.interval_seconds,
        timeout_seconds=scrape.timeout_seconds,
        engines=scrape.engines(),
        port=scrape.port,
        verify_tls=scrape.verify_tls,
        certificates=scrape.certificates,
    )


class _Scheduled:
    """Makes directors and exchanges; guards the scheduling in force, which changes between requests only."""

    def __init__(
        self,
        config: ServeConfig,
        scheduling: PickerConfig,
        store: MetricStore,
        rng: random.Random,
        lists: ModelLists | None,
    ) -> None:
        self._config = config
        self._store = store
        self._rng = rng
        self._directing = DirectorSettings(
            unknown_models=config.picker.unknown_models,
            lists=lists or NO_LISTS,
            emit_scores=config.picker.emit_endpoint_scores,
            trusted_headers=frozenset(config.picker.trusted_headers),
            unknown_objectives=config.picker.unknown_objectives,
            unknown_load=config.picker.unknown_load,
        )
        self.scheduling = scheduling
        self.targets = _target_template(config, scheduling)
        self._exchanging = _exchange_settings(config, scheduling)
        self.directors = PoolDirectors(self._director, config.picker.pool, store)
        names = config.telemetry.reference_names
        self.observing = Observing(self.directors, store, clock, reference_names=names)

    def new_exchange(self) -> Exchange:
        """An exchange by what is in force now; it keeps to it until its end."""
        return Exchange(self._exchanging, self.observing.director, self._rng)

    def change(self, scheduling: PickerConfig) -> None:
        """Schedule by this from the next request on. Raises `ConfigError`, and changes nothing, where it cannot."""
        self.targets = _target_template(self._config, scheduling)
        self.scheduling = scheduling
        self._exchanging = _exchange_settings(self._config, scheduling)
        self.directors.configure(scheduling)

    def _director(self, pool: ObjectKey) -> PoolDirector:
        return PoolDirector(pool, self.scheduling, self._store, self._store, self._rng, self._directing)


@dataclass(frozen=True, slots=True)
class _Followers:
    """Everything that follows discovery and the scheduling configuration."""

    config: ServeConfig
    scheduled: _Scheduled
    store: MetricStore
    scrapes: ScrapeProcesses
    gpus: DcgmSource
    lists: ModelLists | None

    def sync(self, state: DiscoveryState) -> None:
        """Bring every follower in line with `state`."""
        for pool in state.pools:
            self.store.configure(pool.key, pool_settings(self.config, self.scheduled.scheduling, pool.key))
        self.store.sync(state)
        self.scheduled.directors.sync(state)
        if state.rewrites:
            _LOG.info(_REWRITES_NOTE, extra={"fields": {"rewrites": len(state.rewrites)}})
        self.scrapes.sync(self.scheduled.targets.targets(state.endpoints, state.h2c_endpoints()))
        if self.lists is not None:
            self.lists.sync(state.endpoints, state.h2c_endpoints())
        dcgm = self.config.dcgm
        urls = dict.fromkeys((*dcgm.targets, *state.gpu_exporters))
        targets = [DcgmTarget(url, dcgm.interval_seconds, dcgm.timeout_seconds) for url in urls]
        self.gpus.sync(targets, state.endpoints)

    def reschedule(self, scheduling: PickerConfig) -> None:
        """Schedule by `scheduling` from now on. Raises `ConfigError`, and changes nothing, where it does not fit."""
        check_change(self.scheduled.scheduling, scheduling, self.config.picker.config_file)
        check_pools(self.config, scheduling)
        judged = {pool: pool_settings(self.config, scheduling, pool) for pool in self.store.pools()}
        self.scheduled.change(scheduling)
        for pool, settings in judged.items():
            self.store.configure(pool, settings)
        known = self.store.discovery
        self.scrapes.sync(self.scheduled.targets.targets(known.endpoints, known.h2c_endpoints()))

    async def follow_scheduling(self, file: SchedulingFile) -> None:
        """Follow the file of the scheduling configuration until cancelled."""
        await file.follow(self.reschedule)

    def health(self) -> dict[str, ScrapeHealth]:
        """How scraping goes, by the endpoints' names."""
        return {str(key): health for key, health in self.scrapes.health().items()}

    def collector(self, discovery: Discovering) -> SourcesCollector:
        """How scraping and `discovery` go, as metrics."""
        stats = self.scrapes.stats
        return SourcesCollector(
            self.health,
            discovery.refusals,
            discovery.disconnected_seconds,
            replaced=lambda: stats.replaced,
            faults=lambda: stats.faults,
            exporters=self.gpus.health,
        )

    async def follow(self, states: AsyncIterator[DiscoveryState]) -> None:
        """Follow discovery until cancelled."""
        async for state in states:
            self.sync(state)
            _LOG.info("discovery changed", extra={"fields": {"endpoints": len(state.endpoints)}})


@contextlib.asynccontextmanager
async def serving(config: ServeConfig, parts: Collection[str] = PARTS) -> AsyncGenerator[Serving, None]:
    """Run `parts` on one store until the block ends. Raises `ConfigError` or `StartError` where it cannot start."""
    scheduling, file = await load_scheduling(config)
    check_pools(config, scheduling)
    log_notes(scheduling)
    rng = random.Random()
    reconcile = max(1.0, 2 * config.scrape.interval_seconds)
    store = MetricStore(secrets.token_hex(4), StoreSettings(reconcile_after_seconds=reconcile))
    # Asked for only where requests are refused by them.
    lists = _model_lists(config, scheduling, rng) if config.picker.unknown_models == "reject" else None
    scheduled = _Scheduled(config, scheduling, store, rng, lists)
    directors = scheduled.directors
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        client = await enter(cluster_client(config.kubernetes)) if config.kubernetes is not None else None
        source = scheduling.discovery
        clusters = source is not None and source.clusters
        discovery = await enter(discovering(config, client, clock, rng, clusters=clusters))
        first = await anext(discovery.states)
        scrapes = await enter(_scrapes(config, store, rng))
        gpus = await enter(DcgmSource(store, clock, rng))
        if lists is not None:
            await enter(lists)
        followers = _Followers(config, scheduled, store, scrapes, gpus, lists)
        followers.sync(first)
        table = MetricTable.of(config.metrics)
        observing = scheduled.observing
        collectors: list[Collector] = [ProcessCollector(), followers.collector(discovery), *observing.collectors()]
        if file is not None:
            collectors.append(ReloadCollector(file.stats))
        adapter = None
        if "adapter" in parts:
            shown = [StoreCollector(store, clock, table), *collectors]
            answers = Answers(StoreProvider(store, table), table, client, rng)
            adapter = await enter(answers.server(config, shown))
            if config.kubernetes is not None:
                await enter(answers.checks(store, adapter.knows))
        transport = None
        if "picker" in parts:
            collectors.append(observing.averages())
            transport = await enter(_transport(config, scheduled.new_exchange, store))
            collectors.append(PortCollector(transport.budget, transport.counts))
        if adapter is not None:
            collectors.append(adapter.collector)
        listen = config.telemetry.listen
        guard = MetricsAccess(client, rng) if config.telemetry.ask_cluster and client is not None else None
        page = TelemetryListen(listen.host, listen.port, guard)
        telemetry = await enter(TelemetryServer(page, store, collectors, clock, table, observing.pages()))
        watch = LoadWatch(store, clock, config.picker.unknown_load, discovery.unknown_load)
        await enter(_following(followers, discovery.states, file, watch if "picker" in parts else None))
        yield Serving(store, directors, scrapes, telemetry, transport, adapter)


@contextlib.asynccontextmanager
async def _following(
    followers: _Followers,
    states: AsyncIterator[DiscoveryState],
    file: SchedulingFile | None,
    watch: LoadWatch | None,
) -> AsyncGenerator[None, None]:
    """Follow what changes until the block ends: discovery, the scheduling file, and whether load is known."""
    async with (
        TaskSet[str, AsyncIterator[DiscoveryState]](followers.follow) as discovery,
        TaskSet[str, LoadWatch](LoadWatch.follow) as load,
        TaskSet[str, SchedulingFile](followers.follow_scheduling) as scheduling,
    ):
        discovery.sync({"discovery": states})
        load.sync({"load": watch} if watch is not None else {})
        scheduling.sync({"scheduling": file} if file is not None else {})
        yield


@contextlib.asynccontextmanager
async def cluster_client(settings: KubernetesSettings) -> AsyncGenerator[KubeClient, None]:
    """A client of the configured cluster. Raises `ConfigError` where there is none."""
    # The Kubernetes client takes 47 MiB and is imported only where there is a cluster.
    from infscale.kube.api.cluster_access import cluster

    async with cluster(settings) as client:
        yield client


def _scrapes(config: ServeConfig, store: MetricStore, rng: random.Random) -> ScrapeProcesses:
    limit = config.scrape.max_page_bytes
    here = ScrapePool(store, clock, rng, ScrapeSettings(page_limit_bytes=limit))
    setup = Setup(limit, config.log.level, config.log.format)
    return ScrapeProcesses(here, store, setup, rng, config.scrape.processes)


def _model_lists(config: ServeConfig, scheduling: PickerConfig, rng: random.Random) -> ModelLists:
    scrape = scraping(config.scrape, scheduling.scraping)
    settings = ListSettings(scheme=scrape.scheme, verify_tls=scrape.verify_tls, certificates=scrape.certificates)
    return ModelLists(clock, rng, settings)


def _transport(config: ServeConfig, new_exchange: NewExchange, store: MetricStore) -> Transport:
    picker = config.picker
    tls = picker.tls
    settings = TransportSettings(
        address=picker.listen.host,
        port=picker.listen.port,
        health_address=picker.health_listen.host if picker.health_listen else None,
        health_port=picker.health_listen.port if picker.health_listen else None,
        tls=TlsFiles(tls.certificate, tls.key, tls.client_ca, tls.reload, tls.min_version) if tls else None,
        notice_seconds=picker.drain_notice_seconds,
        drain_seconds=picker.drain_timeout_seconds,
        any_health_service=picker.any_health_service,
        max_body_bytes=picker.max_body_bytes,
        max_buffered_bytes=picker.max_buffered_bytes,
        body_timeout_seconds=picker.body_timeout_seconds,
        max_connections=picker.max_connections,
        max_peer_connections=picker.max_peer_connections,
    )

    def ready() -> bool:
        if picker.ready_without_endpoints:
            return bool(store.pools())
        now = clock()
        return any(takes_requests(snapshot, now, picker.unknown_load) for snapshot in store.snapshots())

    if picker.transport == "grpc_aio":
        # Its library takes 10 MiB, which a picker without it does without.
        from picker.transport.grpcio_server.grpc_aio import GrpcTransport

        return GrpcTransport(settings, new_exchange, clock, ready)
    return Http2Transport(settings, new_exchange, clock, ready)
