"""The plugin table: every type an `EndpointPickerConfig` may name, and what it is."""

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from picker.epp_config.factories.data_plugins import DATA, REPORTERS
from picker.epp_config.factories.disagg_factories import (
    DECIDERS,
    DISAGG_HANDLER,
    DISAGG_HANDLERS,
    HEADER_HANDLERS,
    OLDER_HANDLER,
)
from picker.epp_config.factories.filter_factories import FILTERS, PRODUCER_NAMES
from picker.epp_config.factories.flow_factories import (
    CEILINGS,
    EVICTION_FILTERS,
    EVICTION_ORDERS,
    FAIRNESS,
    IDENTITIES,
    ORDERINGS,
    STRICT_BANDS,
)
from picker.epp_config.factories.producers import PRODUCERS
from picker.epp_config.factories.profile_factories import ADMITTERS, HANDLERS, PICKERS
from picker.epp_config.factories.scorer_factories import SCORERS
from picker.epp_config.factories.screener_factories import SCREENERS
from picker.epp_config.factories.session_factories import SESSION_FILTERS, SESSION_PRODUCERS, SESSION_SCORERS
from picker.epp_config.facts import FactType, no_parameters
from picker.epp_config.parameters import Given
from picker.parsing.table import PARSER_TYPES
from picker.scheduling.stages import Admitter, Decider, Filter, Picker, ProfileHandler, Scorer, Screener


class Kind(enum.Enum):
    """What a plugin is for."""

    FILTER = "filter"
    SCORER = "scorer"
    FILTER_AND_SCORER = "filter and scorer"
    PICKER = "picker"
    HANDLER = "profile handler"
    DECIDER = "decider"
    HEADER_HANDLER = "header handler"
    ADMITTER = "admitter"
    SCREENER = "screener"
    DETECTOR = "saturation detector"
    PARSER = "parser"
    PRODUCER = "data producer"
    DATA = "data source or extractor"
    DISCOVERY = "source of endpoints"
    REPORTER = "reporter of responses"
    ORDERING = "ordering policy"
    FAIRNESS = "fairness policy"
    CEILINGS = "usage limit policy"
    BAND_ORDER = "band selection policy"
    EVICTION_FILTER = "eviction filter"
    EVICTION_ORDER = "eviction order policy"


DETECTORS = ("utilization-detector", "concurrency-detector")
CLUSTER_FILE = "multicluster-file-discovery"
DISCOVERY = ("file-discovery", CLUSTER_FILE)

FACT_TYPES: Mapping[str, FactType] = {
    **dict.fromkeys(PARSER_TYPES, FactType(no_parameters)),
    **PRODUCERS,
    **IDENTITIES,
    **SESSION_PRODUCERS,
    **DATA,
    **REPORTERS,
    **HEADER_HANDLERS,
}
"""Types by which something is said of what is there anyway."""

# Types that no stage is built of.
_OTHER_KINDS: Mapping[str, Kind] = {
    name: kind
    for kind, names in (
        (Kind.DETECTOR, DETECTORS),
        (Kind.PARSER, PARSER_TYPES),
        (Kind.PRODUCER, (*PRODUCERS, *IDENTITIES, *SESSION_PRODUCERS)),
        (Kind.DATA, DATA),
        (Kind.DISCOVERY, DISCOVERY),
        (Kind.HEADER_HANDLER, HEADER_HANDLERS),
        (Kind.REPORTER, REPORTERS),
        (Kind.ORDERING, ORDERINGS),
        (Kind.FAIRNESS, FAIRNESS),
        (Kind.CEILINGS, CEILINGS),
        (Kind.BAND_ORDER, (STRICT_BANDS,)),
        (Kind.EVICTION_FILTER, EVICTION_FILTERS),
        (Kind.EVICTION_ORDER, EVICTION_ORDERS),
    )
    for name in names
}

DEPRECATED: Mapping[str, str] = {
    **dict.fromkeys(("by-label", "by-label-selector"), "label-selector-filter"),
    **dict.fromkeys((OLDER_HANDLER, *HEADER_HANDLERS), DISAGG_HANDLER),
}
"""Types the field is about to remove, and what takes their place."""

WITHOUT_EFFECT: Mapping[str, str] = {
    **dict.fromkeys((*PRODUCER_NAMES, "producer"), "there is one producer of each kind"),
    "prefixPluginType": "the reference never used it either",
    "prefixPluginName": "the reference never used it either",
    "requestTimeout": "what is in flight ends with its exchange",
}
"""Parameters that are read and change nothing, by name, and why."""


@dataclass(frozen=True, slots=True)
class Plugins:
    """Plugin types by kind, each with the factory that builds one from what a document gives it.

    Also what an out-of-tree package offers under the entry point group ``infscale.plugins``
    (`picker.epp_config.extensions`). A type among both filters and scorers is both. Factories raise `ConfigError`,
    through the fields they read.
    """

    filters: Mapping[str, Callable[[Given], Filter]] = field(default_factory=dict[str, Callable[[Given], Filter]])
    scorers: Mapping[str, Callable[[Given], Scorer]] = field(default_factory=dict[str, Callable[[Given], Scorer]])
    pickers: Mapping[str, Callable[[Given], Picker]] = field(default_factory=dict[str, Callable[[Given], Picker]])
    handlers: Mapping[str, Callable[[Given], ProfileHandler]] = field(
        default_factory=dict[str, Callable[[Given], ProfileHandler]]
    )
    admitters: Mapping[str, Callable[[Given], Admitter]] = field(default_factory=dict[str, Callable[[Given], Admitter]])
    screeners: Mapping[str, Callable[[Given], Screener]] = field(default_factory=dict[str, Callable[[Given], Screener]])
    deciders: Mapping[str, Callable[[Given], Decider]] = field(default_factory=dict[str, Callable[[Given], Decider]])

    def types(self) -> Iterator[str]:
        """Every type; one that is a filter and a scorer comes twice."""
        tables = (
            self.filters,
            self.scorers,
            self.pickers,
            self.handlers,
            self.admitters,
            self.screeners,
            self.deciders,
        )
        return chain.from_iterable(tables)

    def kind(self, name: str) -> Kind | None:
        """What plugins of that type are for; None: there is no such type."""
        if name in self.filters:
            return Kind.FILTER_AND_SCORER if name in self.scorers else Kind.FILTER
        for kind, table in (
            (Kind.SCORER, self.scorers),
            (Kind.PICKER, self.pickers),
            (Kind.HANDLER, self.handlers),
            (Kind.ADMITTER, self.admitters),
            (Kind.SCREENER, self.screeners),
            (Kind.DECIDER, self.deciders),
        ):
            if name in table:
                return kind
        return _OTHER_KINDS.get(name)

    def kinds(self) -> dict[str, Kind]:
        """Every type with its kind, those that nothing is built of included."""
        return {name: kind for name in (*self.types(), *_OTHER_KINDS) if (kind := self.kind(name)) is not None}

    def joined(self, other: "Plugins") -> "Plugins":
        """These types and those of `other`, which have other names."""
        return Plugins(
            {**self.filters, **other.filters},
            {**self.scorers, **other.scorers},
            {**self.pickers, **other.pickers},
            {**self.handlers, **other.handlers},
            {**self.admitters, **other.admitters},
            {**self.screeners, **other.screeners},
            {**self.deciders, **other.deciders},
        )


BUILT_IN = Plugins(
    {**FILTERS, **SESSION_FILTERS},
    {**SCORERS, **SESSION_SCORERS},
    PICKERS,
    {**HANDLERS, **DISAGG_HANDLERS},
    ADMITTERS,
    SCREENERS,
    DECIDERS,
)
KINDS: Mapping[str, Kind] = BUILT_IN.kinds()


@dataclass(frozen=True, slots=True)
class Plugin:
    """One declared plugin: its name, type and kind, and what the document says of it."""

    name: str
    type: str
    kind: Kind
    given: Given
