"""From the text of the configuration file to a `ServeConfig`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from infscale.client_headers import TRUSTABLE
from infscale.config import declared_objects, listeners
from infscale.config.configured_dialects import dialects
from infscale.config.explain_settings import explain_settings
from infscale.config.fallback_settings import Fallbacks, fallback_settings
from infscale.config.flow_control_settings import FlowControlSettings, flow_control_settings
from infscale.config.record_settings import record_settings
from infscale.config.settings import (
    AdapterSettings,
    DiscoverySettings,
    ErrorFormat,
    ForwardSettings,
    KedaSettings,
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
from infscale.config.shadow_settings import shadow_settings
from infscale.discovery import names
from infscale.documents import values
from infscale.documents.section import Files, Section
from infscale.documents.strict_document import Field, load, whole
from infscale.documents.watched_file import MAX_FILE_BYTES, Look, unreadable
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError, FormulaError
from infscale.metrics.pages.dialects import DIALECTS
from infscale.metrics.published.metric_table import FORMULA_AGGREGATIONS, FormulaSettings, MetricTable
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from infscale.prometheus.prometheus_settings import PrometheusSettings, prometheus
from infscale.prometheus.query_settings import QuerySettings
from infscale.sources.known_sources import SOURCES

DIALECT_NAMES = ("auto", *DIALECTS)

_MAX_DESTINATIONS = 8
# An API server gives up after half a minute at the latest.
_MAX_FORWARD_SECONDS = 30.0
_MAX_IN_FLIGHT = 100_000
_MAX_PROCESSES = 64

_MOST_CONNECTIONS = 100_000
_CONNECTIONS = values.whole(1, _MOST_CONNECTIONS)


def load_config(path: Path) -> ServeConfig:
    """The configuration in the file at `path`; raises `ConfigError`. It blocks and is meant for the start-up."""
    root, files = load(read_text(path), str(path)), Files(path.parent)
    return whole(root, lambda field: read_with_files(field, files))


def read_with_files(root: Field, files: Files) -> ServeConfig:
    """The configuration that `root` writes; files that cannot be read are refused where they are named. It blocks."""
    attempt = root.attempt(lambda field: _read(field, files))
    for field, named in files.named:
        problem = unreadable(named)
        if problem is not None:
            field.report(f"{named} {problem}")
    return attempt.value


def read_text(path: Path) -> str:
    """The text of a file that the configuration consists of; raises `ConfigError`. It blocks."""
    try:
        # Not only a regular file: a shell may hand over a pipe.
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror or error}") from error
    return Look.of(content).text(str(path))


def read_config(root: Field, base: Path) -> ServeConfig:
    """The configuration that `root` writes; relative paths start at `base`.

    Raises `ConfigError` with everything that is wrong.
    """
    return whole(root, lambda field: _read(field, Files(base)))


def _read(root: Field, files: Files) -> ServeConfig:
    section = Section(root, ServeConfig, required=["discovery"], more=[kind.key for kind in SOURCES])
    unscraped: tuple[ScrapeSettings, float | None] = ScrapeSettings(), ScrapeSettings().interval_seconds
    scrape, interval = section.get("scrape", _scrape, unscraped)
    discovery = section.attempt("discovery", lambda field: _discovery(field, files))
    # Without a named cluster the one that infscale runs in is meant.
    clustered = "kubernetes" in section.given["discovery"].attempt(Field.entries).or_else({})
    implied = KubernetesSettings() if clustered else None
    kubernetes = section.get("kubernetes", lambda field: _kubernetes(field, files), implied)
    has_cluster = clustered or "kubernetes" in section.given
    sources = {kind.key: section.get(kind.key, partial(kind.read, files=files), kind.default()) for kind in SOURCES}
    no_pools: Mapping[ObjectKey, PoolOverrides] = MappingProxyType({})
    pools = section.get("pools", lambda field: _pools(field, interval), no_pools)
    no_metrics: tuple[FormulaSettings, ...] = ()
    asked = section.get("prometheus", prometheus(files), PrometheusSettings())
    metrics = section.get("metrics", lambda field: _metrics(field, asked.queries), no_metrics)
    picker = section.get("picker", lambda field: _picker(field, files), PickerSettings())
    adapter = section.get("adapter", lambda field: _adapter(field, files, has_cluster), AdapterSettings())
    keda = section.get("keda", lambda field: _keda(field, files), None)
    telemetry = section.get("telemetry", _telemetry, TelemetrySettings())
    log = section.get("log", _log, LogSettings())
    for key, source in sources.items():
        if source.pods is not None and not discovery.refused and not clustered:
            found = section.given[key].entries()["pods"]
            found.report("pods are found with discovery.kubernetes only; list targets")
    config = ServeConfig(
        discovery.value, kubernetes, scrape, sources, pools, metrics, picker, adapter, keda, telemetry, log, asked
    )
    _check_listeners(config, section.given)
    return config


def _discovery(field: Field, files: Files) -> DiscoverySettings:
    section = Section(field, DiscoverySettings)
    default = DiscoverySettings()
    file = section.get("file", files.path, None)
    kubernetes = section.get("kubernetes", _kubernetes_discovery, None)
    if "file" not in section.given and "kubernetes" not in section.given:
        field.refuse("give file or kubernetes: where endpoints come from")
    if "kubernetes" in section.given:
        section.refuse(["file"], "give either file or kubernetes, not both")
        section.refuse(["poll_interval_seconds", "default_pool", "watch"], "goes with file, not with kubernetes")
    return DiscoverySettings(
        file,
        kubernetes,
        section.get("poll_interval_seconds", values.interval, default.poll_interval_seconds),
        section.get("default_pool", names.object_key, default.default_pool),
        section.get("watch", Field.boolean, default.watch),
    )


def _kubernetes(field: Field, files: Files) -> KubernetesSettings:
    section = Section(field, KubernetesSettings)
    if "context" in section.given and "kubeconfig" not in section.given:
        section.refuse(["context"], "a context is one of a kubeconfig: give that too")
    return KubernetesSettings(section.get("kubeconfig", files.path, None), section.get("context", Field.text, None))


def _kubernetes_discovery(field: Field) -> KubernetesDiscoverySettings:
    section = Section(field, KubernetesDiscoverySettings)
    default = KubernetesDiscoverySettings()
    namespaces = section.get("namespaces", _namespaces, default.namespaces)
    pools = section.get("pools", declared_objects.pools, default.pools)
    for each in pools:
        if namespaces and section.sound("namespaces") and each.name.namespace not in namespaces:
            section.refuse(["pools"], f"the namespace of the pool {each.name} is not among those that are followed")
    return KubernetesDiscoverySettings(
        namespaces,
        section.get("write_status", Field.boolean, default.write_status),
        pools,
        section.get("workloads", declared_objects.workloads, default.workloads),
        section.get("drain_cordoned", Field.boolean, default.drain_cordoned),
    )


def _namespaces(field: Field) -> tuple[str, ...]:
    if not field.items():
        field.refuse("expected at least one namespace; leave the key out to follow all")
    return values.different(field, names.namespace)


def _scrape(field: Field) -> tuple[ScrapeSettings, float | None]:
    """The settings, and the interval once more, None where it is refused."""
    section = Section(field, ScrapeSettings)
    default = ScrapeSettings()
    interval, timeout = values.pace(section, default.interval_seconds)
    window = PoolSettings().window_seconds
    staleness = section.get("staleness_limit_seconds", values.interval, default.staleness_limit_seconds)
    judged = section.sound("interval_seconds", "staleness_limit_seconds")
    if window < 2 * interval:
        section.refuse(["interval_seconds"], _window_problem(window, interval))
    elif staleness < 2 * interval and judged:
        section.refuse(["staleness_limit_seconds", "interval_seconds"], _staleness_problem(staleness, interval))
    own = section.get("dialects", dialects, default.dialects)
    known = values.one_of(tuple(dict.fromkeys((*DIALECT_NAMES, *(each.name for each in own)))))
    # Where the list is refused, its names are not known.
    dialect = known if section.sound("dialects") else Field.text
    settings = ScrapeSettings(
        interval,
        timeout,
        staleness,
        section.get("max_page_bytes", values.byte_count, default.max_page_bytes),
        section.get("dialect", dialect, default.dialect),
        section.get("scheme", values.one_of(get_args(Scheme)), default.scheme),
        section.get("path", values.url_path, default.path),
        section.get("processes", _processes, default.processes),
        section.get("port", values.port, None),
        section.get("verify_tls", Field.boolean, default.verify_tls),
        section.get("engine_label", Field.text, None),
        own,
        section.get("model_lists", Field.boolean, default.model_lists),
    )
    return settings, interval if section.sound("interval_seconds") else None


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


def _pools(field: Field, interval: float | None) -> Mapping[ObjectKey, PoolOverrides]:
    found: dict[ObjectKey, PoolOverrides] = {}
    for name, value in field.entries().items():
        key = value.attempt(partial(names.object_key_of, name))
        overrides = value.attempt(lambda each: _pool(each, interval))
        if not key.refused and not overrides.refused:
            found[key.value] = overrides.value
    return MappingProxyType(found)


def _pool(field: Field, interval: float | None) -> PoolOverrides:
    section = Section(field, PoolOverrides)
    staleness = section.get("staleness_limit_seconds", values.interval, None)
    if staleness is not None and interval is not None and staleness < 2 * interval:
        section.refuse(["staleness_limit_seconds"], _staleness_problem(staleness, interval))
    window = section.get("window_seconds", values.interval, None)
    if window is not None and interval is not None and window < 2 * interval:
        section.refuse(["window_seconds"], _window_problem(window, interval))
    saturation = section.get("saturation", _saturation, None)
    return PoolOverrides(staleness, window, saturation, section.given["saturation"].place if saturation else None)


def _saturation(field: Field) -> SaturationSettings:
    section = Section(field, SaturationSettings)
    default = SaturationSettings()
    return SaturationSettings(
        section.get("kind", values.member(SaturationKind), default.kind),
        section.get("queue_depth_threshold", values.positive, default.queue_depth_threshold),
        section.get("kv_utilization_threshold", values.ratio, default.kv_utilization_threshold),
        section.get("max_in_flight_requests", values.positive, default.max_in_flight_requests),
        section.get("max_in_flight_tokens", values.positive, default.max_in_flight_tokens),
    )


def _metrics(field: Field, queries: Sequence[QuerySettings]) -> tuple[FormulaSettings, ...]:
    found: list[FormulaSettings] = []

    def add(item: Field) -> None:
        formula = _formula(item)
        try:
            MetricTable.of([*found, formula], queries)
        except FormulaError as error:
            item.refuse(str(error))
        found.append(formula)

    field.each(add)
    return tuple(found)


def _formula(field: Field) -> FormulaSettings:
    section = Section(field, FormulaSettings, required=["name", "formula"])
    default = FormulaSettings("", "")
    name, formula = (section.attempt(key, Field.text) for key in ("name", "formula"))
    unit = section.get("unit", lambda unit: unit.text(empty=True), default.unit)
    meaning = section.get("meaning", Field.text, default.meaning)
    aggregation = section.get("aggregation", values.member(FORMULA_AGGREGATIONS), default.aggregation)
    return FormulaSettings(name.value, formula.value, unit, meaning, aggregation)


def _picker(field: Field, files: Files) -> PickerSettings:
    section = Section(field, PickerSettings)
    default = PickerSettings()
    config_file = section.get("config_file", files.path, None)
    if "config_file" in section.given:
        section.refuse(["preset"], "give either preset or config_file, not both")
    longest = section.get("max_body_bytes", values.byte_count, default.max_body_bytes)
    buffered = section.get("max_buffered_bytes", values.byte_count, max(default.max_buffered_bytes, longest))
    if buffered < longest:
        section.refuse(["max_buffered_bytes"], f"is less than max_body_bytes, {longest}: no such body could be taken")
    trusted = partial(values.different, read=_trusted_header)
    objectives = values.one_of(get_args(UnknownObjectives))
    flow = section.get("flow_control", flow_control_settings, default.flow_control)
    return PickerSettings(
        listen=section.get("listen", listeners.listen, default.listen),
        health_listen=section.get("health_listen", listeners.listen, None),
        pool=section.get("pool", names.object_key, None),
        preset=section.get("preset", values.one_of(get_args(Preset)), default.preset if config_file is None else None),
        config_file=config_file,
        error_format=section.get("error_format", values.one_of(get_args(ErrorFormat)), default.error_format),
        max_body_bytes=longest,
        max_buffered_bytes=buffered,
        body_timeout_seconds=section.get("body_timeout_seconds", values.positive, default.body_timeout_seconds),
        max_connections=section.get("max_connections", _CONNECTIONS, default.max_connections),
        max_peer_connections=section.get("max_peer_connections", _CONNECTIONS, default.max_peer_connections),
        destinations=section.get("destinations", values.whole(1, _MAX_DESTINATIONS), default.destinations),
        unknown_models=section.get("unknown_models", values.one_of(get_args(UnknownModels)), default.unknown_models),
        unknown_load=section.get("unknown_load", values.one_of(get_args(UnknownLoad)), default.unknown_load),
        emit_endpoint_scores=section.get("emit_endpoint_scores", Field.boolean, default.emit_endpoint_scores),
        tls=section.get("tls", listeners.picker_tls_files(files), None),
        drain_timeout_seconds=section.get("drain_timeout_seconds", values.seconds, default.drain_timeout_seconds),
        drain_notice_seconds=section.get("drain_notice_seconds", values.seconds, default.drain_notice_seconds),
        transport=section.get("transport", values.one_of(get_args(Transport)), default.transport),
        subset_hints=section.get("subset_hints", Field.boolean, default.subset_hints),
        any_health_service=section.get("any_health_service", Field.boolean, default.any_health_service),
        ready_without_endpoints=section.get("ready_without_endpoints", Field.boolean, default.ready_without_endpoints),
        trusted_headers=section.get("trusted_headers", trusted, default.trusted_headers),
        unknown_objectives=section.get("unknown_objectives", objectives, default.unknown_objectives),
        record=section.get("record", record_settings(files), None),
        flow_control=flow,
        explain=section.get("explain", explain_settings(files), default.explain),
        fallback=_fallback(section, flow),
        rollouts_file=section.get("rollouts_file", files.written, None),
        shadow=section.get("shadow", shadow_settings, None),
    )


def _fallback(picker: Section, flow: FlowControlSettings) -> Fallbacks | None:
    found = picker.get("fallback", fallback_settings, None)
    timed = any(each.after_seconds is not None for listed in (found or {}).values() for each in listed)
    if flow.enabled is False and timed and picker.sound("fallback", "flow_control"):
        picker.refuse(["fallback"], "after_seconds is for requests that wait, and flow_control.enabled is false")
    return found


def _trusted_header(field: Field) -> str:
    name = field.text().lower()
    return name if name in TRUSTABLE else field.choice(TRUSTABLE)


def _adapter(field: Field, files: Files, has_cluster: bool) -> AdapterSettings:
    section = Section(field, AdapterSettings)
    default = AdapterSettings()
    loopback = listeners.loopback("without Kubernetes the callers of the adapter are not checked")
    tls = section.get("tls", listeners.tls_files(files), None)
    if not has_cluster:
        section.refuse(["ca"], "there is no cluster to write it to; configure kubernetes")
        section.refuse(["forward"], "there is no cluster with another adapter; configure kubernetes")
    elif "tls" not in section.given:
        section.refuse(["ca"], "goes with a given certificate (tls); the adapter writes its own CA by itself")
    return AdapterSettings(
        section.get("listen", listeners.listen if has_cluster else loopback, default.listen),
        section.get("service", names.object_key, default.service),
        tls,
        section.get("ca", files.path, None),
        section.get("max_in_flight", values.whole(1, _MAX_IN_FLIGHT), default.max_in_flight),
        section.get("forward", _forward, None),
    )


def _forward(field: Field) -> ForwardSettings:
    section = Section(field, ForwardSettings)
    default = ForwardSettings()
    return ForwardSettings(
        section.get("timeout_seconds", _forward_seconds, default.timeout_seconds),
        section.get("max_bytes", values.byte_count, default.max_bytes),
    )


def _forward_seconds(field: Field) -> float:
    return field.number(values.MIN_INTERVAL_SECONDS, _MAX_FORWARD_SECONDS)


def _keda(field: Field, files: Files) -> KedaSettings:
    section = Section(field, KedaSettings)
    default = KedaSettings()
    streams = section.get("max_streams", _CONNECTIONS, default.max_streams)
    of_peer = section.get("max_peer_streams", _CONNECTIONS, min(default.max_peer_streams, streams))
    if of_peer > streams and section.sound("max_streams"):
        section.refuse(["max_peer_streams"], f"is more than max_streams, {streams}")
    return KedaSettings(
        section.get("listen", listeners.listen, default.listen),
        section.get("tls", listeners.keda_tls_files(files), None),
        section.get("activation_seconds", values.positive_seconds, default.activation_seconds),
        section.get("other_namespaces", Field.boolean, default.other_namespaces),
        streams,
        of_peer,
    )


def _telemetry(field: Field) -> TelemetrySettings:
    section = Section(field, TelemetrySettings)
    listen = listeners.loopback("/debug/snapshot answers anyone who can connect")
    default = TelemetrySettings()
    return TelemetrySettings(
        section.get("listen", listen, default.listen),
        section.get("reference_names", Field.boolean, default.reference_names),
    )


def _log(field: Field) -> LogSettings:
    section = Section(field, LogSettings)
    default = LogSettings()
    return LogSettings(
        section.get("level", values.one_of(get_args(LogLevel)), default.level),
        section.get("format", values.one_of(get_args(LogFormat)), default.format),
    )


def _check_listeners(config: ServeConfig, given: Mapping[str, Field]) -> None:
    """Refuse one address for two servers: the second to start would find the port taken."""
    taken: dict[str, str] = {}
    for part, key, address in (
        ("picker", "listen", config.picker.listen),
        ("picker", "health_listen", config.picker.health_listen),
        ("adapter", "listen", config.adapter.listen),
        ("keda", "listen", None if config.keda is None else config.keda.listen),
        ("telemetry", "listen", config.telemetry.listen),
    ):
        if address is None or not address.port:
            continue
        if str(address) in taken:
            # One of the two is given: the defaults differ.
            first = taken[str(address)]
            written = _given(given, part, key) or _given(given, *first.split(".")) or given["discovery"]
            other = f"{part}.{key}" if written.path == first else first
            written.report(f"{address} is also {other}; give each its own port")
        else:
            taken[str(address)] = f"{part}.{key}"


def _given(given: Mapping[str, Field], part: str, key: str) -> Field | None:
    return given[part].entries().get(key) if part in given else None
