"""Which metrics there are by the rules and the series that were discovered; pure code."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Final, TypeVar

from infscale.prometheus.api_answer import Labels
from infscale.prometheus.rules.metric_naming import Rule
from infscale.prometheus.rules.object_kinds import POD, ObjectKind
from infscale.prometheus.rules.own_series import OwnMetric, own_metric

SeriesForm = tuple[str, tuple[str, ...]]
"""What matters of a series: its name, and the names of its labels."""

MAX_METRICS: Final = 20_000
"""Metrics of objects, and external ones, that are kept."""
_MAX_NOTES: Final = 100


@dataclass(frozen=True, slots=True)
class Found:
    """The series behind a metric, and the rule that makes it."""

    series: str
    rule: Rule


@dataclass(frozen=True)
class SeriesRegistry:
    """What can be asked for: metrics of objects by name and kind, and external ones by name.

    `own` are metrics of pods that infscale's own scrapes hold. `overridden` are metrics that an earlier rule makes too,
    `left_out` is how many there are beyond the limit.
    """

    objects: Mapping[tuple[str, ObjectKind], Found] = field(default_factory=lambda: MappingProxyType({}))
    external: Mapping[str, Found] = field(default_factory=lambda: MappingProxyType({}))
    own: Mapping[str, OwnMetric] = field(default_factory=lambda: MappingProxyType({}))
    overridden: tuple[str, ...] = ()
    left_out: int = 0

    def find(self, metric: str, resource: str, group: str) -> tuple[ObjectKind, Found] | None:
        """The kind that request paths call `resource` and `group`, and what makes its metric; None: nothing does."""
        for kind in self._kinds.get(metric, ()):
            if kind.group == group and resource in {kind.plural, kind.singular}:
                return kind, self.objects[metric, kind]
        return None

    @cached_property
    def _kinds(self) -> Mapping[str, Sequence[ObjectKind]]:
        """The kinds of objects with a metric, by its name."""
        found: dict[str, list[ObjectKind]] = {}
        for metric, kind in self.objects:
            found.setdefault(metric, []).append(kind)
        return found


KeyT = TypeVar("KeyT")


class _Making:
    """What is said of metrics while they are put together."""

    def __init__(self) -> None:
        self.overridden: dict[str, None] = {}
        self.left_out = 0

    def put(self, held: dict[KeyT, Found], key: KeyT, metric: str, found: Found) -> None:
        """Have `found` under `key`; the rule before it gives way."""
        before = held.get(key)
        if before is None and len(held) >= MAX_METRICS:
            self.left_out += 1
            return
        if before is not None and before.rule is not found.rule and len(self.overridden) < _MAX_NOTES:
            said = f"{metric}: {before.rule} ({before.rule.place}) gives way to {found.rule} ({found.rule.place})"
            self.overridden[f"{said}, which comes later"] = None
        held[key] = found


def forms_of(series: Iterable[Labels]) -> tuple[SeriesForm, ...]:
    """The forms that series have, each once."""
    return tuple(dict.fromkeys((each.get("__name__", ""), tuple(sorted(each))) for each in series))


def registry(discovered: Iterable[tuple[Rule, Iterable[SeriesForm]]]) -> SeriesRegistry:
    """The metrics of `discovered`, series by rules in their order; of several rules for a name the last counts."""
    objects: dict[tuple[str, ObjectKind], Found] = {}
    external: dict[str, Found] = {}
    making = _Making()
    for rule, series in discovered:
        for name, labels in series:
            metric = rule.naming.name_of(name) if rule.keeps(name) else None
            # Names that a request's path cannot have are never asked for.
            if metric is None or "/" in metric or "%" in metric:
                continue
            found = Found(name, rule)
            if rule.external:
                making.put(external, metric, metric, found)
                continue
            for kind in rule.labels.kinds_of(labels):
                making.put(objects, (metric, kind), metric, found)
    of_pods = {metric: own_metric(found.rule, found.series) for (metric, kind), found in objects.items() if kind == POD}
    own = {metric: each for metric, each in of_pods.items() if each is not None}
    return SeriesRegistry(objects, external, own, tuple(making.overridden), making.left_out)
