"""The section ``prometheus`` of the configuration: servers, and what is asked of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from infscale.documents import values
from infscale.documents.section import Files, Section
from infscale.documents.strict_document import Field
from infscale.prometheus.query_settings import QuerySettings, queries
from infscale.prometheus.server_settings import ServerSettings, servers


@dataclass(frozen=True, slots=True)
class AdapterRulesSettings:
    """The file of prometheus-adapter's rules, and how they are evaluated.

    `relist_seconds` is how often series are discovered, among those of the last `series_seconds`. What is asked for is
    evaluated every `interval_seconds`. A value is used until its sample is `staleness_limit_seconds` old.
    """

    file: Path
    server: str = ""
    relist_seconds: float = 60.0
    series_seconds: float = 600.0
    interval_seconds: float = 10.0
    staleness_limit_seconds: float = 90.0


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """The whole section; without servers nothing is asked."""

    servers: Mapping[str, ServerSettings] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    adapter_rules: AdapterRulesSettings | None = None
    queries: tuple[QuerySettings, ...] = ()


def prometheus(files: Files) -> Callable[[Field], PrometheusSettings]:
    """A reader of the section."""

    def read(given: Field) -> PrometheusSettings:
        section = Section(given, PrometheusSettings, required=["servers"])
        found = section.attempt("servers", servers(files)).or_else(MappingProxyType[str, ServerSettings]({}))
        names = tuple(found) if section.sound("servers") else None
        rules = section.get("adapter_rules", lambda each: _adapter_rules(each, files, names), None)
        no_queries: tuple[QuerySettings, ...] = ()
        asked = section.get("queries", queries(lambda each: server_name(each, names)), no_queries)
        return PrometheusSettings(found, rules, asked)

    return read


def server_name(section: Section, names: tuple[str, ...] | None) -> str:
    """Which of the servers (None: they are refused) a section means; the only one unless it names one."""
    if "server" in section.given:
        return section.get("server", Field.text if names is None else values.one_of(names), "")
    return _only(section.field, names)


def _only(field: Field, names: tuple[str, ...] | None) -> str:
    if names is not None and len(names) > 1:
        field.refuse("there are several servers: name one of them in server")
    return names[0] if names else ""


def _adapter_rules(field: Field, files: Files, names: tuple[str, ...] | None) -> AdapterRulesSettings:
    if field.is_text:
        return AdapterRulesSettings(files.path(field), _only(field, names))
    section = Section(field, AdapterRulesSettings, required=["file"])
    default = AdapterRulesSettings(Path())
    file = section.attempt("file", files.path)
    interval = section.get("interval_seconds", values.interval, default.interval_seconds)
    staleness = section.get("staleness_limit_seconds", values.interval, default.staleness_limit_seconds)
    if staleness < 2 * interval and section.sound("interval_seconds", "staleness_limit_seconds"):
        problem = f"expected at least 2 × interval_seconds ({interval:g}), got {staleness:g}"
        section.refuse(["staleness_limit_seconds", "interval_seconds"], problem)
    return AdapterRulesSettings(
        file.value,
        server_name(section, names),
        section.get("relist_seconds", values.interval, default.relist_seconds),
        section.get("series_seconds", values.interval, default.series_seconds),
        interval,
        staleness,
    )
