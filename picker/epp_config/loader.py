"""The `EndpointPickerConfig` loader: YAML in the reference's form, both API groups, read strictly, its defaults."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Final

from infscale.documents.problems import AlreadySaid, Attempt
from infscale.documents.strict_document import Field, load, whole
from infscale.documents.suggestions import did_you_mean
from infscale.errors import ConfigError
from infscale.memo import MemoKey
from infscale.metrics.snapshot import IntArray, PoolSettings
from picker.epp_config.data_layer import read_data_layer
from picker.epp_config.declared import Declared, DeclaredPlugin, with_article
from picker.epp_config.detector import DEFAULT_DETECTOR, Detector, read_detector
from picker.epp_config.discovery_source import FileSource, read_reference, read_source
from picker.epp_config.factories.data_plugins import DATA
from picker.epp_config.factories.disagg_factories import check_profiles
from picker.epp_config.factories.profile_factories import DEFAULT_HANDLER, DEFAULT_PICKER
from picker.epp_config.flow_section import DETECTOR_KEY, GATE, FlowSection
from picker.epp_config.parameters import Given, note
from picker.epp_config.presets import PRESETS
from picker.epp_config.registry import BUILT_IN, DETECTORS, Kind, Plugin, Plugins
from picker.epp_config.reporting import NO_REPORTING, Reporting
from picker.epp_config.scraping_parameters import NO_WISHES, ScrapeWishes
from picker.flow.reference.flow_settings import ReferenceFlowSettings
from picker.parsing.table import DEFAULT_TYPES
from picker.request import Reason
from picker.scheduling.admitters import admitted
from picker.scheduling.disaggregation import DisaggProfileHandler
from picker.scheduling.filters.session_filter import FALLBACK
from picker.scheduling.plugin import USUAL_PREDICTIONS, PredictionSettings, SchedulingContext
from picker.scheduling.prefix_index import PrefixSettings
from picker.scheduling.profile import Profile, Selection, WeightedScorer
from picker.scheduling.scheduler import HeaderProfileHandler, Scheduler, SingleProfileHandler
from picker.scheduling.stages import Admitter, Filter, Picker, ProfileHandler, Screener
from picker.sessions.placement import NOWHERE
from picker.sessions.session_settings import SessionSettings
from picker.sessions.session_tokens import TokenKeys

Room = Callable[[SchedulingContext, IntArray], IntArray]
"""Which of some rows could begin the request."""

CURRENT_VERSION = "llm-d.ai/v1"
API_VERSIONS = (CURRENT_VERSION, "llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1")
FEATURE_GATES: Mapping[str, str] = {
    "dataLayer": "metrics, models and GPUs are always read through one store",
    "enableLegacyMetrics": "which metrics there are is not decided by this file",
    GATE: "",
    "HAPopulateNonLeaderDatastore": "there is no leader; every replica has everything",
    "prepareDataPlugins": "what plugins need is always there before they run",
}
"""The reference's gates, and why each changes nothing here; that without a reason turns flow control on."""

_IMPLIED_DATA = tuple(name for name, each in DATA.items() if each.implied)
_STAGES = frozenset({Kind.FILTER, Kind.SCORER, Kind.FILTER_AND_SCORER, Kind.PICKER, Kind.DETECTOR})


ELIGIBLE: Final[MemoKey[IntArray]] = MemoKey("the rows that a request may go to, none of which has room for it")

DIGEST_DIGITS = 12
"""Of a SHA-256 digest: what tells one configuration's text from another's."""


@dataclass(frozen=True, slots=True)
class PickerConfig:
    """An `EndpointPickerConfig`, ready to run.

    `detector` None: the configuration says nothing about saturation. `screeners` narrow the candidates one after the
    other; then `admitters` are asked, and all have to admit. `stamps` are response headers, each with the label that it
    carries of the endpoint that answered. `media_items` is how many media are remembered of each endpoint, 0 none.
    `notes` are lines for the start-up log about what is accepted but decided elsewhere. `plugins` are what the document
    declares.
    `discovery` is a file of endpoints; None: the configuration names none. `scraping` is what it says of engines'
    metrics pages, `reporting` what is to be told of responses, `predicting` how latencies are predicted.
    `flow` is how requests wait, None where the configuration does not say that they do; `agent_headers` are those by
    which agents name the session that a request belongs to.
    `clocked`: a scorer asks when endpoints will have computed the prompts that they were sent, so that this is kept.
    `sessions` are the kinds of sessions that stages ask for, `session_keys` the keys of signed ones by the name of
    their file: whatever reads files fills them in.
    `read_headers` are the request headers that stages say they read, without those that carry credentials.
    `stage_names` are the names that the document gives its stages, by their identities. `digest` tells its text from
    others.
    """

    scheduler: Scheduler
    admitters: tuple[Admitter, ...]
    prefix: PrefixSettings
    media_items: int
    parsers: tuple[str, ...]
    detector: Detector | None
    notes: tuple[str, ...]
    plugins: tuple[DeclaredPlugin, ...]
    discovery: FileSource | None = None
    scraping: ScrapeWishes = NO_WISHES
    reporting: Reporting = NO_REPORTING
    predicting: PredictionSettings = USUAL_PREDICTIONS
    screeners: tuple[Screener, ...] = ()
    stamps: tuple[tuple[str, str], ...] = ()
    clocked: bool = False
    flow: ReferenceFlowSettings | None = None
    agent_headers: tuple[str, ...] = ()
    sessions: tuple[SessionSettings, ...] = ()
    session_keys: Mapping[str, TokenKeys] = dataclass_field(default_factory=dict[str, TokenKeys])
    read_headers: frozenset[str] = frozenset()
    stage_names: Mapping[int, str] = dataclass_field(default_factory=dict[int, str])
    digest: str = ""

    @property
    def narrows(self) -> bool:
        """Whether filters may leave fewer endpoints to a request than it may have by what it is."""
        return self.scheduler.narrows

    def eligible(self, context: SchedulingContext, rows: IntArray) -> IntArray | Reason:
        """The rows among `rows` (at least one) that the request of `context` may go to, or why there are none."""
        if not self.narrows and not self.screeners:
            return rows
        answer = self.decide(context, rows)
        return answer if isinstance(answer, Reason) else answer.rows

    def decide(self, context: SchedulingContext, rows: IntArray, room: Room | None = None) -> Selection | Reason:
        """Choose among `rows` (ascending, at least one), or say why there is no choice.

        With `room` it is chosen among the rows which that leaves of those that filters leave, so that nothing is while
        it leaves none; what filters have left is then `ELIGIBLE`.
        """
        for screener in self.screeners:
            rows = screener.screen(context, rows)
            if not len(rows):
                return Reason.SCREENED_OUT
        if self.admitters and not admitted(self.admitters, context, rows):
            return Reason.SATURATED
        answer = self._chosen(context, rows) if room is None else self._placed(context, rows, room)
        if isinstance(answer, Reason):
            return answer
        fallback = context.derived.get(FALLBACK)
        if fallback is None or fallback == NOWHERE or fallback in answer.chosen:
            return answer
        return answer.or_else(fallback)

    def _placed(self, context: SchedulingContext, rows: IntArray, room: Room) -> Selection | Reason:
        """Choose among those of `rows` in which there is room."""
        chosen, candidates = None, rows
        if self.narrows:
            answer = self._chosen(context, rows)
            if isinstance(answer, Reason):
                return answer
            chosen, rows = answer, answer.rows
        placeable = room(context, rows)
        if not len(placeable):
            context.derived.keep(ELIGIBLE, rows)
            return Reason.NO_ROOM
        if chosen is not None and placeable is rows:
            return chosen
        selection = self.scheduler.place(context, candidates, placeable)
        return Reason.FILTERED_OUT if selection is None else selection

    def _chosen(self, context: SchedulingContext, rows: IntArray) -> Selection | Reason:
        selection = self.scheduler.schedule(context, rows)
        return Reason.FILTERED_OUT if selection is None else selection

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

    Raises `ConfigError` with everything that is wrong.
    """
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]
    return replace(whole(load(text, source), lambda root: _Loader(root, plugins).config()), digest=digest)


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
        kind = self._fields["kind"].attempt(lambda field: field.choice(("EndpointPickerConfig",)))
        if kind.refused and not any(name in self._fields for name in ("plugins", "schedulingProfiles")):
            # Of another kind of document all else would be wrong, too.
            raise AlreadySaid(root.place, root.path, "it is another kind of document")
        version = self._fields["apiVersion"].attempt(lambda field: field.choice(API_VERSIONS))
        self._current = version.or_else(CURRENT_VERSION) == CURRENT_VERSION
        self._types = plugins
        items = self._fields["plugins"].attempt(Field.items) if "plugins" in self._fields else Attempt(())
        self._declared = Declared(items.or_else(None), plugins)
        self._used_detectors: list[tuple[Field, Detector]] = []

    def config(self) -> PickerConfig:
        flow = self._flow_control(on=self._feature_gates())
        section = self._fields.get("dataLayer")
        discovery = None if section is None else section.attempt(self._data_layer)
        scheduler = self._root.attempt(lambda _: self._scheduler())
        parsers = self._root.attempt(lambda _: self._parsers())
        detector = self._root.attempt(lambda _: self._agreed_detector())
        declared = self._declared
        return PickerConfig(
            scheduler.value,
            tuple(declared.admitters.values()),
            declared.facts.prefix or PrefixSettings(),
            declared.media_items,
            parsers.value,
            detector.value,
            tuple(declared.notes),
            declared.summary(),
            None if discovery is None else discovery.value,
            declared.facts.scraping,
            declared.facts.reporting,
            declared.facts.predicting,
            tuple(declared.screeners.values()),
            declared.stamps,
            any(getattr(each, "of_clock", False) for each in declared.scorers.values()),
            flow,
            declared.facts.agent_headers,
            declared.sessions,
            read_headers=declared.read_headers,
            stage_names=declared.stage_names,
        )

    # Scheduling

    def _scheduler(self) -> Scheduler:
        profiles = {profile.name: profile for profile in self._profiles()}
        declared = self._declared
        handlers = declared.of_kind(Kind.HANDLER)
        if len(handlers) > 1:
            handlers[1].given.declared.report("there is already a profile handler; one runs all profiles")
        handler: ProfileHandler = SingleProfileHandler()
        if handlers:
            handler = declared.handler(handlers[0])
            declared.use(handlers[0], "every request")
        if handlers and isinstance(handler, HeaderProfileHandler) and handler.default not in profiles:
            problem = f"there is no profile {handler.default!r} for requests without the header; give defaultProfile"
            handlers[0].given.declared.refuse(problem)
        if handlers and isinstance(handler, DisaggProfileHandler):
            declared.notes += check_profiles(handler, profiles, handlers[0].given.declared)
        one_only = not handlers or handlers[0].type == DEFAULT_HANDLER
        # A plugin that is refused may have been the handler of several.
        if len(profiles) > 1 and one_only and not declared.any_refused:
            problem = f"{DEFAULT_HANDLER} runs exactly one profile, there are {len(profiles)}"
            self._fields["schedulingProfiles"].report(problem)
        return Scheduler(profiles, handler)

    def _profiles(self) -> Sequence[Profile]:
        if not self._items("schedulingProfiles"):
            plugins = self._declared.plugins.values()
            everything = [(each.given.declared, each, 1.0) for each in plugins if each.kind in _STAGES]
            return (self._profile("default", everything),)
        names: set[str] = set()

        def read(field: Field) -> Profile:
            entry = field.mapping(required=("name",), optional=("plugins",))
            name = entry["name"].attempt(Field.text)
            if not name.refused and name.value in names:
                entry["name"].report(f"there is already a profile named {name.value!r}")
            names.add(name.or_else(""))
            stages = entry["plugins"].each(self._stage) if "plugins" in entry else ()
            return self._profile(name.value, stages)

        return self._fields["schedulingProfiles"].each(read)

    def _stage(self, item: Field) -> tuple[Field, Plugin, float]:
        entry = item.mapping(required=("pluginRef",), optional=("weight",))
        weight = entry["weight"].attempt(lambda field: field.number(0.0)) if "weight" in entry else Attempt(1.0)
        return entry["pluginRef"], self._declared.find_stage(entry["pluginRef"]), weight.or_else(1.0)

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
                reference.report(f"{with_article(plugin.kind)} has no place in a profile")
                continue
            if plugin.kind is Kind.DETECTOR and plugin.name in declared.detectors:
                self._used_detectors.append((reference, declared.detectors[plugin.name]))
            if plugin.kind is Kind.PICKER:
                if picker is not None:
                    reference.report("the profile already has a picker; it has exactly one")
                picker = declared.pickers.get(plugin.name, picker)
            if plugin.name in declared.filters:
                filters.append(declared.filters[plugin.name])
            weighs = ""
            if plugin.name in declared.scorers:
                scorers.append(WeightedScorer(declared.scorers[plugin.name], weight))
                weighs = f" × {weight:g}"
            declared.use(plugin, f"profile {name}{weighs}")
        return Profile(name, tuple(filters), tuple(scorers), picker or self._default_picker(name))

    def _default_picker(self, profile: str) -> Picker:
        for plugin in self._declared.of_kind(Kind.PICKER):
            if plugin.name in self._declared.pickers:
                self._declared.use(plugin, f"profile {profile}")
                return self._declared.pickers[plugin.name]
        return self._types.pickers[DEFAULT_PICKER](Given(self._root))

    # Everything around scheduling

    def _feature_gates(self) -> bool:
        """Whether flow control is on."""
        attempts = [field.attempt(self._feature_gate) for field in self._items("featureGates")]
        return dict(each.value for each in attempts if not each.refused).get(GATE, False)

    def _feature_gate(self, field: Field) -> tuple[str, bool]:
        name, equals, value = field.text().partition("=")
        if name not in FEATURE_GATES or (equals and value.lower() not in ("true", "false")):
            meant = did_you_mean(name, FEATURE_GATES)
            field.refuse(f"expected name or name=true|false with one of {', '.join(FEATURE_GATES)}{meant}")
        reason = FEATURE_GATES[name]
        if reason:
            self._declared.notes.append(note(field, f"{name} has no effect here: {reason}"))
        return name, not equals or value.lower() == "true"

    def _flow_control(self, *, on: bool) -> ReferenceFlowSettings | None:
        """How requests wait where flow control is `on`; of its section the saturation detector counts in any case."""
        section = FlowSection(self._fields.get("flowControl"), self._declared)
        for field in (self._fields.get(DETECTOR_KEY), section.detector):
            if field is not None:
                field.attempt(self._saturation_detector)
        if on:
            return section.settings()
        section.ignored()
        return None

    def _saturation_detector(self, field: Field) -> None:
        reference = field.mapping(optional=("pluginRef",)).get("pluginRef")
        if reference is not None:
            self._used_detectors.append((reference, self._referenced_detector(reference)))

    def _referenced_detector(self, reference: Field) -> Detector:
        plugin = self._declared.find_kind(reference, Kind.DETECTOR, *DETECTORS)
        self._declared.use(plugin, "saturation")
        return self._declared.detectors.get(plugin.name) or read_detector(plugin.type, Given(reference))

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
                reference.report(problem)
        return first

    def _parsers(self) -> tuple[str, ...]:
        declared: list[Field] = []
        if "requestHandler" in self._fields:
            handler = self._fields["requestHandler"].mapping(optional=("parsers", "propagatePriority"))
            declared.extend(handler["parsers"].attempt(Field.items).or_else(()) if "parsers" in handler else ())
            if "propagatePriority" in handler:
                handler["propagatePriority"].attempt(_without_priority)
        if "parser" in self._fields:
            if declared:
                self._fields["parser"].report("requestHandler.parsers is given too; keep that one")
            declared.append(self._fields["parser"])
        types = [plugin.value.type for each in declared if not (plugin := each.attempt(self._parser)).refused]
        return tuple(dict.fromkeys(types)) or DEFAULT_TYPES

    def _parser(self, field: Field) -> Plugin:
        reference = field.mapping(required=("pluginRef",))["pluginRef"]
        plugin = self._declared.find_kind(reference, Kind.PARSER, *DEFAULT_TYPES)
        self._declared.use(plugin, "request bodies")
        return plugin

    def _data_layer(self, section: Field) -> FileSource | None:
        entry, notes = read_data_layer(section, current=self._current)
        self._declared.notes += notes
        if "sources" in entry:
            entry["sources"].attempt(lambda sources: sources.each(self._data_source))
        return self._discovery(entry["discovery"]) if "discovery" in entry else None

    def _data_source(self, field: Field) -> None:
        fields = field.mapping(required=("pluginRef",), optional=("extractors",))
        fields["pluginRef"].attempt(self._data_plugin)
        if "extractors" in fields:
            fields["extractors"].each(
                lambda each: self._data_plugin(each.mapping(required=("pluginRef",))["pluginRef"])
            )

    def _data_plugin(self, reference: Field) -> Plugin:
        return self._declared.find_kind(reference, Kind.DATA, *_IMPLIED_DATA)

    def _discovery(self, field: Field) -> FileSource:
        reference = read_reference(field, current=self._current)
        plugin = self._declared.find_kind(reference, Kind.DISCOVERY)
        self._declared.use(plugin, "endpoints")
        return read_source(plugin, reference)

    def _items(self, name: str) -> tuple[Field, ...]:
        return self._fields[name].attempt(Field.items).or_else(()) if name in self._fields else ()


def _without_priority(field: Field) -> None:
    if field.boolean():
        field.refuse("sending a request's priority on to the engine is not available in this version; remove it")
