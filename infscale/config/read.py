"""From the text of the configuration file to a `ServeConfig`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from infscale.client_headers import TRUSTABLE
from infscale.config import values
from infscale.config.dialects import dialects
from infscale.config.settings import (
    AdapterSettings,
    DcgmPods,
    DcgmSettings,
    DiscoverySettings,
    ErrorFormat,
    FormulaSettings,
    KubernetesDiscoverySettings,
    KubernetesSettings,
    LogFormat,
    LogLevel,
    LogSettings,
    PickerSettings,
    PoolOverrides,
    Preset,
    Scheme,
    ScrapeSettings,
    ServeConfig,
    TelemetrySettings,
    Transport,
    UnknownLoad,
    UnknownModels,
    UnknownObjectives,
)
from infscale.config.values import Section
from infscale.discovery import names
from infscale.document import Field, load, quoted
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError, FormulaError
from infscale.metrics.answers import GPU_STALENESS_SECONDS
from infscale.metrics.dialects import DIALECTS
from infscale.metrics.published import Aggregation
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from infscale.metrics.table import FORMULA_AGGREGATIONS, MetricTable

DIALECT_NAMES = ("auto", *DIALECTS)

_TIMEOUT_SHARE = 0.8
_MAX_DESTINATIONS = 8
_MAX_IN_FLIGHT = 100_000
_MAX_PROCESSES = 64

_PRESETS: tuple[Preset, ...] = get_args(Preset)
_ERROR_FORMATS: tuple[ErrorFormat, ...] = get_args(ErrorFormat)
_UNKNOWN_LOAD: tuple[UnknownLoad, ...] = get_args(UnknownLoad)
_UNKNOWN_MODELS: tuple[UnknownModels, ...] = get_args(UnknownModels)
_UNKNOWN_OBJECTIVES: tuple[UnknownObjectives, ...] = get_args(UnknownObjectives)
_TRANSPORTS: tuple[Transport, ...] = get_args(Transport)
_SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
_LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)
_LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)


def load_config(path: Path) -> ServeConfig:
    """The configuration in the file at `path`; raises `ConfigError`. It blocks and is meant for the start-up."""
    return read_config(load(read_text(path), str(path)), path.parent)


def read_text(path: Path) -> str:
    """The text of a file that the configuration consists of; raises `ConfigError`. It blocks."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "", f"not UTF-8 text: byte {error.start + 1}") from error


def read_config(root: Field, base: Path) -> ServeConfig:
    """The configuration that `root` writes; relative paths start at `base`. Raises `ConfigError`."""
    section = Section(root, ServeConfig, required=["discovery"])
    scrape = section.get("scrape", _scrape, ScrapeSettings())
    discovery = _discovery(section.given["discovery"], base)
    # Who follows a cluster and names none means the one it runs in.
    implied = None if discovery.kubernetes is None else KubernetesSettings()
    kubernetes = section.get("kubernetes", lambda field: _kubernetes(field, base), implied)
    config = ServeConfig(
        discovery=discovery,
        kubernetes=kubernetes,
        scrape=scrape,
        dcgm=section.get("dcgm", _dcgm, DcgmSettings()),
        pools=section.get("pools", lambda field: _pools(field, scrape), MappingProxyType({})),
        metrics=section.get("metrics", _metrics, ()),
        picker=section.get("picker", lambda field: _picker(field, base), PickerSettings()),
        adapter=section.get("adapter", lambda field: _adapter(field, base, kubernetes), AdapterSettings()),
        telemetry=section.get("telemetry", _telemetry, TelemetrySettings()),
        log=section.get("log", _log, LogSettings()),
    )
    _check_listeners(config, root)
    if config.dcgm.pods is not None and discovery.kubernetes is None:
        raise ConfigError(root.source, "dcgm.pods", "pods are found with discovery.kubernetes only; list targets")
    return config


def _discovery(field: Field, base: Path) -> DiscoverySettings:
    section = Section(field, DiscoverySettings)
    default = DiscoverySettings()
    file = section.get("file", values.file_path(base), None)
    kubernetes = section.get("kubernetes", _kubernetes_discovery, None)
    if file is None and kubernetes is None:
        field.refuse("give file or kubernetes: where endpoints come from")
    if kubernetes is not None:
        section.refuse(["file"], "give either file or kubernetes, not both")
        section.refuse(["poll_interval_seconds", "default_pool", "watch"], "goes with file, not with kubernetes")
    return DiscoverySettings(
        file,
        kubernetes,
        section.get("poll_interval_seconds", values.interval, default.poll_interval_seconds),
        section.get("default_pool", names.object_key, default.default_pool),
        section.get("watch", Field.boolean, default.watch),
    )


def _kubernetes(field: Field, base: Path) -> KubernetesSettings:
    section = Section(field, KubernetesSettings)
    if "context" in section.given and "kubeconfig" not in section.given:
        section.refuse(["context"], "a context is one of a kubeconfig: give that too")
    return KubernetesSettings(
        section.get("kubeconfig", values.file_path(base), None), section.get("context", Field.text, None)
    )


def _kubernetes_discovery(field: Field) -> KubernetesDiscoverySettings:
    section = Section(field, KubernetesDiscoverySettings)
    return KubernetesDiscoverySettings(
        section.get("namespaces", _namespaces, ()), section.get("write_status", Field.boolean, True)
    )


def _namespaces(field: Field) -> tuple[str, ...]:
    found: list[str] = []
    for item in field.items():
        namespace = names.namespace(item)
        if namespace in found:
            item.refuse(f"{quoted(namespace)} is given twice")
        found.append(namespace)
    if not found:
        field.refuse("expected at least one namespace; leave the key out to follow all")
    return tuple(found)


def _scrape(field: Field) -> ScrapeSettings:
    section = Section(field, ScrapeSettings)
    default = ScrapeSettings()
    interval, timeout = _pace(section, default.interval_seconds)
    window = PoolSettings().window_seconds
    if window < 2 * interval:
        section.refuse(["interval_seconds"], _window_problem(window, interval))
    staleness = section.get("staleness_limit_seconds", values.interval, default.staleness_limit_seconds)
    if staleness < 2 * interval:
        section.refuse(["staleness_limit_seconds", "interval_seconds"], _staleness_problem(staleness, interval))
    own = section.get("dialects", dialects, default.dialects)
    names = tuple(dict.fromkeys((*DIALECT_NAMES, *(each.name for each in own))))
    return ScrapeSettings(
        interval,
        timeout,
        staleness,
        section.get("max_page_bytes", values.byte_count, default.max_page_bytes),
        section.get("dialect", values.one_of(names), default.dialect),
        section.get("scheme", values.one_of(_SCHEMES), default.scheme),
        section.get("path", values.url_path, default.path),
        section.get("processes", _processes, default.processes),
        section.get("port", values.port, None),
        section.get("verify_tls", Field.boolean, default.verify_tls),
        section.get("engine_label", Field.text, None),
        own,
    )


def _processes(field: Field) -> int | Literal["auto"]:
    if field.is_text:
        field.choice(("auto",))
        return "auto"
    return field.integer(0, _MAX_PROCESSES)


def _staleness_problem(staleness: float, interval: float) -> str:
    return (
        f"the staleness limit of {staleness:g} s is less than 2 × the scrape interval of {interval:g} s: "
        "one late scrape would make every value unusable"
    )


def _window_problem(window: float, interval: float) -> str:
    return (
        f"the window of {window:g} s is less than 2 × the scrape interval of {interval:g} s: "
        "it would never hold two scrapes, which every rate needs"
    )


def _pace(section: Section, default_interval: float) -> tuple[float, float]:
    """Interval and timeout of a scrape, the timeout shorter: one scrape is over before the next is due."""
    interval = section.get("interval_seconds", values.interval, default_interval)
    timeout = section.get("timeout_seconds", values.positive, _TIMEOUT_SHARE * interval)
    if timeout >= interval:
        section.refuse(["timeout_seconds"], f"expected less than interval_seconds ({interval:g}), got {timeout:g}")
    return interval, timeout


def _dcgm(field: Field) -> DcgmSettings:
    section = Section(field, DcgmSettings)
    interval, timeout = _pace(section, DcgmSettings().interval_seconds)
    longest = GPU_STALENESS_SECONDS / 2
    if interval > longest:
        section.refuse(
            ["interval_seconds"],
            f"expected at most {longest:g}, got {interval:g}: GPU values are used for {GPU_STALENESS_SECONDS:g} s",
        )
    return DcgmSettings(section.get("targets", _urls, ()), section.get("pods", _dcgm_pods, None), interval, timeout)


def _dcgm_pods(field: Field) -> DcgmPods:
    section = Section(field, DcgmPods, required=["namespace", "labels"])
    labels = names.labels(section.given["labels"])
    if not labels:
        section.refuse(["labels"], "expected at least one label")
    return DcgmPods(names.namespace(section.given["namespace"]), labels, section.get("port", values.port, 9400))


def _urls(field: Field) -> tuple[str, ...]:
    found: list[str] = []
    for item in field.items():
        url = values.url(item)
        if url in found:
            item.refuse(f"{quoted(url)} is given twice")
        found.append(url)
    return tuple(found)


def _pools(field: Field, scrape: ScrapeSettings) -> Mapping[ObjectKey, PoolOverrides]:
    return MappingProxyType(
        {names.object_key_of(key, value): _pool(value, scrape) for key, value in field.entries().items()}
    )


def _pool(field: Field, scrape: ScrapeSettings) -> PoolOverrides:
    section = Section(field, PoolOverrides)
    staleness = section.get("staleness_limit_seconds", values.interval, None)
    if staleness is not None and staleness < 2 * scrape.interval_seconds:
        section.refuse(["staleness_limit_seconds"], _staleness_problem(staleness, scrape.interval_seconds))
    window = section.get("window_seconds", values.interval, None)
    if window is not None and window < 2 * scrape.interval_seconds:
        section.refuse(["window_seconds"], _window_problem(window, scrape.interval_seconds))
    saturation = section.given.get("saturation")
    return PoolOverrides(
        staleness,
        window,
        None if saturation is None else _saturation(saturation),
        None if saturation is None else saturation.place,
    )


def _saturation(field: Field) -> SaturationSettings:
    section = Section(field, SaturationSettings)
    default = SaturationSettings()
    kind = values.one_of(tuple(kind.value for kind in SaturationKind))
    return SaturationSettings(
        SaturationKind(section.get("kind", kind, default.kind.value)),
        section.get("queue_depth_threshold", values.positive, default.queue_depth_threshold),
        section.get("kv_utilization_threshold", values.ratio, default.kv_utilization_threshold),
        section.get("max_in_flight_requests", values.positive, default.max_in_flight_requests),
        section.get("max_in_flight_tokens", values.positive, default.max_in_flight_tokens),
    )


def _metrics(field: Field) -> tuple[FormulaSettings, ...]:
    found: list[FormulaSettings] = []
    for item in field.items():
        found.append(_formula(item))
        try:
            MetricTable.of(found)
        except FormulaError as error:
            item.refuse(str(error))
    return tuple(found)


def _formula(field: Field) -> FormulaSettings:
    section = Section(field, FormulaSettings, required=["name", "formula"])
    default = FormulaSettings("", "")
    aggregations = tuple(each.value for each in FORMULA_AGGREGATIONS)
    return FormulaSettings(
        section.given["name"].text(),
        section.given["formula"].text(),
        section.get("unit", lambda unit: unit.text(empty=True), default.unit),
        section.get("meaning", Field.text, default.meaning),
        Aggregation(section.get("aggregation", values.one_of(aggregations), default.aggregation.value)),
    )


def _picker(field: Field, base: Path) -> PickerSettings:
    section = Section(field, PickerSettings)
    default = PickerSettings()
    config_file = section.get("config_file", values.file_path(base), None)
    if config_file is not None:
        section.refuse(["preset"], "give either preset or config_file, not both")
    return PickerSettings(
        listen=section.get("listen", values.listen, default.listen),
        health_listen=section.get("health_listen", values.listen, None),
        pool=section.get("pool", names.object_key, None),
        preset=section.get("preset", _preset, default.preset if config_file is None else None),
        config_file=config_file,
        error_format=section.get("error_format", values.one_of(_ERROR_FORMATS), default.error_format),
        max_body_bytes=section.get("max_body_bytes", values.byte_count, default.max_body_bytes),
        destinations=section.get("destinations", _destinations, default.destinations),
        unknown_models=section.get("unknown_models", values.one_of(_UNKNOWN_MODELS), default.unknown_models),
        unknown_load=section.get("unknown_load", values.one_of(_UNKNOWN_LOAD), default.unknown_load),
        emit_endpoint_scores=section.get("emit_endpoint_scores", Field.boolean, default.emit_endpoint_scores),
        tls=section.get("tls", values.picker_tls_files(base), None),
        drain_timeout_seconds=section.get("drain_timeout_seconds", values.seconds, default.drain_timeout_seconds),
        drain_notice_seconds=section.get("drain_notice_seconds", values.seconds, default.drain_notice_seconds),
        transport=section.get("transport", values.one_of(_TRANSPORTS), default.transport),
        subset_hints=section.get("subset_hints", Field.boolean, default.subset_hints),
        any_health_service=section.get("any_health_service", Field.boolean, default.any_health_service),
        ready_without_endpoints=section.get("ready_without_endpoints", Field.boolean, default.ready_without_endpoints),
        trusted_headers=section.get("trusted_headers", _trusted_headers, default.trusted_headers),
        unknown_objectives=section.get(
            "unknown_objectives", values.one_of(_UNKNOWN_OBJECTIVES), default.unknown_objectives
        ),
    )


def _trusted_headers(field: Field) -> tuple[str, ...]:
    read: Callable[[Field], str] = values.one_of(TRUSTABLE)
    found: list[str] = []
    for item in field.items():
        name = item.text().lower()
        if name not in TRUSTABLE:
            name = read(item)
        if name in found:
            item.refuse(f"{quoted(name)} is given twice")
        found.append(name)
    return tuple(found)


def _preset(field: Field) -> Preset:
    read: Callable[[Field], Preset] = values.one_of(_PRESETS)
    return read(field)


def _destinations(field: Field) -> int:
    return field.integer(1, _MAX_DESTINATIONS)


def _adapter(field: Field, base: Path, kubernetes: KubernetesSettings | None) -> AdapterSettings:
    section = Section(field, AdapterSettings)
    default = AdapterSettings()
    loopback = values.loopback("without Kubernetes nobody vouches for who asks the adapter")
    if kubernetes is None:
        section.refuse(["ca"], "there is no cluster to write it to; configure kubernetes")
    tls = section.get("tls", values.tls_files(base), None)
    if tls is None:
        section.refuse(["ca"], "goes with a given certificate (tls); the adapter writes its own CA by itself")
    return AdapterSettings(
        section.get("listen", loopback if kubernetes is None else values.listen, default.listen),
        section.get("service", names.object_key, default.service),
        tls,
        section.get("ca", values.file_path(base), None),
        section.get("max_in_flight", _in_flight, default.max_in_flight),
    )


def _in_flight(field: Field) -> int:
    return field.integer(1, _MAX_IN_FLIGHT)


def _telemetry(field: Field) -> TelemetrySettings:
    section = Section(field, TelemetrySettings)
    listen = values.loopback("/debug/snapshot answers anyone who can connect")
    default = TelemetrySettings()
    return TelemetrySettings(
        section.get("listen", listen, default.listen),
        section.get("reference_names", Field.boolean, default.reference_names),
    )


def _log(field: Field) -> LogSettings:
    section = Section(field, LogSettings)
    default = LogSettings()
    return LogSettings(
        section.get("level", values.one_of(_LOG_LEVELS), default.level),
        section.get("format", values.one_of(_LOG_FORMATS), default.format),
    )


def _check_listeners(config: ServeConfig, root: Field) -> None:
    """Refuse one address for two servers: the second to start would find the port taken."""
    taken: dict[str, str] = {}
    for path, address in (
        ("picker.listen", config.picker.listen),
        ("picker.health_listen", config.picker.health_listen),
        ("adapter.listen", config.adapter.listen),
        ("telemetry.listen", config.telemetry.listen),
    ):
        if address is None or not address.port:
            continue
        if str(address) in taken:
            raise ConfigError(root.source, path, f"{address} is also {taken[str(address)]}; give each its own port")
        taken[str(address)] = path
