"""Faults of a whole HPA: its target, its bounds and its behaviour."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infscale.doctor.metric_names import Kind, facts_of, is_engine_queue, is_engines
from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found, hpa
from infscale.doctor.rules.target_rules import DEFAULT_TOLERANCE, kind_of, tolerance_up
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_scalers import SeenAutoscaler, SeenMetric
from infscale.documents.suggestions import nearest
from infscale.planner.hpa_rules import DEFAULT_SCALE_DOWN, DEFAULT_SCALE_UP, ScalingRules, SelectPolicy

_SETTABLE_TOLERANCE = 35
"""The Kubernetes 1.x from which an HPA's own tolerance is taken."""
_LARGE_TOLERANCE = 0.25
_CALM_SECONDS = 60.0
_GOOD_CALM_SECONDS = 300


def swallowed_steps(view: ClusterView) -> Iterator[Found]:
    """Tolerances within which steps of one replica vanish."""
    for autoscaler in view.written():
        wants = [each for each in autoscaler.metrics if kind_of(each) is Kind.REPLICAS]
        for direction, tolerance in _tolerances(autoscaler):
            first = math.ceil(1 / tolerance) if tolerance > 0 else math.inf
            if wants and autoscaler.max_replicas > first:
                cause = (
                    f"{wants[0].name} is a number of replicas: from {first} of them on, a step by one is within the "
                    f"tolerance of {tolerance * 100:g} % and changes nothing"
                )
            elif tolerance >= _LARGE_TOLERANCE:
                way = "exceed" if direction == "scaleUp" else "stay below"
                cause = f"the metric has to {way} its target by {tolerance * 100:g} % before anything changes"
            else:
                continue
            fix = _tolerant(view, autoscaler, exact=bool(wants))
            yield Found(hpa(autoscaler.key), f"spec.behavior.{direction}.tolerance", cause, fix)
            break


def _tolerances(autoscaler: SeenAutoscaler) -> Sequence[tuple[str, float]]:
    """The tolerance of each direction."""
    down = None if autoscaler.behavior is None else autoscaler.behavior.scale_down.tolerance
    return (("scaleUp", tolerance_up(autoscaler)), ("scaleDown", DEFAULT_TOLERANCE if down is None else down))


def _tolerant(view: ClusterView, autoscaler: SeenAutoscaler, *, exact: bool) -> str:
    if view.minor is not None and view.minor < _SETTABLE_TOLERANCE:
        # The field is dropped by such an API server; only a metric of load helps.
        return fixes.look(autoscaler.key, "edit", "hpa", autoscaler.key.name)
    wanted = {"tolerance": "0" if exact else "100m"}
    return fixes.patch("hpa", autoscaler.key, {"spec": {"behavior": {"scaleUp": wanted, "scaleDown": wanted}}}, "merge")


def zero_without_signal(view: ClusterView) -> Iterator[Found]:
    """`minReplicas: 0` on metrics that vanish with the last pod, so that nothing leads back from 0."""
    for autoscaler in view.written():
        if autoscaler.min_replicas != 0 or any(_is_known_at_zero(each) for each in autoscaler.metrics):
            continue
        names = ", ".join(each.name for each in autoscaler.metrics)
        cause = f"at 0 replicas there is no pod left that {names} could come from, so it stays at 0"
        pool = view.pool_of(autoscaler)
        if pool is None:
            operations = [fixes.replace("/spec/minReplicas", 1)]
        else:
            described = {"apiVersion": f"{pool.group}/{pool.version}", "kind": "InferencePool", "name": pool.key.name}
            operations = [fixes.add("/spec/metrics/-", waking_metric(described))]
        yield Found(hpa(autoscaler.key), "spec.minReplicas", cause, fixes.patch("hpa", autoscaler.key, operations))


def waking_metric(described: Mapping[str, str]) -> dict[str, Any]:
    """The metric that scales a pool from zero: requests that found no endpoint."""
    target = {"type": "AverageValue", "averageValue": "100"}
    source = {"describedObject": described, "metric": {"name": "requests_without_endpoint"}, "target": target}
    return {"type": "Object", "object": source}


def _is_known_at_zero(metric: SeenMetric) -> bool:
    return metric.form in ("Object", "External") and not is_engines(metric.name)


def blind_to_the_queue(view: ClusterView) -> Iterator[Found]:
    """Metrics of what queues in single pods alone, while requests wait in the picker."""
    for autoscaler in view.written() if view.infscale.holds else ():
        if not autoscaler.metrics or not all(_of_pods_queues(each) for each in autoscaler.metrics):
            continue
        names = ", ".join(each.name for each in autoscaler.metrics)
        cause = f"requests wait in the picker and not in engines, which {names} alone would show as idle"
        pool = view.pool_of(autoscaler)
        if pool is None:
            fix = fixes.look(autoscaler.key, "edit", "hpa", autoscaler.key.name)
        else:
            described = {"apiVersion": f"{pool.group}/{pool.version}", "kind": "InferencePool", "name": pool.key.name}
            operations = [fixes.add("/spec/metrics/-", _metric_of_queue(described, autoscaler.metrics))]
            fix = fixes.patch("hpa", autoscaler.key, operations)
        yield Found(hpa(autoscaler.key), autoscaler.metrics[0].field, cause, fix)


def _of_pods_queues(metric: SeenMetric) -> bool:
    described = metric.described
    of_pool = metric.form == "External" or (described is not None and described.kind == "InferencePool")
    return not of_pool and is_engine_queue(metric.name)


def _metric_of_queue(described: Mapping[str, str], beside: Sequence[SeenMetric]) -> dict[str, Any]:
    """What waits in the picker, with as many per pod as may wait in its engine."""
    per_pod = [each.target_text for each in beside if kind_of(each) is Kind.LOAD and each.target_type == "AverageValue"]
    target = {"type": "AverageValue", "averageValue": per_pod[0] if per_pod else "4"}
    source = {"describedObject": described, "metric": {"name": "queued_requests"}, "target": target}
    return {"type": "Object", "object": source}


def absent_targets(view: ClusterView) -> Iterator[Found]:
    """HPAs of workloads that there are none of."""
    for autoscaler in view.written():
        if view.scales.get(autoscaler.key, True) is not None:
            continue
        target = autoscaler.target
        alike = [
            each.key.name
            for each in view.workloads
            if each.key.namespace == autoscaler.key.namespace and each.kind == target.kind
        ]
        meant = next(iter(nearest(target.name, alike)), alike[0] if len(alike) == 1 else None)
        if view.kinds and (target.api_version, target.kind) not in view.kinds and target.kind in _WORKLOADS:
            cause = f"there is no kind {target.kind} in {target.api_version or 'v1'}: it is in apps/v1"
            fix = fixes.patch("hpa", autoscaler.key, [fixes.add("/spec/scaleTargetRef/apiVersion", "apps/v1")])
        elif meant is not None:
            cause = f"there is no {target}; there is {meant}"
            fix = fixes.patch("hpa", autoscaler.key, [fixes.replace("/spec/scaleTargetRef/name", meant)])
        else:
            cause = f"there is no {target} that has a /scale"
            fix = fixes.delete("hpa", autoscaler.key)
        yield Found(hpa(autoscaler.key), "spec.scaleTargetRef", cause, fix)


_WORKLOADS = ("Deployment", "StatefulSet", "ReplicaSet")


def _of_model_servers(view: ClusterView) -> Iterator[SeenAutoscaler]:
    """The HPAs that scale model servers: of a pool, or by what engines say."""
    for each in view.written():
        if view.pool_of(each) is not None or any(facts_of(metric.name) is not None for metric in each.metrics):
            yield each


def disabled_directions(view: ClusterView) -> Iterator[Found]:
    """Behaviours that let replicas go in one direction alone."""
    for autoscaler in _of_model_servers(view):
        for name, rules in _directions(autoscaler):
            if rules.select is not SelectPolicy.DISABLED:
                continue
            kept = "GPUs are never given back" if name == "scaleDown" else "load never brings more pods"
            cause = f"selectPolicy Disabled forbids {name}: {kept}"
            path = f"spec.behavior.{name}.selectPolicy"
            fix = fixes.patch("hpa", autoscaler.key, [fixes.replace(f"/{path.replace('.', '/')}", "Max")])
            yield Found(hpa(autoscaler.key), path, cause, fix)


def _directions(autoscaler: SeenAutoscaler) -> Sequence[tuple[str, ScalingRules]]:
    behavior = autoscaler.behavior
    up = DEFAULT_SCALE_UP if behavior is None else behavior.scale_up
    return (("scaleUp", up), ("scaleDown", DEFAULT_SCALE_DOWN if behavior is None else behavior.scale_down))


def short_calm(view: ClusterView) -> Iterator[Found]:
    """Model servers that are taken away sooner than one can be loaded again."""
    for autoscaler in _of_model_servers(view):
        [(_, _), (_, down)] = _directions(autoscaler)
        window = down.stabilization_window_seconds
        if window is None or window >= _CALM_SECONDS or down.select is SelectPolicy.DISABLED:
            continue
        cause = f"replicas are taken away after {window:g} s of less load, and a model takes minutes to load again"
        change = {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": _GOOD_CALM_SECONDS}}}}
        fix = fixes.patch("hpa", autoscaler.key, change, "merge")
        yield Found(hpa(autoscaler.key), "spec.behavior.scaleDown.stabilizationWindowSeconds", cause, fix)


def missing_requests(view: ClusterView) -> Iterator[Found]:
    """Utilisation targets of pods that request nothing that it could be a share of."""
    for autoscaler in view.written():
        workload = view.workload(autoscaler.key.namespace, autoscaler.target)
        for metric in () if workload is None else autoscaler.metrics:
            if metric.target_percent is None or workload is None:
                continue
            without = [
                each.name
                for each in workload.containers
                if metric.name not in each.requests and metric.container in ("", each.name)
            ]
            if not without:
                continue
            cause = f"container {without[0]} requests no {metric.name}, and the target is a share of it"
            amount = {"cpu": "1", "memory": "1Gi"}.get(metric.name, "1")
            command = ("set", "resources", workload.resource, workload.key.name, f"--requests={metric.name}={amount}")
            fix = " && ".join(fixes.look(workload.key, *command, "-c", name) for name in without)
            yield Found(hpa(autoscaler.key), metric.field, cause, fix)
