"""What an `EndpointPickerConfig` says of scraping: its metrics source and its extractor of engines' metrics."""

from dataclasses import dataclass, replace
from functools import partial

from infscale.config.configured_dialects import metric_spec
from infscale.documents.problems import AlreadySaid
from infscale.documents.strict_document import Field, quoted
from infscale.documents.values import url_path
from infscale.metrics.pages.dialects import DIALECTS
from infscale.metrics.pages.written_dialects import NOT_GIVEN, EngineNames
from infscale.scrape.tls_trust import PageCertificates
from picker.epp_config.parameters import Given, Parameters, file_path, note, one_of

POOL_AVERAGES = "multicluster"
"""What the names are called by which a picker publishes averages of its pool."""

_MAX_PORT = 65535
_SCHEMES = ("http", "https")
_RESERVED = "default"
_CA, _CLIENT = "caCertPath", ("clientCertPath", "clientKeyPath")
_SPECS = (
    "queuedRequestsSpec",
    "runningRequestsSpec",
    "kvUsageSpec",
    "loraSpec",
    "cacheInfoSpec",
    "cacheBlockSizeSpec",
    "cacheNumBlocksSpec",
)
_LABELS = ("cacheBlockSizeLabelName", "cacheNumBlocksLabelName")
_AVERAGE_QUEUE, _AVERAGE_KV_CACHE = "llm_d_epp_average_queue_size", "llm_d_epp_average_kv_cache_utilization"
_COUNTED = "llm_d_epp_ready_endpoints"


@dataclass(frozen=True, slots=True)
class ScrapeWishes:
    """What is asked for; None: nothing is said of it. `source` and `extractor` are where the plugins are declared."""

    engines: tuple[EngineNames, ...] = ()
    default_engine: str | None = None
    engine_label: str | None = None
    extractor: str = ""
    scheme: str | None = None
    path: str | None = None
    port: int | None = None
    verify_tls: bool | None = None
    certificates: PageCertificates | None = None
    source: str = ""

    @property
    def of_pools(self) -> bool:
        """Whether pages are those of pickers, which publish averages of their pools."""
        return self.default_engine == POOL_AVERAGES

    @property
    def attributes(self) -> frozenset[str]:
        """Names of the numbers to read beside our metrics, of whatever engine."""
        return frozenset(name for each in self.engines for name in each.attributes)


NO_WISHES = ScrapeWishes()
"""A configuration that says nothing of scraping."""


Wished = tuple[ScrapeWishes, tuple[str, ...]]
"""What is asked for, and notes on what changes nothing."""


def read_source(given: Given, wishes: ScrapeWishes, *, clusters: bool = False) -> Wished:
    """`wishes` with what a metrics source says. Raises `ConfigError`.

    Pages of `clusters` come from afar: unless something else is said, over https with a certificate that is verified.
    """
    if wishes.source:
        given.declared.refuse(f"there is already a source of metrics pages ({wishes.source}); endpoints have one")
    known = given.read("families", "insecureSkipVerify", "interval", "path", "port", "scheme", _CA, *_CLIENT)
    notes = [
        note(field, f"has no effect here: {why}")
        for name, why in (("families", "only what is needed is read"), ("interval", "all is scraped at one interval"))
        if (field := known.get(name)) is not None
    ]
    scheme = known.get_as("scheme", partial(one_of, _SCHEMES), "https" if clusters else None)
    # The reference verifies no certificate of an endpoint unless it is told to; without https there is none.
    said = clusters or scheme is not None or known.get("insecureSkipVerify") is not None
    verify = not known.boolean("insecureSkipVerify", not clusters) if said else None
    ca = known.get(_CA)
    if ca is not None and verify is False:
        notes.append(note(ca, "has no effect: any certificate will do, as insecureSkipVerify has it"))
    port = known.integer("port", 0)
    if port > _MAX_PORT:
        known.required("port").refuse(f"expected at most {_MAX_PORT}, got {port}")
    found = replace(
        wishes,
        scheme=scheme,
        path=known.get_as("path", url_path, None),
        port=port or None,
        verify_tls=verify,
        certificates=_certificates(known),
        source=given.declared.place,
    )
    return found, tuple(notes)


def _certificates(known: Parameters) -> PageCertificates | None:
    """The files for https pages; None where none is given."""
    ca, client = known.get(_CA), tuple(known.get(name) for name in _CLIENT)
    if client != (None, None) and None in client:
        known.required(next(name for name in _CLIENT if known.get(name) is None)).text()
    given = tuple(file_path(field) for field in client if field is not None)
    if ca is None and not given:
        return None
    return PageCertificates(None if ca is None else file_path(ca), (given[0], given[1]) if given else None)


def read_extractor(given: Given, wishes: ScrapeWishes) -> Wished:
    """`wishes` with what an extractor says of engines. Raises `ConfigError`."""
    _refuse_second(given, wishes)
    known = given.read("defaultEngine", "engineConfigs", "engineLabelKey")
    listed = known.get("engineConfigs")
    engines: dict[str, EngineNames] = {}

    def add(item: Field) -> None:
        names = _engine(item)
        if names.name in engines:
            item.refuse(f"there is already an engine {quoted(names.name)}")
        engines[names.name] = names

    if listed is not None and len(listed.each(add)) < len(listed.items()):
        raise AlreadySaid(listed.place, listed.path, "some engines are refused")
    found = replace(
        wishes,
        engines=tuple(engines.values()),
        default_engine=known.get_as("defaultEngine", partial(one_of, (*engines, *DIALECTS)), None),
        engine_label=known.get_as("engineLabelKey", Field.text, None),
        extractor=given.declared.place,
    )
    return found, ()


def read_pool_extractor(given: Given, wishes: ScrapeWishes) -> Wished:
    """`wishes` with the names by which pickers publish averages of their pools. Raises `ConfigError`."""
    _refuse_second(given, wishes)
    known = given.read("kvCacheUtilizationMetric", "queueSizeMetric")
    queue = _spec_or(known.get("queueSizeMetric"), _AVERAGE_QUEUE)
    kv_cache = _spec_or(known.get("kvCacheUtilizationMetric"), _AVERAGE_KV_CACHE)
    # Of the pool that the labels of the spec name. The reference lets averages stand when the last endpoint is gone.
    _, brace, labels = queue.partition("{")
    names = EngineNames(
        POOL_AVERAGES,
        gauges=NOT_GIVEN._replace(waiting=queue, kv_utilization=kv_cache),
        members=f"{_COUNTED}{brace}{labels}",
    )
    return replace(wishes, engines=(names,), default_engine=POOL_AVERAGES, extractor=given.declared.place), ()


def _spec_or(field: Field | None, default: str) -> str:
    """A metric spec; an empty one is the default, as in the reference."""
    return default if field is None else metric_spec(field) or default


def _refuse_second(given: Given, wishes: ScrapeWishes) -> None:
    if wishes.extractor:
        given.declared.refuse(f"there is already an extractor of metrics ({wishes.extractor}); pages are read one way")


def _engine(field: Field) -> EngineNames:
    """One engine: its page has of these metrics only what is given; others are as the engine of that name has them."""
    entry = field.mapping(required=("name",), optional=("customMetrics", *_SPECS, *_LABELS))
    name = entry["name"].text()
    if name == _RESERVED:
        entry["name"].refuse(f"{_RESERVED!r} is reserved; choose another name")
    waiting, running, kv_utilization, lora, cache_info, block_size, num_blocks = (
        metric_spec(entry[key]) if key in entry else "" for key in _SPECS
    )
    default = EngineNames("")
    names = EngineNames(
        name=name,
        like=name if name in DIALECTS else None,
        gauges=NOT_GIVEN._replace(waiting=waiting, running=running, kv_utilization=kv_utilization),
        lora=lora,
        cache_info=cache_info,
        block_size=block_size,
        num_blocks=num_blocks,
        block_size_label=entry[_LABELS[0]].text() if _LABELS[0] in entry else default.block_size_label,
        num_blocks_label=entry[_LABELS[1]].text() if _LABELS[1] in entry else default.num_blocks_label,
        attributes=_attributes(entry["customMetrics"]) if "customMetrics" in entry else {},
    )
    try:
        names.dialect()
    except ValueError:
        field.refuse("expected queuedRequestsSpec or runningRequestsSpec: neither says how busy the engine is")
    return names


def _attributes(field: Field) -> dict[str, str]:
    """Metric specs by the names under which stages ask for their values."""
    found: dict[str, str] = {}
    for item in field.items():
        entry = item.mapping(required=("attributeKey", "metricSpec"))
        name = entry["attributeKey"].text()
        if name in found:
            entry["attributeKey"].refuse(f"there is already a metric {quoted(name)}")
        found[name] = metric_spec(entry["metricSpec"])
        if not found[name]:
            entry["metricSpec"].refuse("expected a metric's name, or name{label=value}")
    return found
