"""The plugins an `EndpointPickerConfig` declares: read, built, and found again by the references to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from infscale.documents.problems import AlreadySaid
from infscale.documents.strict_document import Field, quoted
from infscale.documents.suggestions import did_you_mean, short_list
from picker.epp_config import registry
from picker.epp_config.detector import DEFAULT_DETECTOR, Detector, headroom, read_detector
from picker.epp_config.factories.data_plugins import POOL_AVERAGES_EXTRACTOR
from picker.epp_config.factories.producers import DEFAULT_MEDIA_ITEMS
from picker.epp_config.factories.scorer_factories import MEDIA_SCORER, OF_POOL_METRICS
from picker.epp_config.factories.session_factories import SESSION_TYPES, request_attributes, session_notes
from picker.epp_config.facts import Facts
from picker.epp_config.flow_policies import POLICIES, FlowPolicies
from picker.epp_config.parameters import Given, note
from picker.epp_config.reference_names import REFERENCE_ONLY
from picker.epp_config.registry import Kind, Plugin, Plugins
from picker.scheduling.filters.eligibility import SaturationFilter
from picker.scheduling.prediction import TPOT_HEADERS, TTFT_HEADERS
from picker.scheduling.stages import Admitter, Decider, Filter, Picker, ProfileHandler, Scorer, Screener
from picker.sessions.session_settings import SessionSettings


def with_article(kind: Kind) -> str:
    """What plugins of `kind` are, for a sentence."""
    return f"{'an' if kind.value[0] in 'aeio' else 'a'} {kind.value}"


_USED_ANYWAY: Mapping[Kind, str] = {
    Kind.ADMITTER: "every request",
    Kind.SCREENER: "every request",
    Kind.PRODUCER: "built in",
    Kind.DATA: "built in",
    Kind.REPORTER: "every response",
    Kind.HEADER_HANDLER: "built in",
}
"""Where plugins of a kind take part that nothing refers to."""
_READ_FIRST = frozenset({Kind.DATA, Kind.PRODUCER, Kind.DECIDER})
"""What says something that stages ask for."""
_IMPLIED = frozenset({Kind.FILTER, Kind.SCORER, Kind.FILTER_AND_SCORER})
"""What a profile may refer to by its type without declaring it."""


_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"})
"""Headers whose values are kept nowhere, whatever reads them."""


@dataclass(frozen=True, slots=True)
class DeclaredPlugin:
    """One declared plugin, as reports of a configuration show it: `uses` say where it takes part, none: nowhere."""

    name: str
    type: str
    kind: Kind
    place: str
    uses: tuple[str, ...]


class Declared:
    """Plugins by name, each built once: two references to one name mean the same stage.

    Of `items` None it is not known what is declared: the list is refused.
    """

    def __init__(self, items: Iterable[Field] | None, types: Plugins) -> None:
        self._types = types
        self._unknown = items is None
        self.plugins: dict[str, Plugin] = {}
        self.filters: dict[str, Filter] = {}
        self.scorers: dict[str, Scorer] = {}
        self.pickers: dict[str, Picker] = {}
        self.handlers: dict[str, ProfileHandler] = {}
        self.deciders: dict[str, Decider] = {}
        self.admitters: dict[str, Admitter] = {}
        self.screeners: dict[str, Screener] = {}
        self.detectors: dict[str, Detector] = {}
        self.policies = FlowPolicies()
        self.facts = Facts()
        self.any_refused = self._unknown
        self.notes: list[str] = []
        self._uses: dict[str, list[str]] = {}
        # Names of what is refused: references to them are no mistake of their own.
        self._refused: set[str] = set()
        self._unbuilt: set[str] = set()
        for field in items or ():
            if field.attempt(self._declare).refused:
                self.any_refused = True
        # A stage may ask for what is only declared to be read further down.
        for plugin in sorted(self.plugins.values(), key=lambda each: each.kind not in _READ_FIRST):
            if plugin.given.declared.attempt(partial(self._build, plugin)).refused:
                self.any_refused = True
                self._unbuilt.add(plugin.name)

    def find(self, reference: Field, *implied: str) -> Plugin:
        """The declared plugin a `pluginRef` names; types in `implied` exist without being declared."""
        name = reference.text()
        plugin = self.plugins.get(name)
        if plugin is None and name in implied:
            return Plugin(name, name, registry.KINDS[name], Given(reference))
        if plugin is None and (self._unknown or name in self._refused):
            raise AlreadySaid(reference.place, reference.path, f"plugin {name!r} is refused")
        if plugin is None:
            declared = short_list(sorted(self.plugins), name) or "none"
            meant = did_you_mean(name, self.plugins)
            reference.refuse(f"no plugin is named {quoted(name)}; declared are {declared}{meant}")
        return plugin

    def find_stage(self, reference: Field) -> Plugin:
        """As `find`, of a profile: a filter or scorer that is not declared is the one of the type of that name.

        The reference refuses it, and one of its guides has it.
        """
        name = reference.text()
        known = name in self.plugins or name in self._refused or self._unknown
        kind = None if known else self._types.kind(name)
        if kind in _IMPLIED:
            plugin = self.plugins[name] = Plugin(name, name, kind, Given(reference))
            self._build(plugin, reference)
            self.notes.append(
                note(reference, f"no plugin is named {name}; taken for one of that type, without parameters")
            )
        return self.find(reference)

    def find_kind(self, reference: Field, kind: Kind, *implied: str) -> Plugin:
        """As `find`, of a plugin that has to be of `kind`."""
        plugin = self.find(reference, *implied)
        if plugin.kind is not kind:
            reference.refuse(f"expected {with_article(kind)}, {plugin.name!r} is {with_article(plugin.kind)}")
        return plugin

    def find_policy(self, reference: Field, kind: Kind, *implied: str) -> Plugin:
        """As `find_kind`, of a policy. Raises `AlreadySaid` where it could not be built."""
        plugin = self.find_kind(reference, kind, *implied)
        if plugin.name in self._unbuilt:
            raise AlreadySaid(reference.place, reference.path, "it is refused")
        return plugin

    def handler(self, plugin: Plugin) -> ProfileHandler:
        """The profile handler that `plugin` declares. Raises `AlreadySaid` where it could not be built."""
        if plugin.name not in self.handlers:
            raise AlreadySaid(plugin.given.declared.place, "", "it is refused")
        return self.handlers[plugin.name]

    def of_kind(self, kind: Kind) -> tuple[Plugin, ...]:
        """The declared plugins of a kind, in their order."""
        return tuple(plugin for plugin in self.plugins.values() if plugin.kind is kind)

    @property
    def media_items(self) -> int:
        """How many media of each endpoint are worth remembering: none where no plugin asks."""
        if self.facts.media_items is not None:
            return self.facts.media_items
        asked = any(each.type == MEDIA_SCORER for each in self.plugins.values())
        return DEFAULT_MEDIA_ITEMS if asked else 0

    @property
    def stamps(self) -> tuple[tuple[str, str], ...]:
        """The response headers that screeners ask for, each with the label that it carries."""
        screeners = self.screeners.values()
        return tuple(stamp for each in screeners for stamp in getattr(each, "stamps", ()))

    @property
    def sessions(self) -> tuple[SessionSettings, ...]:
        """The kinds of sessions that filters and scorers ask for, each once."""
        stages = chain(self.filters.values(), self.scorers.values())
        return tuple(
            dict.fromkeys(kind for each in stages if (kind := getattr(each, "session_settings", None)) is not None)
        )

    @property
    def stage_names(self) -> Mapping[int, str]:
        """The name of each stage, by its identity."""
        return {id(stage): name for kind in self._stages() for name, stage in kind.items()}

    @property
    def read_headers(self) -> frozenset[str]:
        """The request headers that stages read, as they say by an attribute `reads_headers`; none with credentials."""
        said = [getattr(stage, "reads_headers", ()) for kind in self._stages() for stage in kind.values()]
        named = {name.lower() for names in (*said, TTFT_HEADERS, TPOT_HEADERS) for name in names}
        return frozenset(named - _CREDENTIALS)

    def _stages(self) -> Sequence[Mapping[str, object]]:
        return (
            self.filters,
            self.scorers,
            self.pickers,
            self.handlers,
            self.deciders,
            self.admitters,
            self.screeners,
        )

    def use(self, plugin: Plugin, where: str) -> None:
        """Remember that `plugin` takes part in `where`."""
        self._uses.setdefault(plugin.name, []).append(where)

    def summary(self) -> tuple[DeclaredPlugin, ...]:
        """Every declared plugin and its uses."""
        uses = self._uses
        return tuple(
            DeclaredPlugin(each.name, each.type, each.kind, each.given.declared.place, tuple(uses.get(each.name, ())))
            for each in self.plugins.values()
        )

    def _declare(self, field: Field) -> None:
        entry = field.mapping(required=("type",), optional=("name", "parameters"))
        name = entry.get("name", entry["type"]).text()
        self._refused.add(name)
        kind = self._kind(entry["type"])
        if name in self.plugins:
            entry.get("name", entry["type"]).refuse(f"there is already a plugin named {quoted(name)}")
        self.plugins[name] = Plugin(name, entry["type"].text(), kind, Given(field, entry.get("parameters")))

    def _kind(self, field: Field) -> Kind:
        name = field.text()
        kind = self._types.kind(name)
        if kind is not None:
            return kind
        if name in REFERENCE_ONLY:
            field.refuse(f"plugin {quoted(name)} of the reference picker is not available in this version")
        known = sorted(self._types.kinds())
        field.refuse(
            f"there is no plugin type {quoted(name)}; there are {short_list(known, name)}{did_you_mean(name, known)}"
        )

    def _build(self, plugin: Plugin, _: Field) -> None:
        """Build the stage, or read what is said of something that is there anyway."""
        name, given = plugin.name, plugin.given
        if plugin.kind in _USED_ANYWAY:
            self.use(plugin, _USED_ANYWAY[plugin.kind])
        match plugin.kind:
            case Kind.FILTER | Kind.SCORER | Kind.FILTER_AND_SCORER:
                self._build_stage(plugin)
            case Kind.PICKER:
                self.pickers[name] = self._types.pickers[plugin.type](given)
            case Kind.HANDLER:
                self._build_handler(plugin)
            case Kind.DECIDER:
                self.deciders[name] = self._types.deciders[plugin.type](given)
            case Kind.ADMITTER:
                self.admitters[name] = self._types.admitters[plugin.type](given)
            case Kind.SCREENER:
                self.screeners[name] = self._types.screeners[plugin.type](given)
            case Kind.DETECTOR:
                self.detectors[name] = read_detector(plugin.type, given)
                # As in the reference, only the filter by what engines report leaves all rather than none.
                self.filters[name] = SaturationFilter(headroom(given), or_all=plugin.type == DEFAULT_DETECTOR)
            case kind if kind in POLICIES:
                self.policies.build(plugin)
            case _:
                self._read_fact(plugin)
        self._note(plugin)

    def _build_stage(self, plugin: Plugin) -> None:
        if plugin.type in OF_POOL_METRICS and not self.facts.scraping.of_pools:
            plugin.given.declared.refuse(f"{plugin.type} needs a {POOL_AVERAGES_EXTRACTOR}, and none is declared")
        scraped, named = self.facts.scraping.attributes, request_attributes(self.facts)
        given = replace(plugin.given, attributes=scraped, request_attributes=named)
        if plugin.type in self._types.filters:
            self.filters[plugin.name] = self._types.filters[plugin.type](given)
        if plugin.type in self._types.scorers:
            self.scorers[plugin.name] = self._types.scorers[plugin.type](given)

    def _build_handler(self, plugin: Plugin) -> None:
        refused = frozenset((self._refused - self.plugins.keys()) | self._unbuilt)
        given = replace(plugin.given, name=plugin.name, deciders=self.deciders, refused=refused)
        handler = self.handlers[plugin.name] = self._types.handlers[plugin.type](given)
        for stage in ("prefill", "encode"):
            decider = getattr(handler, f"{stage}_decider", None)
            for name, each in self.deciders.items():
                if each is decider:
                    self.use(self.plugins[name], f"{stage} of every request")

    def _read_fact(self, plugin: Plugin) -> None:
        """Read what `plugin` says; sources of endpoints are read where they are used."""
        fact = registry.FACT_TYPES.get(plugin.type)
        if fact is None:
            return
        if fact.alone_among:
            self._only(plugin, fact.alone_among)
        parameters = plugin.given.parameters
        if fact.read is not None:
            self.facts, notes = fact.read(plugin.given, self.facts)
            self.notes += notes
        elif parameters is not None and parameters.entries():
            self.notes.append(note(parameters, f"{plugin.type} is built in; its parameters have no effect here"))

    def _only(self, plugin: Plugin, types: tuple[str, ...]) -> None:
        """There is one plugin of `types` in a pool, whatever its name."""
        first = next(each for each in self.plugins.values() if each.type in types)
        if first is not plugin:
            plugin.given.declared.refuse(f"there is already one of type {first.type}; a pool has one")

    def _note(self, plugin: Plugin) -> None:
        """Say what is accepted and better written otherwise."""
        declared, parameters = plugin.given.declared, plugin.given.parameters
        successor = registry.DEPRECATED.get(plugin.type)
        if successor is not None:
            self.notes.append(note(declared, f"{plugin.type} is deprecated; use {successor}"))
        fact = registry.FACT_TYPES.get(plugin.type)
        if fact is not None and fact.elsewhere:
            self.notes.append(note(declared, f"{plugin.type} is built in; {fact.elsewhere}"))
        if plugin.type in SESSION_TYPES:
            self.notes += session_notes(replace(plugin.given, request_attributes=request_attributes(self.facts)))
        # Another package's plugin may well mean something by a parameter of the same name.
        foreign = plugin.type not in registry.KINDS
        if foreign or plugin.kind in (Kind.PRODUCER, Kind.DATA) or parameters is None:
            return
        for name, field in parameters.entries().items():
            reason = registry.WITHOUT_EFFECT.get(name)
            if reason is not None:
                self.notes.append(note(field, f"has no effect here: {reason}"))
