"""The metadata of a trigger, read once: which value of which pool is asked for, and against which target.

KEDA hands over every key of the trigger's metadata, its own among them. Keys that are neither are refused, because a
misspelt one would leave a threshold at its default.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NoReturn, TypeVar

from infscale.discovery.names import is_name, is_namespace
from infscale.documents.strict_document import quoted
from infscale.documents.suggestions import did_you_mean, short_list
from infscale.endpoint import ObjectKey
from infscale.errors import QuantityError
from infscale.keda.errors import InvalidTrigger, NotThere
from infscale.metrics.published.aliases import Alias
from infscale.metrics.published.catalogue import PublishedMetric
from infscale.metrics.published.latency_goals import Goal, read_goals
from infscale.metrics.published.metric_table import MetricTable
from infscale.quantity import parse_quantity

MOST_KEYS: Final = 64
LONGEST: Final = 1024
"""Characters of a key or value."""
SMALLEST_TARGET: Final = 0.001
"""KEDA writes three decimals: below it there is no HPA at all."""
LARGEST: Final = 1e15
USUAL_SATURATION: Final = 0.8
"""The saturation that a trigger with goals keeps a pool at, unless it says another."""

T = TypeVar("T")

_KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "metric": ("metricName",),
        "slo": (),
        "pool": (),
        "namespace": (),
        "model": ("modelName",),
        "target": ("targetValue",),
        "activation": ("activationTarget", "activationTargetValue"),
        "saturation": (),
    }
)
"""Our keys, each with its other spellings, which are those of KEDA's own scalers."""

_SPELLINGS: Final = {spelling: key for key, others in _KEYS.items() for spelling in (key, *others)}
_FROM_ENV: Final = "FromEnv"
# KEDA's own keys in the metadata of a trigger, which say how the scaler is reached and used.
_OF_KEDA: Final = frozenset(
    {
        "scalerAddress",
        "metricType",
        "enableTLS",
        "unsafeSsl",
        "tlsCertFile",
        "caCert",
        "tlsClientCert",
        "tlsClientKey",
        "useCachedMetrics",
        "name",
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call names: the ScaledObject, and the metadata of one of its triggers as it came."""

    scaled_object: ObjectKey
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scope:
    """What of which pools is meant; `pool` None: all of the namespace, `model` None: all models."""

    scaled_object: ObjectKey
    namespace: str
    pool: str | None
    model: str | None

    @property
    def key(self) -> ObjectKey | None:
        """The one pool that is meant."""
        return None if self.pool is None else ObjectKey(self.namespace, self.pool)


@dataclass(frozen=True, slots=True)
class MetricTrigger:
    """One published metric or formula against a target; `target` None: what one endpoint takes by its pool's settings.

    `activation` is the value above which the trigger is active; None: the load of the pool alone decides.
    """

    scope: Scope
    metric: PublishedMetric
    target: float | None
    activation: float | None

    @property
    def name(self) -> str:
        """The name of its metric in the HPA."""
        return self.metric.name


@dataclass(frozen=True, slots=True)
class SloTrigger:
    """Objectives of one pool, and the saturation it is kept at; what is published is a number of replicas."""

    scope: Scope
    pool: ObjectKey
    goals: tuple[Goal, ...]
    saturation: float

    @property
    def name(self) -> str:
        """The name of its metric in the HPA."""
        return SLO_METRIC


SLO_METRIC: Final = "infscale_replicas_of_load"
Trigger = MetricTrigger | SloTrigger


def read_trigger(asked: Asked, table: MetricTable, *, other_namespaces: bool) -> Trigger:
    """The trigger that `asked` writes; `table` has the metrics there are.

    Raises `InvalidTrigger` for what cannot be used, `NotThere` for a metric that there is not.
    """
    keys = _Keys.of(asked)
    scope = _scope(keys, asked.scaled_object, other_namespaces=other_namespaces)
    if ("metric" in keys.given) == ("slo" in keys.given):
        keys.refuse("metric", "give either metric (what to scale on) or slo (what to keep), and not both")
    if "slo" in keys.given:
        return _slo(keys, scope)
    keys.only_with("saturation", "slo")
    return _metric(keys, scope, table)


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of ours that are given, by their first spelling."""

    scaled_object: ObjectKey
    given: Mapping[str, str]
    spelled: Mapping[str, str]

    @classmethod
    def of(cls, asked: Asked) -> "_Keys":
        """The keys in the metadata of a call; refuses what is neither ours nor KEDA's."""
        given: dict[str, str] = {}
        spelled: dict[str, str] = {}
        keys = cls(asked.scaled_object, given, spelled)
        if len(asked.metadata) > MOST_KEYS:
            raise InvalidTrigger(str(asked.scaled_object), f"its trigger has more than {MOST_KEYS} keys")
        for written, text in sorted(asked.metadata.items()):
            if max(len(written), len(text)) > LONGEST:
                keys.refuse(written[:LONGEST], f"is longer than {LONGEST} characters")
            name = written.removesuffix(_FROM_ENV)
            key = _SPELLINGS.get(name)
            if key is None:
                if name in _OF_KEDA:
                    continue
                meant = did_you_mean(name, _SPELLINGS) or f"; there are {', '.join(_KEYS)}"
                keys.refuse(written, f"there is no such key{meant}")
            if key in given:
                keys.refuse(written, f"is given twice, as {spelled[key]}, too")
            given[key], spelled[key] = text.strip(), written
        return keys

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Refuse the value of `key`."""
        raise InvalidTrigger(str(self.scaled_object), f"{self.written(key)}: {problem}")

    def written(self, key: str) -> str:
        """How `key` is spelled in the metadata, as far as a message may repeat it."""
        return quoted(self.spelled.get(key, key))[1:-1]

    def get(self, key: str, read: Callable[[str, str], T]) -> T | None:
        """What `read` makes of the key and its value; None where it is not given."""
        return self.read(key, read) if key in self.given else None

    def read(self, key: str, read: Callable[[str, str], T]) -> T:
        """The same of a key that is given."""
        if not self.given[key]:
            self.refuse(key, "is empty")
        return read(key, self.given[key])

    def only_with(self, key: str, other: str) -> None:
        """Refuse `key` where it is given."""
        if key in self.given:
            self.refuse(key, f"goes with {other} only")

    def number(self, key: str, text: str) -> float:
        """A number as Kubernetes writes quantities: 5, 0.5, 500m, 60Gi."""
        try:
            number = float(parse_quantity(text))
        except QuantityError:
            number = math.nan
        if not abs(number) <= LARGEST:
            self.refuse(key, f"expected a number such as 5, 0.5 or 500m, got {quoted(text)}")
        return number

    def target(self, key: str, text: str) -> float:
        """A target, which KEDA makes no HPA of where it is too small."""
        number = self.number(key, text)
        if number < SMALLEST_TARGET:
            self.refuse(key, f"expected at least {SMALLEST_TARGET} (KEDA keeps three decimals), got {quoted(text)}")
        return number

    def activation(self, key: str, text: str) -> float:
        """The value above which a trigger is active."""
        number = self.number(key, text)
        if number < 0:
            self.refuse(key, f"expected 0 or more, got {quoted(text)}")
        return number

    def ratio(self, key: str, text: str) -> float:
        """A share of capacity."""
        number = self.number(key, text)
        if not SMALLEST_TARGET <= number <= 1:
            self.refuse(key, f"expected a share of capacity above 0 and at most 1, such as 0.8, got {quoted(text)}")
        return number


def _scope(keys: _Keys, scaled_object: ObjectKey, *, other_namespaces: bool) -> Scope:
    def namespace(key: str, text: str) -> str:
        if not is_namespace(text):
            keys.refuse(key, f"expected a namespace, got {quoted(text)}")
        if text != scaled_object.namespace and not other_namespaces:
            keys.refuse(key, f"{quoted(text)} is not the ScaledObject's own; keda.other_namespaces: true allows it")
        return text

    def pool(key: str, text: str) -> str:
        if not is_name(text):
            more = "; its namespace is another key" if "/" in text else ""
            keys.refuse(key, f"expected the name of an InferencePool, got {quoted(text)}{more}")
        return text

    def model(_: str, text: str) -> str:
        return text

    found = keys.get("namespace", namespace) or scaled_object.namespace
    return Scope(scaled_object, found, keys.get("pool", pool), keys.get("model", model))


def _metric(keys: _Keys, scope: Scope, table: MetricTable) -> MetricTrigger:
    def metric(key: str, text: str) -> PublishedMetric:
        found = table.called(text)
        if isinstance(found, Alias):
            problem = f"{quoted(text)} is not answered under that name: {found.why}; ask for {found.metric}"
            keys.refuse(key, problem)
        if found is None:
            meant = did_you_mean(text, table.names) or f"; known are {short_list(table.names, text)}"
            problem = f"{keys.written(key)}: there is no metric {quoted(text)}{meant}"
            raise NotThere(str(scope.scaled_object), problem)
        return found

    found = keys.read("metric", metric)
    target = keys.get("target", keys.target)
    return MetricTrigger(scope, found, target, keys.get("activation", keys.activation))


def _slo(keys: _Keys, scope: Scope) -> SloTrigger:
    for key in ("target", "activation"):
        if key in keys.given:
            keys.refuse(key, "goes with metric only: with slo the scaler finds the number of replicas itself")
    pool = scope.key
    if pool is None:
        keys.refuse("pool", "is missing: slo is about one InferencePool")
    goals = keys.read("slo", lambda key, text: _goals(keys, key, text))
    saturation = keys.get("saturation", keys.ratio)
    return SloTrigger(scope, pool, goals, USUAL_SATURATION if saturation is None else saturation)


def _goals(keys: _Keys, key: str, text: str) -> tuple[Goal, ...]:
    try:
        return read_goals(text)
    except ValueError as error:
        keys.refuse(key, str(error))
