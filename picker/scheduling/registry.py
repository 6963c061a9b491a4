"""The plugin table: every type an `EndpointPickerConfig` may name, what it is, and how its parameters are read."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infscale.document import Field
from infscale.errors import SelectorError
from infscale.labels import Selector
from picker.parsing.table import PARSER_TYPES
from picker.scheduling.filters import (
    UTILIZATION_METRICS,
    FreshMetricsFilter,
    HeaderTestingFilter,
    LabelSelectorFilter,
    ReadyFilter,
    Role,
    RoleFilter,
    UtilizationFilter,
    UtilizationLimit,
    UtilizationMetric,
)
from picker.scheduling.pickers import MaxScorePicker, RandomPicker, WeightedRandomPicker
from picker.scheduling.plugin import Filter, Picker, Scorer
from picker.scheduling.scheduler import ProfileHandler, SingleProfileHandler
from picker.scheduling.scorers.affinity import LoraAffinityScorer, PrefixCacheScorer
from picker.scheduling.scorers.load import (
    ActiveRequestScorer,
    KvCacheUtilizationScorer,
    LoadAwareScorer,
    QueueScorer,
    RunningRequestsScorer,
)
from picker.scheduling.scorers.tokens import SCALINGS, InFlightTokensScorer, Scaling, TokenLoadScorer

DEFAULT_PICKER = "max-score-picker"
DEFAULT_HANDLER = "single-profile-handler"

_API_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


class Kind(enum.Enum):
    """What a plugin is for."""

    FILTER = "filter"
    SCORER = "scorer"
    PICKER = "picker"
    HANDLER = "profile handler"
    DETECTOR = "saturation detector"
    PARSER = "parser"
    PRODUCER = "data producer"
    DATA = "data source or extractor"
    DISCOVERY = "source of endpoints"


class Parameters:
    """A plugin's parameters, read strictly: what a factory does not ask for is an unknown key."""

    def __init__(self, field: Field | None, *known: str) -> None:
        self._found: Mapping[str, Field] = {} if field is None else field.mapping(optional=known)

    def get(self, name: str) -> Field | None:
        """The parameter's field, None where it is not given."""
        return self._found.get(name)

    def number(self, name: str, default: float, minimum: float = 0.0, maximum: float | None = None) -> float:
        """A finite number within the bounds."""
        field = self.get(name)
        return default if field is None else field.number(minimum, maximum)

    def positive(self, name: str, default: float) -> float:
        """A finite number above 0."""
        value = self.number(name, default)
        field = self.get(name)
        if field is not None and value <= 0:
            field.refuse("expected a number above 0")
        return value

    def integer(self, name: str, default: int, minimum: int = 0) -> int:
        """A whole number."""
        field = self.get(name)
        return default if field is None else field.integer(minimum)

    def boolean(self, name: str, default: bool) -> bool:
        """true or false."""
        field = self.get(name)
        return default if field is None else field.boolean()


def _label_selector(field: Field | None) -> Filter:
    given = Parameters(field, "matchLabels", "matchExpressions")
    labels, expressions = given.get("matchLabels"), given.get("matchExpressions")
    requirements: list[tuple[str, str, tuple[str, ...]]] = []
    for item in expressions.items() if expressions else ():
        entry = item.mapping(required=("key", "operator"), optional=("values",))
        values = tuple(value.text(empty=True) for value in entry["values"].items()) if "values" in entry else ()
        requirements.append((entry["key"].text(), entry["operator"].choice(_API_OPERATORS), values))
    try:
        selector = Selector.from_label_selector(labels.text_mapping() if labels else {}, requirements)
    except SelectorError as error:
        place = labels or expressions
        if place is None:
            raise
        place.refuse(str(error))
    return LabelSelectorFilter(selector)


def _utilization(field: Field | None) -> Filter:
    given = Parameters(field, "conditions", "fallbackOnEmpty")
    conditions = given.get("conditions")
    names: Mapping[str, UtilizationMetric] = {str(name): name for name in UTILIZATION_METRICS}
    limits: list[UtilizationLimit] = []
    for item in conditions.items() if conditions else ():
        entry = item.mapping(required=("metric", "maxValue"))
        metric: UtilizationMetric = names[entry["metric"].choice(tuple(names))]
        limits.append(UtilizationLimit(metric, entry["maxValue"].number(0.0)))
    return UtilizationFilter(tuple(limits), given.boolean("fallbackOnEmpty", False))


def _fresh(field: Field | None) -> Filter:
    age = Parameters(field, "maxAge").get("maxAge")
    return FreshMetricsFilter(None if age is None else age.duration())


def _role(role: Role) -> Callable[[Field | None], Filter]:
    def build(field: Field | None) -> Filter:
        Parameters(field)
        return RoleFilter(role)

    return build


def _ready(field: Field | None) -> Filter:
    Parameters(field)
    return ReadyFilter()


def _header_testing(field: Field | None) -> Filter:
    Parameters(field)
    return HeaderTestingFilter()


def _queue(field: Field | None) -> Scorer:
    Parameters(field)
    return QueueScorer()


def _running(field: Field | None) -> Scorer:
    Parameters(field)
    return RunningRequestsScorer()


def _kv(field: Field | None) -> Scorer:
    Parameters(field)
    return KvCacheUtilizationScorer()


def _lora(field: Field | None) -> Scorer:
    Parameters(field)
    return LoraAffinityScorer()


def _load_aware(field: Field | None) -> Scorer:
    return LoadAwareScorer(Parameters(field, "threshold").positive("threshold", 128.0))


def _active_request(field: Field | None) -> Scorer:
    # requestTimeout has no effect in the reference either: what is in flight ends with its exchange.
    given = Parameters(field, "idleThreshold", "maxBusyScore", "requestTimeout")
    return ActiveRequestScorer(given.number("idleThreshold", 0.0), given.number("maxBusyScore", 1.0, 0.0, 1.0))


def _token_load(field: Field | None) -> Scorer:
    given = Parameters(field, "queueThresholdTokens")
    return TokenLoadScorer(given.positive("queueThresholdTokens", 4_194_304.0))


def _in_flight_tokens(field: Field | None) -> Scorer:
    scaling = Parameters(field, "scaling").get("scaling")
    names: Mapping[str, Scaling] = {str(name): name for name in SCALINGS}
    return InFlightTokensScorer("request" if scaling is None else names[scaling.choice(SCALINGS)])


def _prefix_cache(field: Field | None) -> Scorer:
    given = Parameters(field, "matchLengthWeight", "matchLengthScaleTokens", "prefixMatchInfoProducerName")
    return PrefixCacheScorer(
        given.number("matchLengthWeight", 0.0, 0.0, 1.0), given.positive("matchLengthScaleTokens", 8192.0)
    )


def _maximum(field: Field | None) -> int:
    return Parameters(field, "maxNumOfEndpoints").integer("maxNumOfEndpoints", 1, 1)


def _max_score(field: Field | None) -> Picker:
    return MaxScorePicker(_maximum(field))


def _weighted_random(field: Field | None) -> Picker:
    return WeightedRandomPicker(_maximum(field))


def _random(field: Field | None) -> Picker:
    return RandomPicker(_maximum(field))


def _single_profile(field: Field | None) -> ProfileHandler:
    Parameters(field)
    return SingleProfileHandler()


FILTERS: Mapping[str, Callable[[Field | None], Filter]] = {
    "ready-filter": _ready,
    "fresh-metrics-filter": _fresh,
    "label-selector-filter": _label_selector,
    "utilization-filter": _utilization,
    "decode-filter": _role("decode"),
    "prefill-filter": _role("prefill"),
    "encode-filter": _role("encode"),
    "header-based-testing-filter": _header_testing,
}
SCORERS: Mapping[str, Callable[[Field | None], Scorer]] = {
    "queue-scorer": _queue,
    "running-requests-size-scorer": _running,
    "kv-cache-utilization-scorer": _kv,
    "load-aware-scorer": _load_aware,
    "active-request-scorer": _active_request,
    "token-load-scorer": _token_load,
    "in-flight-tokens-scorer": _in_flight_tokens,
    "lora-affinity-scorer": _lora,
    "prefix-cache-scorer": _prefix_cache,
}
PICKERS: Mapping[str, Callable[[Field | None], Picker]] = {
    DEFAULT_PICKER: _max_score,
    "weighted-random-picker": _weighted_random,
    "random-picker": _random,
}
HANDLERS: Mapping[str, Callable[[Field | None], ProfileHandler]] = {DEFAULT_HANDLER: _single_profile}

DETECTORS = ("utilization-detector", "concurrency-detector")
PREFIX_PRODUCER = "approx-prefix-cache-producer"
PRODUCERS = (PREFIX_PRODUCER, "inflight-load-producer", "token-producer")
DATA = ("metrics-data-source", "core-metrics-extractor")
DISCOVERY = ("file-discovery",)

KINDS: Mapping[str, Kind] = {
    name: kind
    for kind, names in (
        (Kind.FILTER, FILTERS),
        (Kind.SCORER, SCORERS),
        (Kind.PICKER, PICKERS),
        (Kind.HANDLER, HANDLERS),
        (Kind.DETECTOR, DETECTORS),
        (Kind.PARSER, PARSER_TYPES),
        (Kind.PRODUCER, PRODUCERS),
        (Kind.DATA, DATA),
        (Kind.DISCOVERY, DISCOVERY),
    )
    for name in names
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """One declared plugin: its name, type and kind, where it is declared, and its parameters."""

    name: str
    type: str
    kind: Kind
    field: Field
    parameters: Field | None
