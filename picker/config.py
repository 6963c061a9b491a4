"""The `EndpointPickerConfig` loader: YAML in the reference's form, both API groups, read strictly, its defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from infscale.document import Field, load
from infscale.errors import ConfigError
from infscale.metrics.snapshot import PoolSettings
from picker.discovery_source import FileSource, read_reference, read_source
from picker.prefix_index import PrefixSettings
from picker.presets import PRESETS
from picker.scheduling import registry
from picker.scheduling.detector import DEFAULT_DETECTOR, Detector, headroom, read_detector
from picker.scheduling.filters import SaturationFilter
from picker.scheduling.plugin import Filter, Picker
from picker.scheduling.profile import Profile, WeightedScorer
from picker.scheduling.reference import REFERENCE_ONLY
from picker.scheduling.registry import KINDS, Kind, Parameters, Plugin
from picker.scheduling.scheduler import ProfileHandler, Scheduler, SingleProfileHandler

API_VERSIONS = ("llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1")
DEFAULT_PARSERS = ("openai-parser", "anthropic-parser", "passthrough-parser")
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


@dataclass(frozen=True, slots=True)
class PickerConfig:
    """An `EndpointPickerConfig`, ready to run.

    `detector` None: the configuration says nothing about saturation. `notes` are lines for the start-up log about
    what is accepted but decided elsewhere. `discovery` is a file of endpoints; None: the configuration names none.
    """

    scheduler: Scheduler
    prefix: PrefixSettings
    parsers: tuple[str, ...]
    detector: Detector | None
    feature_gates: Mapping[str, bool]
    notes: tuple[str, ...]
    discovery: FileSource | None = None

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


def load_picker_config(text: str, source: str) -> PickerConfig:
    """The configuration in `text`; `source` is the file name errors show. Raises `ConfigError`."""
    return _Loader(load(text, source)).config()


def preset(name: str) -> PickerConfig:
    """One of the shipped configurations (`PRESETS`)."""
    return load_picker_config(PRESETS[name], f"preset {name}")


class _Loader:
    """Reads one document; declared plugins are built where a profile refers to them."""

    def __init__(self, root: Field) -> None:
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
        self._notes: list[str] = []
        self._plugins = self._declared()
        self._detectors = {
            name: read_detector(plugin.type, plugin.parameters, plugin.field)
            for name, plugin in self._plugins.items()
            if plugin.kind is Kind.DETECTOR
        }
        self._used_detectors: list[tuple[Field, Detector]] = []

    def config(self) -> PickerConfig:
        gates = self._gates()
        self._flow_control()
        discovery = self._data_layer()
        scheduler = self._scheduler()
        prefix, parsers, detector = self._prefix(), self._parsers(), self._agreed_detector()
        return PickerConfig(scheduler, prefix, parsers, detector, gates, tuple(self._notes), discovery)

    # Plugins

    def _declared(self) -> dict[str, Plugin]:
        found: dict[str, Plugin] = {}
        for field in self._items("plugins"):
            entry = field.mapping(required=("type",), optional=("name", "parameters"))
            kind = _kind_of(entry["type"])
            name = entry["name"].text() if "name" in entry else entry["type"].text()
            if name in found:
                entry.get("name", entry["type"]).refuse(f"there is already a plugin named {name!r}")
            plugin = Plugin(name, entry["type"].text(), kind, field, entry.get("parameters"))
            found[name] = plugin
            self._check_unbuilt(plugin)
        return found

    def _check_unbuilt(self, plugin: Plugin) -> None:
        """Read the parameters of plugins that are facts of the store, and say what becomes of them."""
        given = plugin.parameters
        if plugin.kind is Kind.PARSER:
            Parameters(given)
        elif plugin.type == "token-producer" and given is not None:
            backend = given.entries().get("backend")
            if backend is not None and backend.text() != "estimate":
                backend.refuse("only the backend 'estimate' (about 4 bytes per token) is available in this version")
        elif plugin.kind is Kind.DATA or plugin.type == "inflight-load-producer":
            if given is not None and given.entries():
                place = f"{given.place}: {given.path}"
                self._notes.append(f"{place}: {plugin.type} is built in; its parameters have no effect here")
        elif plugin.type == registry.PREFIX_PRODUCER:
            _prefix_settings(given)

    def _plugin(self, reference: Field, *implied: str) -> Plugin:
        """The declared plugin a `pluginRef` names; types in `implied` exist without being declared."""
        name = reference.text()
        plugin = self._plugins.get(name)
        if plugin is None and name in implied:
            return Plugin(name, name, KINDS[name], reference, None)
        if plugin is None:
            declared = ", ".join(sorted(self._plugins)) or "none"
            reference.refuse(f"no plugin is named {name!r}; declared are {declared}")
        return plugin

    # Scheduling

    def _scheduler(self) -> Scheduler:
        profiles = {profile.name: profile for profile in self._profiles()}
        handlers = [plugin for plugin in self._plugins.values() if plugin.kind is Kind.HANDLER]
        if len(handlers) > 1:
            handlers[1].field.refuse("there is already a profile handler; one runs all profiles")
        if len(profiles) > 1:
            problem = f"{registry.DEFAULT_HANDLER} runs exactly one profile, there are {len(profiles)}"
            self._fields["schedulingProfiles"].refuse(problem)
        handler: ProfileHandler = SingleProfileHandler()
        if handlers:
            handler = registry.HANDLERS[handlers[0].type](handlers[0].parameters)
        return Scheduler(profiles, handler)

    def _profiles(self) -> Sequence[Profile]:
        declared = self._items("schedulingProfiles")
        if not declared:
            stages = (Kind.FILTER, Kind.SCORER, Kind.PICKER, Kind.DETECTOR)
            everything = [(each.field, each, 1.0) for each in self._plugins.values() if each.kind in stages]
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
        return entry["pluginRef"], self._plugin(entry["pluginRef"]), weight

    def _profile(self, name: str, stages: Sequence[tuple[Field, Plugin, float]]) -> Profile:
        filters: list[Filter] = []
        scorers: list[WeightedScorer] = []
        picker: Picker | None = None
        for reference, plugin, weight in stages:
            if plugin.kind is Kind.FILTER:
                filters.append(registry.FILTERS[plugin.type](plugin.parameters))
            elif plugin.kind is Kind.DETECTOR:
                self._used_detectors.append((reference, self._detectors[plugin.name]))
                filters.append(SaturationFilter(headroom(plugin.parameters)))
            elif plugin.kind is Kind.SCORER:
                scorers.append(WeightedScorer(registry.SCORERS[plugin.type](plugin.parameters), weight))
            elif plugin.kind is Kind.PICKER:
                if picker is not None:
                    reference.refuse("the profile already has a picker; it has exactly one")
                picker = registry.PICKERS[plugin.type](plugin.parameters)
            else:
                reference.refuse(f"a {plugin.kind.value} has no place in a profile")
        return Profile(name, tuple(filters), tuple(scorers), picker or self._default_picker())

    def _default_picker(self) -> Picker:
        declared = [plugin for plugin in self._plugins.values() if plugin.kind is Kind.PICKER]
        if declared:
            return registry.PICKERS[declared[0].type](declared[0].parameters)
        return registry.PICKERS[registry.DEFAULT_PICKER](None)

    def _prefix(self) -> PrefixSettings:
        producers = [each for each in self._plugins.values() if each.type == registry.PREFIX_PRODUCER]
        if len(producers) > 1:
            producers[1].field.refuse(f"there is already a {registry.PREFIX_PRODUCER}; a pool has one prefix index")
        return _prefix_settings(producers[0].parameters if producers else None)

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
        plugin = self._plugin(reference, *registry.DETECTORS)
        if plugin.kind is not Kind.DETECTOR:
            reference.refuse(f"expected a saturation detector, {plugin.name!r} is a {plugin.kind.value}")
        return self._detectors.get(plugin.name) or read_detector(plugin.type, None, reference)

    def _agreed_detector(self) -> Detector | None:
        """The one detector everything refers to; the default type counts as referred to where it is declared."""
        if not self._used_detectors:
            return self._detectors.get(DEFAULT_DETECTOR)
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
            plugin = self._plugin(reference, *DEFAULT_PARSERS)
            if plugin.kind is not Kind.PARSER:
                reference.refuse(f"expected a parser, {plugin.name!r} is a {plugin.kind.value}")
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
            self._check_data(fields["pluginRef"])
            for extractor in fields["extractors"].items() if "extractors" in fields else ():
                self._check_data(extractor.mapping(required=("pluginRef",))["pluginRef"])
        return self._discovery(entry["discovery"]) if "discovery" in entry else None

    def _discovery(self, field: Field) -> FileSource:
        reference = read_reference(field)
        plugin = self._plugin(reference)
        if plugin.kind is not Kind.DISCOVERY:
            reference.refuse(f"expected a {Kind.DISCOVERY.value}, {plugin.name!r} is a {plugin.kind.value}")
        return read_source(plugin, reference)

    def _check_data(self, reference: Field) -> None:
        plugin = self._plugin(reference, *registry.DATA)
        if plugin.kind is not Kind.DATA:
            reference.refuse(f"expected a data source or extractor, {plugin.name!r} is a {plugin.kind.value}")

    def _items(self, name: str) -> tuple[Field, ...]:
        return self._fields[name].items() if name in self._fields else ()


def _kind_of(field: Field) -> Kind:
    name = field.text()
    if name in REFERENCE_ONLY:
        field.refuse(f"plugin {name!r} of the reference picker is not available in this version")
    if name not in KINDS:
        field.refuse(f"there is no plugin type {name!r}; there are {', '.join(sorted(KINDS))}")
    return KINDS[name]


def _prefix_settings(field: Field | None) -> PrefixSettings:
    default = PrefixSettings()
    given = Parameters(
        field,
        "autoTune",
        "blockSizeTokens",
        "lruCapacityPerServer",
        "maxPrefixBlocksToMatch",
        "maxPrefixTokensToMatch",
    )
    return PrefixSettings(
        auto_tune=given.boolean("autoTune", default.auto_tune),
        block_size_tokens=given.integer("blockSizeTokens", default.block_size_tokens, 1),
        max_blocks=given.integer("maxPrefixBlocksToMatch", default.max_blocks, 1),
        max_tokens=given.integer("maxPrefixTokensToMatch", default.max_tokens, 1),
        capacity_blocks=given.integer("lruCapacityPerServer", default.capacity_blocks, 1),
    )
