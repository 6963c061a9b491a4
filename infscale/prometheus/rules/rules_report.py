"""What becomes of rules, for people: of each rule of a file, and of what is evaluated while it runs; pure code."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from infscale.prometheus.rules.asked_board import Asked, Evaluated
from infscale.prometheus.rules.metric_naming import Rule
from infscale.prometheus.rules.object_kinds import POD
from infscale.prometheus.rules.own_series import OWN_METRICS, why_not_own
from infscale.prometheus.rules.promql_shape import Condition, shape_of
from infscale.prometheus.rules.rules_file import RulesFile
from infscale.prometheus.rules.series_registry import SeriesRegistry

RESOURCES_NOT_SERVED: Final = (
    "not served: the resource metrics API (metrics.k8s.io) is metrics-server's, which reads kubelets; keep it, or "
    "install it before this prometheus-adapter goes, or HPAs on CPU and memory and kubectl top stop"
)
"""What becomes of resource rules."""

Plain = str | float | bool | None | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True, slots=True)
class RuleFate:
    """What becomes of one rule: `metric` is what it makes as far as that shows in the file, `notes` say the rest."""

    rule: str
    place: str
    metric: str
    answered_from: str
    notes: tuple[str, ...] = ()


def fates(rules: RulesFile) -> tuple[RuleFate, ...]:
    """What becomes of each rule, in the order of the file."""
    found = [_fate(rule, _overriding(rule, rules)) for rule in rules.all]
    for each in rules.resource_rules:
        notes = (RESOURCES_NOT_SERVED,)
        found.append(RuleFate(f"resourceRules.{each.resource}", each.place, each.resource, "–", notes))
    return tuple(found)


def _fate(rule: Rule, overriding: Iterable[str]) -> RuleFate:
    series = series_of(rule)
    metric = "by discovery" if series is None else rule.naming.name_of(series) or "none: name.matches does not match"
    answered, notes = "Prometheus", [*overriding]
    if not rule.external:
        if not rule.labels.overrides and rule.labels.template is None:
            notes.append("no label names an object: give resources.overrides or resources.template")
        if series is not None and series in OWN_METRICS:
            why = why_not_own(rule, series)
            own = OWN_METRICS[series]
            if why is None and POD in _kinds(rule):
                answered = "own scrapes, then Prometheus"
                times = "" if own.factor == 1.0 else f" × {own.factor:g}"
                notes.append(f"pods in a pool: {own.metric}{times}, without a Prometheus")
            elif why is not None:
                notes.append(f"infscale scrapes this series, and it is asked of the Prometheus: {why}")
    if rule.labels.template is not None:
        notes.append("its label template may name any kind: allow infscale to list the kinds that HPAs ask for")
    return RuleFate(str(rule), rule.place, metric, answered, tuple(notes))


def metrics_shown(rules: RulesFile) -> tuple[str, ...]:
    """The metrics that rules make, as far as that shows in the file."""
    shown = ((rule, series_of(rule)) for rule in rules.all)
    named = [None if series is None else rule.naming.name_of(series) for rule, series in shown]
    return tuple(dict.fromkeys(each for each in named if each is not None))


def _kinds(rule: Rule) -> tuple[object, ...]:
    return (*rule.labels.overrides.values(), *([POD] if rule.labels.template is not None else []))


def series_of(rule: Rule) -> str | None:
    """The one series that a rule is about; None: discovery decides, or its filters keep none."""
    query = rule.series_query.strip()
    if query.startswith("{"):
        # A selector without a name in front may name it in a condition.
        named = shape_of(f"x{query}")
        names = [] if named is None else [each for each in named.conditions if each.label == "__name__"]
        series = _named(names)
    else:
        shape = shape_of(query)
        series = None if shape is None else shape.metric
    return series if series is not None and rule.keeps(series) else None


def _named(conditions: Iterable[Condition]) -> str | None:
    equal = [each.value for each in conditions if each.sign == "="]
    return equal[0] if len(equal) == 1 else None


def _overriding(rule: Rule, rules: RulesFile) -> Iterator[str]:
    """Which later rule makes the same metric, as far as that shows in the file."""
    series = series_of(rule)
    metric = None if series is None else rule.naming.name_of(series)
    alike = rules.external_rules if rule.external else rules.rules
    for other in alike[rule.number + 1 :]:
        others = series_of(other)
        if metric is not None and others is not None and other.naming.name_of(others) == metric:
            yield f"{other} ({other.place}) makes {metric} too and comes later: it counts where both have an object"


def registry_document(registry: SeriesRegistry) -> dict[str, Plain]:
    """The metrics that rules make of the series there are."""
    objects: dict[str, Plain] = {}
    for (metric, kind), found in registry.objects.items():
        own = registry.own.get(metric) if kind == POD else None
        objects[f"{kind}/{metric}"] = {
            "series": found.series,
            "rule": str(found.rule),
            "answered_from": "prometheus" if own is None else f"own scrapes ({own.metric}), then prometheus",
        }
    external: dict[str, Plain] = {
        metric: {"series": found.series, "rule": str(found.rule), "answered_from": "prometheus"}
        for metric, found in registry.external.items()
    }
    return {
        "objects": objects,
        "external": external,
        "overridden": list(registry.overridden),
        "left_out": registry.left_out,
    }


def asked_document(asked: Mapping[Asked, Evaluated | None], now: float) -> list[Plain]:
    """What is evaluated, with the ages of what came of it."""
    return [_question(each, evaluated, now) for each, evaluated in asked.items()]


def _question(asked: Asked, evaluated: Evaluated | None, now: float) -> dict[str, Plain]:
    if evaluated is None:
        return {"question": str(asked), "state": "being evaluated"}
    readings = [*evaluated.objects.values(), *evaluated.label_sets.values()]
    return {
        "question": str(asked),
        "values": len(readings),
        "oldest_seconds": max((each.age(now) for each in readings), default=None),
        "evaluated_seconds_ago": max(0.0, now - evaluated.at),
        "unknown": dict(list(evaluated.unknown.items())[:10]),
        "cause": evaluated.cause,
    }
