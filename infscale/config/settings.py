"""What the configuration file can say; a field is a key of the file under the same name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from infscale.config.declared_objects import DeclaredPool, DeclaredWorkload
from infscale.config.explain_settings import ExplainSettings
from infscale.config.fallback_settings import Fallbacks
from infscale.config.flow_control_settings import FlowControlSettings
from infscale.config.record_settings import RecordSettings
from infscale.config.shadow_settings import Shadows
from infscale.discovery.state import DEFAULT_POOL
from infscale.documents.section import NOT_A_KEY
from infscale.endpoint import ObjectKey, OnlyPool, authority, is_loopback
from infscale.metrics.pages.written_dialects import EngineNames, Engines
from infscale.metrics.published.metric_table import FormulaSettings
from infscale.metrics.saturation import SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from infscale.prometheus.prometheus_settings import PrometheusSettings
from infscale.scrape.tls_trust import PageCertificates
from infscale.sources.known_sources import SOURCES
from infscale.sources.source_kind import SourceSettings

DEFAULT_SERVICE = ObjectKey("infscale-system", "infscale-adapter")

Preset = Literal[
    "infscale",
    "in-flight-tokens",
    "reference",
    "sticky-until-saturated",
    "lmetric",
    "legacy-v0.3",
    "conformance",
]
ErrorFormat = Literal["openai", "reference"]
UnknownModels = Literal["allow", "reject"]
UnknownObjectives = Literal["lowest", "default"]
UnknownLoad = Literal["serve", "refuse"]
Transport = Literal["http2", "grpc_aio"]
TlsVersion = Literal["1.2", "1.3"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "text"]
Scheme = Literal["http", "https"]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens: an IP address or ``localhost``, and a port; port 0 takes any free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of this machine can connect."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return authority(self.host, self.port)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate chain and its private key, both PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class PickerTlsFiles(TlsFiles):
    """The picker's certificate; `min_version` is the oldest TLS it speaks, with `reload` changed files are followed.

    With `client_ca` only gateways with a certificate of that authority are served.
    """

    reload: bool = False
    min_version: TlsVersion = "1.2"
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class KedaTlsFiles(TlsFiles):
    """The external scaler's certificate; changed files are followed.

    With `client_ca` only clients with a certificate of that authority are served.
    """

    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """The cluster: by a kubeconfig file and one of its contexts, else the one this process runs in."""

    kubeconfig: Path | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True)
class KubernetesDiscoverySettings:
    """What of the cluster is followed: objects of `namespaces` (none: of all).

    With `write_status` the conditions of objectives, rewrites and models are written back to the cluster. `pools` are
    pools of model servers that have no `InferencePool`, `workloads` more kinds that values can belong to. With `only`
    nothing but one pool and what routing to it takes is followed; it must be in one of the namespaces. With
    `drain_cordoned` pods on cordoned nodes get nothing new while others of their pools are elsewhere.
    """

    namespaces: tuple[str, ...] = ()
    write_status: bool = True
    pools: tuple[DeclaredPool, ...] = ()
    workloads: tuple[DeclaredWorkload, ...] = ()
    drain_cordoned: bool = True
    only: OnlyPool | None = field(default=None, metadata=NOT_A_KEY)


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """Where endpoints and inference objects come from: a `file` or `kubernetes`, exactly one.

    `default_pool` is the pool of a file that has no `InferencePool`; with `any_namespace` it takes the endpoints of all
    namespaces. Without `watch` the file is read once.
    """

    file: Path | None = None
    kubernetes: KubernetesDiscoverySettings | None = None
    poll_interval_seconds: float = 0.25
    default_pool: ObjectKey = DEFAULT_POOL
    watch: bool = True
    any_namespace: bool = field(default=False, metadata=NOT_A_KEY)


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """How model servers are scraped; a value older than `staleness_limit_seconds` is unusable.

    `dialect` is that of endpoints whose labels name none; ``auto`` finds it out from the page. `processes` beside this
    one do the scraping; ``auto``: as many as the number of scrapes asks for. `port` None: each endpoint's own for
    metrics. Without `verify_tls` any certificate of an https page will do. `engine_label` is the endpoint label that
    names the dialect; None: the usual ones. `dialects` are beside the table's, or instead of those of their names.
    With `model_lists` the lists of models that servers have are read for the store. `certificates` are files for https
    pages; None: the system's.
    """

    interval_seconds: float = 0.5
    timeout_seconds: float = 0.4
    staleness_limit_seconds: float = 2.0
    max_page_bytes: int = 8 * 1024 * 1024
    dialect: str = "auto"
    scheme: Scheme = "http"
    path: str = "/metrics"
    processes: int | Literal["auto"] = "auto"
    port: int | None = None
    verify_tls: bool = True
    engine_label: str | None = None
    dialects: tuple[EngineNames, ...] = ()
    model_lists: bool = False
    certificates: PageCertificates | None = field(default=None, metadata=NOT_A_KEY)

    def engines(self) -> Engines:
        """Which endpoint speaks what. Raises ValueError where a dialect cannot be one."""
        return Engines.of(self.dialects, None if self.dialect == "auto" else self.dialect, self.engine_label)


@dataclass(frozen=True, slots=True)
class PoolOverrides:
    """What the file says about one pool; None is not given.

    `saturation_place` is where ``saturation`` is written (``file:line``); errors about a second source name it.
    """

    staleness_limit_seconds: float | None = None
    window_seconds: float | None = None
    saturation: SaturationSettings | None = None
    saturation_place: str | None = field(default=None, metadata=NOT_A_KEY)


@dataclass(frozen=True, slots=True)
class PickerSettings:
    """The EPP: where it listens and how it schedules.

    Exactly one of `preset` and `config_file` decides the scheduling: with a `config_file` (an `EndpointPickerConfig`)
    the preset is None. `config_text` is such a configuration given as text instead of a file. `destinations` is how
    many endpoints are sent to the gateway, first choice first. `unknown_models` is what becomes of a model that no
    endpoint serves: left to the endpoint, or refused (404). `unknown_load` is what becomes of requests while no
    endpoint's load is known: scheduled by what is in flight, or refused (503). With `subset_hints` the gateway may
    narrow the choice. What requests hold of bodies until they are routed is at most `max_buffered_bytes` together; one
    that stops arriving has `body_timeout_seconds`. Gateways have at most `max_connections`, each address
    `max_peer_connections` of them.
    When it is told to end, health checks say so for `drain_notice_seconds` before no new exchange is taken.
    With `ready_without_endpoints` health checks are answered SERVING as soon as there is a pool; with
    `any_health_service` those of unknown services are answered as if they asked for readiness. `trusted_headers` are
    request headers that the gateway sets itself and takes from no client. A name that no objective has is worth least,
    or with `unknown_objectives` ``default`` as much as none. `record` None: requests are not recorded.
    `flow_control` says how requests wait until an endpoint can begin them.
    `explain` says of how many decisions it can be told later why they were made. `fallback` says where requests of a
    pool go that this cannot serve. `rollouts_file` keeps how far rollouts are; None: they begin anew with the process.
    `shadow` says of which requests a candidate gets copies.
    """

    listen: ListenAddress = ListenAddress("127.0.0.1", 9002)
    health_listen: ListenAddress | None = None
    pool: ObjectKey | None = None
    preset: Preset | None = "infscale"
    config_file: Path | None = None
    error_format: ErrorFormat = "openai"
    max_body_bytes: int = 32 * 1024 * 1024
    max_buffered_bytes: int = 192 * 1024 * 1024
    body_timeout_seconds: float = 30.0
    max_connections: int = 1_000
    max_peer_connections: int = 256
    destinations: int = 1
    unknown_models: UnknownModels = "allow"
    unknown_load: UnknownLoad = "serve"
    emit_endpoint_scores: bool = False
    tls: PickerTlsFiles | None = None
    drain_timeout_seconds: float = 30.0
    drain_notice_seconds: float = 0.0
    transport: Transport = "http2"
    subset_hints: bool = True
    ready_without_endpoints: bool = False
    any_health_service: bool = False
    trusted_headers: tuple[str, ...] = ()
    unknown_objectives: UnknownObjectives = "lowest"
    record: RecordSettings | None = None
    flow_control: FlowControlSettings = field(default_factory=FlowControlSettings)
    explain: ExplainSettings = field(default_factory=ExplainSettings)
    fallback: Fallbacks | None = field(default=None, hash=False)
    rollouts_file: Path | None = None
    shadow: Shadows | None = field(default=None, hash=False)
    config_text: str | None = field(default=None, metadata=NOT_A_KEY)


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """How another adapter, which serves v1beta1 of the custom metrics, is asked for those that infscale does not know.

    It has `timeout_seconds` for an answer, of which `max_bytes` are read.
    """

    timeout_seconds: float = 5.0
    max_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """The API server of metrics; without `tls` it makes its own certificate.

    `service` is the Service that leads to it, whose name its certificate carries. In a cluster its own CA is written
    into the APIServices of that Service; `ca` is the file of the CA to write there for a given certificate.
    `max_in_flight` is how many metric requests it answers at once. With `forward` another adapter is asked for custom
    metrics that are not known here.
    """

    listen: ListenAddress = ListenAddress("127.0.0.1", 6443)
    service: ObjectKey = DEFAULT_SERVICE
    tls: TlsFiles | None = None
    ca: Path | None = None
    max_in_flight: int = 400
    forward: ForwardSettings | None = None


@dataclass(frozen=True, slots=True)
class KedaSettings:
    """The external scaler that KEDA asks; without `tls` it speaks plain text.

    A request for a pool without ready endpoints keeps its triggers active for `activation_seconds`. With
    `other_namespaces` a trigger may be about pools outside the namespace of its ScaledObject. KEDA has at most
    `max_streams` streams open, each address `max_peer_streams` of them.
    """

    listen: ListenAddress = ListenAddress("127.0.0.1", 9005)
    tls: KedaTlsFiles | None = None
    activation_seconds: float = 300.0
    other_namespaces: bool = False
    max_streams: int = 4_000
    max_peer_streams: int = 2_000


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where infscale's own ``/metrics`` is, and on loopback ``/ui`` and the documents under ``/debug/``.

    These are ``snapshot``, ``picks``, and where there is such a part ``autoscalers``, ``triggers`` and ``rules``.
    With `ask_cluster` the cluster says which users may read ``/metrics``. With `reference_names` there are the
    reference picker's metrics, too, under its names.
    """

    listen: ListenAddress = ListenAddress("127.0.0.1", 9090)
    reference_names: bool = False
    ask_cluster: bool = field(default=False, metadata=NOT_A_KEY)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged and in which form."""

    level: LogLevel = "info"
    format: LogFormat = "text"


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """The whole configuration of `infscale serve`; `sources` has a section for each of `SOURCES`, by its key.

    `keda` None: there is no external scaler.
    """

    discovery: DiscoverySettings
    kubernetes: KubernetesSettings | None = None
    scrape: ScrapeSettings = ScrapeSettings()
    sources: Mapping[str, SourceSettings] = field(
        default_factory=lambda: {kind.key: kind.default() for kind in SOURCES}, hash=False, metadata=NOT_A_KEY
    )
    pools: Mapping[ObjectKey, PoolOverrides] = field(default_factory=dict, hash=False)
    metrics: tuple[FormulaSettings, ...] = ()
    picker: PickerSettings = PickerSettings()
    adapter: AdapterSettings = AdapterSettings()
    keda: KedaSettings | None = None
    telemetry: TelemetrySettings = TelemetrySettings()
    log: LogSettings = LogSettings()
    prometheus: PrometheusSettings = field(default_factory=PrometheusSettings)

    def pool_settings(self, pool: ObjectKey) -> PoolSettings:
        """What this file says `pool` is judged by, defaults where it says nothing."""
        settings = PoolSettings(staleness_limit_seconds=self.scrape.staleness_limit_seconds)
        overrides = self.pools.get(pool, PoolOverrides())
        if overrides.staleness_limit_seconds is not None:
            settings = replace(settings, staleness_limit_seconds=overrides.staleness_limit_seconds)
        if overrides.window_seconds is not None:
            settings = replace(settings, window_seconds=overrides.window_seconds)
        if overrides.saturation is not None:
            settings = replace(settings, saturation=overrides.saturation)
        return settings
