"""The `EndpointPickerConfig` loader: YAML in the reference's form, both API groups, read strictly, its defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from infscale.document import Field, load
from infscale.errors import ConfigError
from infscale.metrics.snapshot import PoolSettings
from picker.declared import Declared, DeclaredPlugin
from picker.discovery_source import FileSource, read_reference, read_source
from picker.parsing.table import DEFAULT_TYPES
from picker.prefix_index import PrefixSettings
from picker.presets import PRESETS
from picker.reporting import NO_REPORTING, Reporting
from picker.scheduling import registry
from picker.scheduling.detector import DEFAULT_DETECTOR, Detector, read_detector
from picker.scheduling.parameters import Given
from picker.scheduling.plugin import USUAL_PREDICTIONS, Admitter, Filter, Picker, PredictionSettings
from picker.scheduling.profile import Profile, WeightedScorer
from picker.scheduling.registry import BUILT_IN, Kind, Plugin, Plugins
from picker.scheduling.scheduler import HeaderProfileHandler, Scheduler, SingleProfileHandler
from picker.scheduling.stages import ProfileHandler, Screener
from picker.scraping import NO_WISHES, ScrapeWishes

API_VERSIONS = ("llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1")
DEFAULT_PARSERS = DEFAULT_TYPES
FEATURE_GATES = (
    "dataLayer",
    "enableLegacyMetrics",
    "flowControl",
    "HAPopulateNonLeaderDatastore",
    "prepareDataPlugins",
)

_FLOW_CONTROL_KEYS = (
    "defaultNegativePriorityBand",
    "defaultPriorityBand",
    "defaultRequestTTL",
    "enableEviction",
    "maxBytes",
    "maxRequests",
    "noEndpointRequestTTL",
    "priorityBands",
    "saturationDetector",
    "usageLimitPolicyPluginRef",
)
_DATA_LAYER_KEYS = (
    "crossReplicaSyncInterval",
    "crossReplicaSyncerPluginRef",
    "discovery",
    "injectDefaults",
    "peerDiscovery",
    "sources",
)

_STAGES = frozenset({Kind.FILTER, Kind.SCORER, Kind.FILTER_AND_SCORER, Kind.PICKER, Kind.DETECTOR})


@dataclass(frozen=True, slots=True)
class PickerConfig:
    """An `EndpointPickerConfig`, ready to run.

    `detector` None: the configuration says nothing about saturation. `screeners` narrow the candidates one after the
    other; then `admitters` are asked, and all have to admit. `stamps` are response headers, each with the label of who
    answered that it carries. `media_items` is how many media are remembered of each endpoint, 0 none. `notes` are lines
    for the start-up log about what is accepted but decided elsewhere. `plugins` are what the document declares.
    `discovery` is a file of endpoints; None: the configuration names none. `scraping` is what it says of engines'
    metrics pages, `reporting` what is to be told of responses, `predicting` how latencies are predicted.
    """

    scheduler: Scheduler
    admitters: tuple[Admitter, ...]
    prefix: PrefixSettings
    media_items: int
    parsers: tuple[str, ...]
    detector: Detector | None
    feature_gates: Mapping[str, bool]
    notes: tuple[str, ...]
    plugins: tuple[DeclaredPlugin, ...]
    discovery: FileSource | None = None
    scraping: ScrapeWishes = NO_WISHES
    reporting: Reporting = NO_REPORTING
    predicting: PredictionSettings = USUAL_PREDICTIONS
    screeners: tuple[Screener, ...] = ()
    stamps: tuple[tuple[str, str], ...] = ()

    def pool_settings(self, base: PoolSettings, declared_at: str | None) -> PoolSettings:
        """`base` judged by this configuration's saturation detector, for picker and adapter alike.

        `declared_at` is where `base` takes its saturation from, None when it is only a default. Raises `ConfigError`
        when both say something and they differ: a pool has one meaning of "saturated".
        """
        detector = self.detector
        if detector is None:
            return base
        if declared_at is not None and base.saturation != detector.saturation:
            problem = f"saturation differs from what {declared_at} says; remove one or make them equal"
            raise ConfigError(detector.place, detector.path, problem)
        limit = detector.staleness_limit_seconds or base.staleness_limit_seconds
        return replace(base, saturation=detector.saturation, staleness_limit_seconds=limit)


def load_picker_config(text: str, source: str, plugins: Plugins = BUILT_IN) -> PickerConfig:
    """The configuration in `text`, of the plugin types given; `source` is the file name errors show.

    Raises `ConfigError`.
    """
    return _Loader(load(text, source), plugins).config()


def preset(name: str) -> PickerConfig:
    """One of the shipped configurations (`PRESETS`)."""
    return load_picker_config(PRESETS[name], f"preset {name}")


class _Loader:
    """Reads one document."""

    def __init__(self, root: Field, plugins: Plugins) -> None:
        self._root = root
        self._fields = root.mapping(
            required=("apiVersion", "kind"),
            optional=(
                "dataLayer",
                "featureGates",
                "flowControl",
                "parser",
                "plugins",
                "requestHandler",
                "saturationDetector",
                "schedulingProfiles",
            ),
        )
        self._fields["apiVersion"].choice(API_VERSIONS)
        self._fields["kind"].choice(("EndpointPickerConfig",))
        self._types = plugins
        self._declared = Declared(self._items("plugins"), plugins)
        self._used_detectors: list[tuple[Field, Detector]] = []

    def config(self) -> PickerConfig:
        gates = self._gates()
        self._flow_control()
        discovery = self._data_layer()
        scheduler = self._scheduler()
        declared = self._declared
        return PickerConfig(
            scheduler,
            tuple(declared.admitters.values()),
            declared.prefix or PrefixSettings(),
            declared.media_items,
            self._parsers(),
            self._agreed_detector(),
            gates,
            tuple(declared.notes),
            declared.summary(),
            discovery,
            declared.scraping,
            declared.reporting,
            declared.predicting,
            tuple(declared.screeners.values()),
            declared.stamps,
        )

    # Scheduling

    def _scheduler(self) -> Scheduler:
        profiles = {profile.name: profile for profile in self._profiles()}
        handlers = self._declared.of_kind(Kind.HANDLER)
        if len(handlers) > 1:
            handlers[1].given.declared.refuse("there is already a profile handler; one runs all profiles")
        handler: ProfileHandler = SingleProfileHandler()
        if handlers:
            handler = self._declared.handlers[handlers[0].name]
            self._declared.use(handlers[0], "every request")
        if handlers and isinstance(handler, HeaderProfileHandler) and handler.default not in profiles:
            problem = f"there is no profile {handler.default!r} for requests without the header; give defaultProfile"
            handlers[0].given.declared.refuse(problem)
        one_only = not handlers or handlers[0].type == registry.DEFAULT_HANDLER
        if len(profiles) > 1 and one_only:
            problem = f"{registry.DEFAULT_HANDLER} runs exactly one profile, there are {len(profiles)}"
            self._fields["schedulingProfiles"].refuse(problem)
        return Scheduler(profiles, handler)

    def _profiles(self) -> Sequence[Profile]:
        declared = self._items("schedulingProfiles")
        if not declared:
            plugins = self._declared.plugins.values()
            everything = [(each.given.declared, each, 1.0) for each in plugins if each.kind in _STAGES]
            return (self._profile("default", everything),)
        profiles: dict[str, Profile] = {}
        for field in declared:
            entry = field.mapping(required=("name",), optional=("plugins",))
            name = entry["name"].text()
            if name in profiles:
                entry["name"].refuse(f"there is already a profile named {name!r}")
            stages_of = [self._stage(item) for item in entry["plugins"].items()] if "plugins" in entry else []
            profiles[name] = self._profile(name, stages_of)
        return tuple(profiles.values())

    def _stage(self, item: Field) -> tuple[Field, Plugin, float]:
        entry = item.mapping(required=("pluginRef",), optional=("weight",))
        weight = entry["weight"].number(0.0) if "weight" in entry else 1.0
        return entry["pluginRef"], self._declared.find(entry["pluginRef"]), weight

    def _profile(self, name: str, stages: Sequence[tuple[Field, Plugin, float]]) -> Profile:
        declared = self._declared
        filters: list[Filter] = []
        scorers: list[WeightedScorer] = []
        picker: Picker | None = None
        for reference, plugin, weight in stages:
            if plugin.kind is Kind.REPORTER:
                # The reference lets them stand there, and they speak of every response all the same.
                continue
            if plugin.kind not in _STAGES:
                article = "an" if plugin.kind is Kind.ADMITTER else "a"
                reference.refuse(f"{article} {plugin.kind.value} has no place in a profile")
            if plugin.kind is Kind.DETECTOR:
                self._used_detectors.append((reference, declared.detectors[plugin.name]))
            if plugin.kind is Kind.PICKER:
                if picker is not None:
                    reference.refuse("the profile already has a picker; it has exactly one")
                picker = declared.pickers[plugin.name]
            if plugin.name in declared.filters:
                filters.append(declared.filters[plugin.name])
            weighs = ""
            if plugin.name in declared.scorers:
                scorers.append(WeightedScorer(declared.scorers[plugin.name], weight))
                weighs = f" × {weight:g}"
            declared.use(plugin, f"profile {name}{weighs}")
        return Profile(name, tuple(filters), tuple(scorers), picker or self._default_picker(name))

    def _default_picker(self, profile: str) -> Picker:
        declared = self._declared.of_kind(Kind.PICKER)
        if declared:
            self._declared.use(declared[0], f"profile {profile}")
            return self._declared.pickers[declared[0].name]
        return self._types.pickers[registry.DEFAULT_PICKER](Given(self._root))

    # Everything around scheduling

    def _gates(self) -> dict[str, bool]:
        gates: dict[str, bool] = {}
        for field in self._items("featureGates"):
            name, equals, value = field.text().partition("=")
            if name not in FEATURE_GATES or (equals and value.lower() not in ("true", "false")):
                field.refuse(f"expected name or name=true|false with one of {', '.join(FEATURE_GATES)}")
            gates[name] = not equals or value.lower() == "true"
            if name == "flowControl" and gates[name]:
                field.refuse("flow control is not available in this version; remove the gate")
        return gates

    def _flow_control(self) -> None:
        for name in ("saturationDetector", "flowControl"):
            field = self._fields.get(name)
            if field is None:
                continue
            if name == "flowControl":
                field = field.mapping(optional=_FLOW_CONTROL_KEYS).get("saturationDetector")
                if field is None:
                    continue
            reference = field.mapping(optional=("pluginRef",)).get("pluginRef")
            if reference is not None:
                self._used_detectors.append((reference, self._referenced_detector(reference)))

    def _referenced_detector(self, reference: Field) -> Detector:
        plugin = self._referenced(reference, Kind.DETECTOR, *registry.DETECTORS)
        self._declared.use(plugin, "saturation")
        return self._declared.detectors.get(plugin.name) or read_detector(plugin.type, Given(reference))

    def _referenced(self, reference: Field, kind: Kind, *implied: str) -> Plugin:
        plugin = self._declared.find(reference, *implied)
        if plugin.kind is not kind:
            reference.refuse(f"expected a {kind.value}, {plugin.name!r} is a {plugin.kind.value}")
        return plugin

    def _agreed_detector(self) -> Detector | None:
        """The one detector everything refers to; the default type counts as referred to where it is declared."""
        if not self._used_detectors:
            default = self._declared.plugins.get(DEFAULT_DETECTOR)
            if default is not None:
                self._declared.use(default, "saturation")
            return self._declared.detectors.get(DEFAULT_DETECTOR)
        _, first = self._used_detectors[0]
        for reference, other in self._used_detectors[1:]:
            if other.saturation != first.saturation:
                problem = f"differs from the saturation detector at {first.place}; a pool has one meaning of saturated"
                reference.refuse(problem)
        return first

    def _parsers(self) -> tuple[str, ...]:
        declared: list[Field] = []
        if "requestHandler" in self._fields:
            parsers = self._fields["requestHandler"].mapping(optional=("parsers",)).get("parsers")
            declared.extend(parsers.items() if parsers else ())
        if "parser" in self._fields:
            if declared:
                self._fields["parser"].refuse("requestHandler.parsers is given too; keep that one")
            declared.append(self._fields["parser"])
        types: list[str] = []
        for field in declared:
            reference = field.mapping(required=("pluginRef",))["pluginRef"]
            plugin = self._referenced(reference, Kind.PARSER, *DEFAULT_PARSERS)
            self._declared.use(plugin, "request bodies")
            types.append(plugin.type)
        return tuple(dict.fromkeys(types)) or DEFAULT_PARSERS

    def _data_layer(self) -> FileSource | None:
        section = self._fields.get("dataLayer")
        if section is None:
            return None
        entry = section.mapping(optional=_DATA_LAYER_KEYS)
        for name in ("peerDiscovery", "crossReplicaSyncerPluginRef"):
            if name in entry:
                entry[name].refuse("replicas that tell each other what they do are not available in this version")
        if "injectDefaults" in entry:
            entry["injectDefaults"].boolean()
        for source in entry["sources"].items() if "sources" in entry else ():
            fields = source.mapping(required=("pluginRef",), optional=("extractors",))
            self._referenced(fields["pluginRef"], Kind.DATA, *registry.DATA)
            for extractor in fields["extractors"].items() if "extractors" in fields else ():
                reference = extractor.mapping(required=("pluginRef",))["pluginRef"]
                self._referenced(reference, Kind.DATA, *registry.DATA)
        return self._discovery(entry["discovery"]) if "discovery" in entry else None

    def _discovery(self, field: Field) -> FileSource:
        reference = read_reference(field)
        plugin = self._referenced(reference, Kind.DISCOVERY)
        self._declared.use(plugin, "endpoints")
        return read_source(plugin, reference)

    def _items(self, name: str) -> tuple[Field, ...]:
        return self._fields[name].items() if name in self._fields else ()
