"""The composition: collector, picker and adapter in one process on one store."""

import contextlib
import logging
import random
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapter.access.reviews import REVIEW_NEEDS
from adapter.answering.provider import Provider
from adapter.answering.rules_provider import ChainedProvider, RulesProvider
from adapter.answering.store_provider import StoreProvider
from adapter.server.adapter_server import AdapterServer
from infscale.config.settings import KubernetesSettings, ServeConfig
from infscale.endpoint import DiscoveryState
from infscale.kube.api.client import KubeClient
from infscale.kube.rights import Right
from infscale.metrics.published.aliases import Aliases
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.store.metrics_store import MetricStore
from infscale.periodic import TaskSet
from infscale.process.loop_alarm import LoopAlarm
from infscale.scrape.processes import ScrapeProcesses
from infscale.serving.answering import Answering, Answers
from infscale.serving.collecting import Asking, Listing, Scraping, target_template
from infscale.serving.deciding import Deciding
from infscale.serving.discovering import Discovering, discovering
from infscale.serving.ext_proc_port import ExtProcPort
from infscale.serving.load_watch import LoadWatch
from infscale.serving.metrics_access import MetricsAccess
from infscale.serving.parts import Owning, Part
from infscale.serving.prometheus.rules_watch import Ruled, load_rules
from infscale.serving.recorded.pick_writing import PickWriting
from infscale.serving.recorded.recording import Recording
from infscale.serving.rolling_out.rolling import Rolling, rolling
from infscale.serving.scaler_port import ScalerPort
from infscale.serving.scheduling import (
    SchedulingFile,
    check_change,
    check_pools,
    load_scheduling,
    log_notes,
    pool_settings,
)
from infscale.serving.scraping import new_store
from infscale.serving.sessions.keys_watch import KeysWatch, SessionKeys
from infscale.sources.known_sources import SOURCES
from infscale.telemetry.debug_documents import DebugSources
from infscale.telemetry.own_metrics import OwnMetrics
from infscale.telemetry.own_process import ProcessCollector
from infscale.telemetry.source_metrics import DiscoveryCollector
from infscale.telemetry.telemetry_server import StoreCollector, TelemetryListen, TelemetryServer
from picker.directing.pool_directors import PoolDirectors
from picker.epp_config.loader import PickerConfig
from picker.telemetry.counts import ReloadCollector
from picker.transport.transport import Transport

if TYPE_CHECKING:
    from infscale.serving.prometheus.ruling import Ruling

_LOG = logging.getLogger(__name__)

clock = time.monotonic

PARTS = frozenset({"picker", "adapter"})
"""What can run on a store; each may run alone."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What programs and tests see of what runs: the store, what decides on it, and where each part listens."""

    store: MetricStore
    directors: PoolDirectors
    scrapes: ScrapeProcesses
    telemetry: TelemetryServer
    transport: Transport | None
    adapter: AdapterServer | None
    scaler: ScalerPort | None

    def log_listeners(self) -> None:
        """Say where every part listens."""
        places = {"telemetry": self.telemetry.url}
        if self.transport is not None:
            places["picker"] = f"ext_proc on port {self.transport.port}"
        if self.adapter is not None:
            places["adapter"] = self.adapter.url
        if self.scaler is not None:
            places["keda"] = f"external scaler on port {self.scaler.server.port}"
        _LOG.info("serving", extra={"fields": {"pools": len(self.store.pools()), **places}})

    async def drain(self) -> None:
        """End streams of KEDA and exchanges in order; everything else stops with the block."""
        if self.scaler is not None:
            # First, and quickly: what takes over is asked while exchanges end here.
            await self.scaler.server.drain()
        if self.transport is not None:
            await self.transport.drain()


class _Storing(Part):
    """The store, whose pools are judged by the configuration and the scheduling in force."""

    def __init__(self, config: ServeConfig, deciding: Deciding, store: MetricStore, table: MetricTable) -> None:
        self._config = config
        self._deciding = deciding
        self._store = store
        self._collectors = (StoreCollector(store, clock, table),)

    def sync(self, state: DiscoveryState) -> None:
        """Have the pools and endpoints of `state`."""
        for pool in state.pools:
            self._store.configure(pool.key, pool_settings(self._config, self._deciding.scheduling, pool.key))
        self._store.sync(state)


class _Showing(Owning):
    """infscale's own metrics and documents."""

    def __init__(self, server: TelemetryServer, *, guarded: bool) -> None:
        super().__init__(server)
        self._needs = REVIEW_NEEDS if guarded else frozenset[Right]()
        self._collectors = (ProcessCollector(),)


class _Following(Owning):
    """What follows changes beside discovery's states: the scheduling file, and whether load is known."""

    def __init__(self, given: "Given", watch: LoadWatch | None, apply: Callable[[PickerConfig], None]) -> None:
        self._file = file = given.file
        self._watch = watch
        self._load = TaskSet[str, LoadWatch](LoadWatch.follow)
        self._scheduling = TaskSet[str, SchedulingFile](lambda each: each.follow(apply))
        super().__init__(self._load, self._scheduling)
        reload = () if file is None else (ReloadCollector(file.stats),)
        discovery = given.discovery
        self._needs = discovery.needs
        self._collectors = (DiscoveryCollector(discovery.refusals, discovery.disconnected_seconds), *reload)

    def sync(self, state: DiscoveryState) -> None:
        """Begin, with the first state."""
        del state
        self._load.sync({"load": self._watch} if self._watch is not None else {})
        self._scheduling.sync({"scheduling": self._file} if self._file is not None else {})


@dataclass(frozen=True, slots=True)
class Composed:
    """What runs in one process: its parts, in the order in which they are entered, and what is seen of them."""

    serving: Serving
    parts: Sequence[Part]

    async def follow(self, states: AsyncIterator[DiscoveryState]) -> None:
        """Follow discovery until cancelled."""
        async for state in states:
            for part in self.parts:
                part.sync(state)
            _LOG.info("discovery changed", extra={"fields": {"endpoints": len(state.endpoints)}})


@dataclass(frozen=True, slots=True)
class Given:
    """What parts are made of: the configuration, the scheduling with its file, the cluster, and discovery."""

    config: ServeConfig
    scheduling: PickerConfig
    file: SchedulingFile | None
    client: KubeClient | None
    discovery: Discovering
    rng: random.Random
    rules: Ruled | None = None
    rolling: Rolling | None = None
    """The rollouts; None where there is no picker."""


def composed(given: Given, running: Collection[str]) -> Composed:
    """The parts of a process in which those of `running` listen; none is entered yet."""
    config, rng = given.config, given.rng
    store = new_store(secrets.token_hex(4), config.scrape)
    aliases = Aliases.of(config.scrape.engines().dialects.values())
    table, page = MetricTable.of(config.metrics, config.prometheus.queries, aliases), OwnMetrics()
    listing = None
    if config.scrape.model_lists or config.picker.unknown_models == "reject":
        listing = Listing(config, given.scheduling, store, clock, rng)
    lists, rolling = None if listing is None else listing.lists, given.rolling
    book = None if rolling is None else rolling.book
    deciding = Deciding(config, given.scheduling, store, clock, rng, lists, book)
    keeping = _held_and_kept(config, deciding) if "picker" in running else ()
    scraping = Scraping(config, target_template(config, given.scheduling), store, clock, rng)
    asking = [
        Asking(words, [config.sources[kind.key].source(store, clock, rng) for kind in SOURCES if kind.words == words])
        for words in dict.fromkeys(kind.words for kind in SOURCES)
    ]
    port = ExtProcPort(config, deciding, store, clock) if "picker" in running else None
    answering, prometheus = None, _prometheus(given, store, running)
    if "adapter" in running:
        provider: Provider = StoreProvider(store, table)
        if prometheus.rules is not None:
            provider = ChainedProvider(provider, RulesProvider(prometheus.rules.evaluation, provider), table.names)
        answering = Answering(config, Answers(provider, table, given.client, rng), store, page, clock)
    scaler = None
    # What activates a pool are requests that the picker turns away.
    if config.keda is not None and "picker" in running:
        scaler = ScalerPort(
            config.keda, store, table, lambda pool: pool_settings(config, deciding.scheduling, pool), clock
        )
    guard = None
    if config.telemetry.ask_cluster and given.client is not None:
        guard = MetricsAccess(given.client, rng).refusal
    listen = TelemetryListen(config.telemetry.listen.host, config.telemetry.listen.port, guard)
    pages = deciding.pages()
    for part in (answering, scaler, prometheus.rules, rolling):
        pages |= {} if part is None else part.pages()
    finders, commands = deciding.finders(), {} if rolling is None else rolling.commands()
    finders |= {} if rolling is None else rolling.finders()
    sources = DebugSources(pages, finders, deciding.observing.streams(), commands)
    server = TelemetryServer(listen, store, page, clock, sources)
    showing = _Showing(server, guarded=guard is not None)
    watch = None
    if port is not None:
        watch = LoadWatch(store, clock, config.picker.unknown_load, given.discovery.unknown_load)
    following = _Following(given, watch, _Rescheduling(config, deciding, store, scraping).apply)
    storing = _Storing(config, deciding, store, table)
    keys = SessionKeys(KeysWatch(deciding, config.discovery.poll_interval_seconds))
    collecting = (storing, rolling, deciding, keys, scraping, *asking, listing, *prometheus.parts)
    wanted = (*collecting, *keeping, answering, scaler, port, showing, following)
    parts = [part for part in wanted if part is not None]
    page.show(collector for part in parts for collector in part.collectors())
    shown = Serving(
        store,
        deciding.directors,
        scraping.processes,
        server,
        None if port is None else port.transport,
        None if answering is None else answering.server,
        scaler,
    )
    return Composed(shown, parts)


def _held_and_kept(config: ServeConfig, deciding: Deciding) -> Sequence[Part]:
    """Have requests wait where they are to; the parts that keep what was asked, and why it was decided so."""
    if deciding.may_hold:
        alarm = LoopAlarm(clock)
        alarm.ring = deciding.hold(alarm.set).ring
    late = LoopAlarm(clock)
    fallback = deciding.fall_back(late.set)
    if fallback is not None:
        late.ring = fallback.ring
    parts: list[Part] = []
    if config.picker.record is not None:
        recording = Recording(config.picker.record, clock)
        deciding.record(recording)
        parts.append(recording)
    explain = config.picker.explain
    if explain.file is not None:
        writing = PickWriting(explain.file, explain.max_bytes, deciding.directors, clock)
        deciding.keep_sheets(writing.keep)
        parts.append(writing)
    sending = deciding.shadow()
    if sending is not None:
        parts.append(sending)
    return parts


@dataclass(frozen=True, slots=True)
class _Prometheus:
    """The parts that ask Prometheus servers, as far as there is something to ask."""

    parts: Sequence[Part] = ()
    rules: "Ruling | None" = None


def _prometheus(given: Given, store: MetricStore, running: Collection[str]) -> _Prometheus:
    settings = given.config.prometheus
    if not settings.servers:
        return _Prometheus()
    # With it comes the client library of Prometheus.
    from infscale.serving.prometheus.ruling import Querying, Ruling, Servers

    servers = Servers(settings)
    querying = Querying(settings, servers, store, clock, given.rng)
    if given.rules is None or "adapter" not in running:
        return _Prometheus((servers, querying))
    server = servers.by_name[given.rules.settings.server]
    rules = Ruling(server, given.rules, store, given.client, clock)
    return _Prometheus((servers, querying, rules), rules)


@dataclass(frozen=True, slots=True)
class _Rescheduling:
    """Everything that goes by the scheduling in force."""

    config: ServeConfig
    deciding: Deciding
    store: MetricStore
    scraping: Scraping

    def apply(self, scheduling: PickerConfig) -> None:
        """Schedule by `scheduling` from now on. Raises `ConfigError`, and changes nothing, where it does not fit."""
        check_change(self.deciding.scheduling, scheduling, self.config.picker.config_file)
        check_pools(self.config, scheduling)
        judged = {pool: pool_settings(self.config, scheduling, pool) for pool in self.store.pools()}
        template = target_template(self.config, scheduling)
        self.deciding.change(scheduling)
        for pool, settings in judged.items():
            self.store.configure(pool, settings)
        self.scraping.change(template, self.store.discovery)


@contextlib.asynccontextmanager
async def serving(config: ServeConfig, parts: Collection[str] = PARTS) -> AsyncGenerator[Serving, None]:
    """Run `parts` on one store until the block ends. Raises `ConfigError` or `StartError` where it cannot start."""
    scheduling, file = await load_scheduling(config)
    check_pools(config, scheduling)
    log_notes(scheduling)
    rules = await load_rules(config.prometheus)
    rng = random.Random()
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        client = await enter(cluster_client(config.kubernetes)) if config.kubernetes is not None else None
        source = scheduling.discovery
        clusters = source is not None and source.clusters
        discovery = await enter(discovering(config, client, clock, rng, clusters=clusters))
        first = await anext(discovery.states)
        runs = None
        if "picker" in parts:
            runs = await rolling(clock, config.picker.rollouts_file, discovery.rollouts)
        made = composed(Given(config, scheduling, file, client, discovery, rng, rules, runs), parts)
        for part in made.parts:
            await enter(part)
            part.sync(first)
        follows = await enter(TaskSet[str, AsyncIterator[DiscoveryState]](made.follow))
        follows.sync({"discovery": discovery.states})
        yield made.serving


@contextlib.asynccontextmanager
async def cluster_client(settings: KubernetesSettings) -> AsyncGenerator[KubeClient, None]:
    """A client of the configured cluster. Raises `ConfigError` where there is none."""
    # The Kubernetes client takes 47 MiB and is imported only where there is a cluster.
    from infscale.kube.api.cluster_access import cluster

    async with cluster(settings.kubeconfig, settings.context) as client:
        yield client
