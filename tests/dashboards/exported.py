"""What can be asked for: metrics and labels that infscale exports, and those of kube-state-metrics that boards use."""

from collections.abc import Iterator, Mapping

import promql_parser
from promql_parser import AggModifierType, AggregateExpr, BinaryExpr, MatrixSelector, NumberLiteral, VectorSelector

from tests.own_metrics import SECTIONS, families

# What Prometheus adds to each series.
TARGET = frozenset({"instance", "job"})
_SUFFIXES: Mapping[str, tuple[tuple[str, frozenset[str]], ...]] = {
    "counter": (("_total", frozenset()),),
    "histogram": (("_bucket", frozenset({"le"})), ("_sum", frozenset()), ("_count", frozenset())),
}
_PLAIN: tuple[tuple[str, frozenset[str]], ...] = (("", frozenset()),)
_HPA = frozenset({"namespace", "horizontalpodautoscaler"})
_OF_TARGET = _HPA | {"metric_name", "metric_target_type"}

KUBE_STATE_METRICS: Mapping[str, frozenset[str]] = {
    "kube_horizontalpodautoscaler_spec_max_replicas": _HPA,
    "kube_horizontalpodautoscaler_spec_target_metric": _OF_TARGET,
    "kube_horizontalpodautoscaler_status_condition": _HPA | {"condition", "status"},
    "kube_horizontalpodautoscaler_status_current_replicas": _HPA,
    "kube_horizontalpodautoscaler_status_desired_replicas": _HPA,
    "kube_horizontalpodautoscaler_status_target_metric": _OF_TARGET,
}
"""Of its documentation (docs/metrics/workload/horizontalpodautoscaler-metrics.md), version 2."""


def exported() -> dict[str, frozenset[str]]:
    """Every series by its name, with its labels."""
    found = dict(KUBE_STATE_METRICS)
    for section in SECTIONS:
        for family in families(section):
            labels = frozenset(getattr(family, "_labelnames", ()))
            for suffix, more in _SUFFIXES.get(family.type, _PLAIN):
                found[family.name + suffix] = labels | more
    return found


def problems(query: str, known: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """What a query asks for that there is not. Raises `ValueError` where it is no PromQL."""
    for part in parts(promql_parser.parse(query)):
        if isinstance(part, VectorSelector):
            labels = known.get(part.name or "")
            if labels is None:
                yield f"there is no {part.name}"
                continue
            for matcher in part.matchers.matchers:
                if matcher.name not in labels | TARGET:
                    yield f"{part.name} has no label {matcher.name}"
        elif isinstance(part, AggregateExpr) and part.modifier is not None:
            assert part.modifier.type == AggModifierType.By, "labels that remain are named"
            within = [each for each in parts(part.expr) if isinstance(each, VectorSelector)]
            there = frozenset[str]().union(*(known.get(each.name or "", frozenset()) for each in within))
            for label in part.modifier.labels:
                if label not in there | TARGET:
                    yield f"{', '.join(str(each.name) for each in within)} has no label {label}"


def parts(expr: object) -> list[object]:
    """An expression and all that it is made of."""
    found: list[object] = []

    def visit(part: object) -> bool:
        found.append(part)
        return True

    assert isinstance(expr, promql_parser.Expr)
    promql_parser.walk(expr, visit)
    return found


def kept_labels(query: str, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The labels that the result of a query has: those of its outermost aggregation, else of what it selects."""
    return _kept(promql_parser.parse(query), known)


def _kept(expr: object, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if isinstance(expr, AggregateExpr):
        return frozenset(expr.modifier.labels if expr.modifier is not None else ())
    if isinstance(expr, BinaryExpr):
        return _kept(expr.rhs if isinstance(expr.lhs, NumberLiteral) else expr.lhs, known)
    if isinstance(expr, VectorSelector):
        return known[expr.name or ""] | TARGET
    if isinstance(expr, MatrixSelector):
        return _kept(expr.vector_selector, known)
    if isinstance(expr, promql_parser.Call):
        # A quantile is of all buckets.
        return _kept(expr.args[-1], known) - ({"le"} if expr.func.name == "histogram_quantile" else set())
    if isinstance(expr, promql_parser.ParenExpr):
        return _kept(expr.expr, known)
    return frozenset()
