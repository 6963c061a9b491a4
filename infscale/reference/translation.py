"""From the reference endpoint picker's flags to a `ServeConfig`: pure, so that what they mean is a table of tests."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from infscale.client_headers import TRUSTABLE
from infscale.config.settings import (
    DiscoverySettings,
    KubernetesDiscoverySettings,
    KubernetesSettings,
    ListenAddress,
    LogFormat,
    LogLevel,
    LogSettings,
    PickerSettings,
    PickerTlsFiles,
    Preset,
    ServeConfig,
    TelemetrySettings,
    TlsVersion,
)
from infscale.discovery import names
from infscale.discovery.objects import LEGACY_GROUP, POOL_GROUP
from infscale.documents.strict_document import quoted
from infscale.documents.values import MAX_SECONDS
from infscale.endpoint import ObjectKey, OnlyPool, Pool
from infscale.errors import SelectorError
from infscale.labels import Selector
from infscale.reference import flags as reference_flags
from infscale.reference.go_flags import Flags, refuse
from infscale.reference.scraping_translation import scrape_settings
from picker.epp_config.discovery_source import FileSource

DEFAULT_POOL_NAME = "epp"

IPV4_ADDRESSES = "0.0.0.0"
"""Every address of a machine without IPv6."""

_LOOPBACK = "127.0.0.1"
_CONFORMANCE = "INFSCALE_CONFORMANCE"
_MAX_TARGET_PORTS = 8
_DEBUG_VERBOSITY = 4
_MAX_VERBOSITY = 1000
# A Deployment's pods are named after it, its ReplicaSet and themselves.
_DEPLOYMENT_POD = re.compile(r"(.+)-[a-z0-9]{1,10}-[a-z0-9]{5}")
_TLS_VERSIONS: Mapping[str, TlsVersion] = MappingProxyType(
    {"": "1.2", "VersionTLS12": "1.2", "1.2": "1.2", "VersionTLS13": "1.3", "1.3": "1.3"}
)
_GROUPS: Mapping[str, str] = MappingProxyType({"": POOL_GROUP, POOL_GROUP: POOL_GROUP, LEGACY_GROUP: LEGACY_GROUP})
_LOG_FORMATS: Mapping[str, LogFormat | None] = MappingProxyType({"": None, "json": "json", "console": "text"})
_LOG_LEVELS: Mapping[str, LogLevel] = MappingProxyType({"debug": "debug", "info": "info", "error": "error"})


@dataclass(frozen=True, slots=True)
class Translation:
    """The configuration that the flags amount to.

    With `self_signed` the picker is to serve TLS with a certificate of its own making, which `config` cannot name yet.
    `notes` are lines for the log.
    """

    config: ServeConfig
    self_signed: bool
    notes: tuple[str, ...]


def translate(
    flags: Flags, environment: Mapping[str, str], source: FileSource | None, every_address: str = IPV4_ADDRESSES
) -> Translation:
    """What `flags` mean in `environment`; `source` is the endpoints file that the `EndpointPickerConfig` names.

    `every_address` is the host that means every address of the machine. Raises `ConfigError` that names the flag.
    """
    if flags.text("config-file") and flags.text("config-text"):
        refuse("config-text", "does not go with --config-file; give one of them")
    namespace = _namespace(flags, environment)
    if source is not None:
        pool, discovery, cluster = _from_file(flags, namespace, source)
    else:
        pool, discovery = _from_cluster(flags, namespace, environment)
        cluster = _cluster(flags, environment)
    telemetry, notes = _telemetry(flags, cluster is not None, every_address)
    secure = flags.boolean("secure-serving", True)
    config = ServeConfig(
        discovery,
        cluster,
        scrape=scrape_settings(flags),
        picker=_picker(flags, pool, secure, every_address, _preset(flags, environment)),
        telemetry=telemetry,
        log=_log(flags),
    )
    _check_ports(config)
    return Translation(config, secure and config.picker.tls is None, (*reference_flags.notes(flags), *notes))


# Where endpoints come from


def _namespace(flags: Flags, environment: Mapping[str, str]) -> str:
    namespace = flags.text("pool-namespace") or environment.get("NAMESPACE") or "default"
    if not names.is_namespace(namespace):
        refuse("pool-namespace", f"expected a namespace: at most 63 of a–z, 0–9 and '-', got {quoted(namespace)}")
    return namespace


def _pool_name(flags: Flags) -> str:
    name = flags.text("pool-name")
    if name and not names.is_name(name):
        refuse("pool-name", f"expected the name of an InferencePool, got {quoted(name)}")
    return name


def _from_file(
    flags: Flags, namespace: str, source: FileSource
) -> tuple[ObjectKey, DiscoverySettings, KubernetesSettings | None]:
    for name in ("endpoint-selector", "endpoint-target-ports"):
        if flags.text(name):
            refuse(name, f"does not go with file-discovery ({source.place})")
    pool = ObjectKey(namespace, _pool_name(flags) or DEFAULT_POOL_NAME)
    return pool, DiscoverySettings(source.path, default_pool=pool, watch=source.watch, any_namespace=True), None


def _from_cluster(flags: Flags, namespace: str, environment: Mapping[str, str]) -> tuple[ObjectKey, DiscoverySettings]:
    selector = flags.text("endpoint-selector")
    name = _pool_name(flags)
    if selector and name:
        refuse("endpoint-selector", "does not go with --pool-name; give one of them")
    if not selector and not name:
        refuse("pool-name", "expected the InferencePool to follow, or --endpoint-selector instead of it")
    if selector:
        only = _selected(flags, namespace, _selector(selector), environment)
    else:
        if flags.text("endpoint-target-ports"):
            refuse("endpoint-target-ports", "goes with --endpoint-selector; an InferencePool has its own ports")
        group = flags.one_of("pool-group", _GROUPS, f"{POOL_GROUP} or {LEGACY_GROUP}")
        only = OnlyPool(ObjectKey(namespace, name), group)
    # The reference writes no status, and its rights do not allow it.
    follow = KubernetesDiscoverySettings((namespace,), write_status=False, only=only)
    return only.key, DiscoverySettings(kubernetes=follow)


def _selector(text: str) -> Selector:
    try:
        return Selector.parse(text)
    except SelectorError as error:
        refuse("endpoint-selector", str(error))


def _selected(flags: Flags, namespace: str, selector: Selector, environment: Mapping[str, str]) -> OnlyPool:
    ports = flags.ports("endpoint-target-ports")
    if not 1 <= len(ports) <= _MAX_TARGET_PORTS:
        refuse("endpoint-target-ports", f"expected 1 to {_MAX_TARGET_PORTS} ports, such as 8000, got {len(ports)}")
    found = _DEPLOYMENT_POD.fullmatch(environment.get("POD_NAME", ""))
    key = ObjectKey(namespace, found[1] if found and names.is_name(found[1]) else DEFAULT_POOL_NAME)
    made = Pool(key, MappingProxyType({}), ports, own_ports=True, requirements=selector)
    return OnlyPool(key, POOL_GROUP, made)


def _cluster(flags: Flags, environment: Mapping[str, str]) -> KubernetesSettings:
    """In the order in which Kubernetes' own controllers look for one."""
    if text := flags.text("kubeconfig"):
        return KubernetesSettings(Path(text))
    if text := environment.get("KUBECONFIG", ""):
        if ":" in text:
            refuse("kubeconfig", "the variable KUBECONFIG names several files; name one")
        return KubernetesSettings(Path(text))
    home = environment.get("HOME", "")
    if "KUBERNETES_SERVICE_HOST" in environment or not home:
        return KubernetesSettings()
    return KubernetesSettings(Path(home) / ".kube" / "config")


# What runs


def _preset(flags: Flags, environment: Mapping[str, str]) -> Preset | None:
    """The preset that schedules; None where an `EndpointPickerConfig` does."""
    given = next((name for name in ("config-file", "config-text") if flags.text(name)), None)
    said = environment.get(_CONFORMANCE, "false")
    if said not in ("true", "false"):
        refuse("conformance", f"the variable {_CONFORMANCE} is to be true or false, got {quoted(said)}")
    conformance = flags.boolean("conformance", said == "true")
    if given is not None and conformance:
        refuse("conformance", f"does not go with --{given}; declare header-based-testing-filter there")
    if given is not None:
        return None
    return "conformance" if conformance else "reference"


def _picker(
    flags: Flags, pool: ObjectKey, secure: bool, every_address: str, scheduling: Preset | None
) -> PickerSettings:
    file, text = flags.text("config-file"), flags.text("config-text")
    drain = flags.duration("drain-timeout", 30.0)
    if drain > MAX_SECONDS:
        refuse("drain-timeout", f"expected at most {MAX_SECONDS:g} s, got {drain:g} s")
    return PickerSettings(
        listen=ListenAddress(every_address, flags.port("grpc-port", 9002)),
        health_listen=ListenAddress(every_address, flags.port("grpc-health-port", 9003)),
        pool=pool,
        preset=scheduling,
        config_file=Path(file) if file else None,
        config_text=text or None,
        error_format="reference",
        emit_endpoint_scores=flags.boolean("emit-endpoint-scores"),
        tls=_tls(flags) if secure else None,
        drain_timeout_seconds=drain,
        drain_notice_seconds=drain,
        subset_hints=not flags.boolean("disable-endpoint-subset-filter"),
        ready_without_endpoints=True,
        any_health_service=True,
        trusted_headers=TRUSTABLE,
        unknown_objectives="default",
    )


def _tls(flags: Flags) -> PickerTlsFiles | None:
    version = flags.one_of("tls-min-version", _TLS_VERSIONS, "VersionTLS12 or VersionTLS13")
    reload = flags.boolean("enable-cert-reload")
    if folder := flags.text("cert-path"):
        return PickerTlsFiles(Path(folder, "tls.crt"), Path(folder, "tls.key"), reload, version)
    if version != "1.2":
        refuse("tls-min-version", "goes with --cert-path in this version")
    return None


def _telemetry(flags: Flags, in_cluster: bool, every_address: str) -> tuple[TelemetrySettings, tuple[str, ...]]:
    port = flags.port("metrics-port", 9090)
    if not flags.boolean("metrics-endpoint-auth", True):
        return TelemetrySettings(ListenAddress(every_address, port), reference_names=True), ()
    if in_cluster:
        return TelemetrySettings(ListenAddress(every_address, port), reference_names=True, ask_cluster=True), ()
    note = (
        "/metrics listens on loopback only: there is no cluster to authorize readers; "
        "with --metrics-endpoint-auth=false every reader is answered"
    )
    return TelemetrySettings(ListenAddress(_LOOPBACK, port), reference_names=True), (note,)


def _log(flags: Flags) -> LogSettings:
    given = flags.one_of("zap-encoder", _LOG_FORMATS, "json or console")
    style: LogFormat = given or ("text" if flags.boolean("zap-devel") else "json")
    level: LogLevel = "debug" if flags.integer("v", 2, 0, _MAX_VERBOSITY) >= _DEBUG_VERBOSITY else "info"
    if "zap-log-level" in flags:
        named = _LOG_LEVELS.get(flags.text("zap-log-level"))
        level = named or _numbered(flags)
    return LogSettings(level, style)


def _numbered(flags: Flags) -> LogLevel:
    if not flags.text("zap-log-level").isdigit():
        got = quoted(flags.text("zap-log-level"))
        refuse("zap-log-level", f"expected debug, info, error or a number, got {got}")
    number = flags.integer("zap-log-level", 2, 0, _MAX_VERBOSITY)
    return "debug" if number >= _DEBUG_VERBOSITY else "info"


def _check_ports(config: ServeConfig) -> None:
    """Refuse one port for two servers: the second to start would find it taken."""
    taken: dict[int, str] = {}
    health = config.picker.health_listen
    ports = {
        "grpc-port": config.picker.listen.port,
        "grpc-health-port": health.port if health else 0,
        "metrics-port": config.telemetry.listen.port,
    }
    for name, port in ports.items():
        if port in taken:
            refuse(name, f"{port} is also --{taken[port]}; give each its own port")
        if port:
            taken[port] = name


def with_certificate(config: ServeConfig, certificate: Path, key: Path) -> ServeConfig:
    """`config` with the picker serving TLS from these files."""
    return replace(config, picker=replace(config.picker, tls=PickerTlsFiles(certificate, key)))
