"""Faults of the targets of an HPA's metrics: what they are compared with, and what they can reach."""

import math
from collections.abc import Iterator

from infscale.doctor.metric_names import Kind, facts_of
from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found, hpa
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_scalers import SeenAutoscaler, SeenMetric

DEFAULT_TOLERANCE = 0.1
"""Of kube-controller-manager, where an HPA has none of its own."""

_GOOD_RATIO = "800m"
_PERCENT = (10_000, 90_000)
"""Thousandths that are taken for percent of a ratio."""
_TOTALS = ("Object", "External")


def tolerance_up(autoscaler: SeenAutoscaler) -> float:
    """How far above its target a metric has to be before an HPA scales up."""
    own = None if autoscaler.behavior is None else autoscaler.behavior.scale_up.tolerance
    return DEFAULT_TOLERANCE if own is None else own


def above_ceiling(view: ClusterView) -> Iterator[Found]:
    """Targets that a metric cannot exceed, so that nothing ever scales up."""
    for autoscaler, metric in view.metrics():
        facts = facts_of(metric.name)
        if facts is None or facts.ceiling is None or metric.target_milli is None or _is_divided(metric):
            continue
        needed = metric.target_milli / 1000 * (1 + tolerance_up(autoscaler))
        if needed < facts.ceiling:
            continue
        cause = (
            f"scaling up takes more than {needed:g} (target {metric.target_text} and the tolerance), and "
            f"{metric.name} is at most {facts.ceiling:g}"
        )
        yield metric_found(
            autoscaler, metric, "target", cause, _retargeted(autoscaler, metric, _ratio(metric.target_milli))
        )


def _ratio(target_milli: int) -> str:
    """A ratio for a target that is too high: what it says in percent, where it is that."""
    return f"{target_milli // 100}m" if _PERCENT[0] <= target_milli <= _PERCENT[1] else _GOOD_RATIO


def above_saturation(view: ClusterView) -> Iterator[Found]:
    """Saturation that would have to be above 1, where the picker refuses or holds requests at 1."""
    for autoscaler, metric in view.metrics():
        if metric.name != "saturation_ratio" or _is_divided(metric) or (metric.target_milli or 0) <= 1000:
            continue
        cause = f"a pool is full at 1: with a target of {metric.target_text} it is scaled up only when it is overloaded"
        yield metric_found(autoscaler, metric, "target", cause, _retargeted(autoscaler, metric, _GOOD_RATIO))


def above_batch(view: ClusterView) -> Iterator[Found]:
    """Targets of running requests that a pod's batch cannot reach."""
    for autoscaler, metric in view.metrics():
        facts = facts_of(metric.name)
        workload = view.workload(autoscaler.key.namespace, autoscaler.target)
        if facts is None or workload is None or metric.target_milli is None or metric.target_type != "AverageValue":
            continue
        batch = next((each for each in (one.number(facts.flags) for one in workload.containers) if each), None)
        if batch is None or metric.target_milli / 1000 * (1 + tolerance_up(autoscaler)) < batch:
            continue
        cause = f"a pod runs at most {batch} requests at once, so {metric.name} never exceeds {metric.target_text}"
        target = max(1, math.floor(batch * 0.7))
        yield metric_found(autoscaler, metric, "target", cause, _retargeted(autoscaler, metric, str(target)))


def value_for_load(view: ClusterView) -> Iterator[Found]:
    """`Value` targets of amounts that add up."""
    for autoscaler, metric in view.metrics():
        facts = facts_of(metric.name)
        if metric.form not in _TOTALS or metric.target_type != "Value" or facts is None or facts.kind is Kind.LEVEL:
            continue
        cause = (
            f"{metric.name} is a total: with Value the controller multiplies it by the ready pods, so that it "
            "overshoots, and scales to the minimum while none is ready"
        )
        yield metric_found(autoscaler, metric, "target.type", cause, _typed(autoscaler, metric, "AverageValue"))


def average_for_level(view: ClusterView) -> Iterator[Found]:
    """`AverageValue` targets of ratios and times."""
    for autoscaler, metric in view.metrics():
        if not _is_divided(metric) or kind_of(metric) is not Kind.LEVEL:
            continue
        cause = (
            f"{metric.name} does not add up over pods: with AverageValue the controller divides it by the replicas, so "
            "that more pods always look less loaded"
        )
        yield metric_found(autoscaler, metric, "target.type", cause, _typed(autoscaler, metric, "Value"))


def _is_divided(metric: SeenMetric) -> bool:
    return metric.form in _TOTALS and metric.target_type == "AverageValue"


def kind_of(metric: SeenMetric) -> Kind | None:
    """What the values of a metric are, None where nothing is known of it."""
    facts = facts_of(metric.name)
    return None if facts is None else facts.kind


def summed_externals(view: ClusterView) -> Iterator[Found]:
    """External metrics of which several values are added up that mean nothing as a sum."""
    for autoscaler, metric in view.metrics():
        if not is_summed(view, autoscaler, metric):
            continue
        pool = view.pool_of(autoscaler) or next(
            (each for each in view.every_pool if each.key.namespace == autoscaler.key.namespace), None
        )
        labels = {**metric.labels, "pool": "POOL" if pool is None else pool.key.name}
        path = f"{place_in(metric)}/metric/selector"
        fix = fixes.patch("hpa", autoscaler.key, [fixes.add(path, {"matchLabels": labels})])
        cause = f"the selector leaves several values of {metric.name}, and the controller adds them up"
        yield metric_found(autoscaler, metric, "metric.selector", cause, fix)


def is_summed(view: ClusterView, autoscaler: SeenAutoscaler, metric: SeenMetric) -> bool:
    """Whether values are added up that mean nothing as a sum."""
    answer = view.answer(autoscaler, metric)
    if metric.form != "External" or answer is None or kind_of(metric) in (None, Kind.LOAD):
        return False
    # infscale refuses what would be added up, with 400.
    return len(answer.items) > 1 or (answer.status == "Rejected" and "no meaning when added" in (answer.problem or ""))


def place_in(metric: SeenMetric) -> str:
    """The JSON pointer of a metric's source."""
    return f"/spec/metrics/{metric.index}/{metric.source}"


def _retargeted(autoscaler: SeenAutoscaler, metric: SeenMetric, amount: str) -> str:
    key = "value" if metric.target_type == "Value" else "averageValue"
    return fixes.patch("hpa", autoscaler.key, [fixes.replace(f"{place_in(metric)}/target/{key}", amount)])


def _typed(autoscaler: SeenAutoscaler, metric: SeenMetric, kind: str) -> str:
    key = "value" if kind == "Value" else "averageValue"
    target = {"type": kind, key: metric.target_text}
    return fixes.patch("hpa", autoscaler.key, [fixes.replace(f"{place_in(metric)}/target", target)])


def metric_found(autoscaler: SeenAutoscaler, metric: SeenMetric, part: str, cause: str, fix: str) -> Found:
    """What was found at a part of a metric."""
    return Found(hpa(autoscaler.key), f"{metric.field}.{metric.source}.{part}", cause, fix)
