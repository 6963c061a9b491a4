"""HorizontalPodAutoscalers, ScaledObjects and other scalers, as the API server sends them."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from infscale.doctor.reading.plain_json import Json
from infscale.doctor.view.seen_scalers import (
    ObjectRef,
    SeenAutoscaler,
    SeenCondition,
    SeenMetric,
    SeenOther,
    SeenScaledObject,
    SeenTrigger,
)
from infscale.planner.hpa_rules import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    Behavior,
    PolicyType,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
)

_DEFAULT_MAX = 100
_MAX_QUERY = 1_000
# Of a URL: user and password before the host.
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
# The rest of a trigger's metadata is not looked at: it may hold passwords.
_TRIGGER_KEYS = frozenset({"scalerAddress", "query", "metricName", "metric", "pool", "serverAddress"})
_TARGET_KEYS = MappingProxyType({"Value": "value", "AverageValue": "averageValue"})


def reference(found: Json) -> ObjectRef:
    """A reference to an object of the same namespace."""
    return ObjectRef(found.at("apiVersion").text(), found.at("kind").text(), found.at("name").text())


def autoscaler(item: Json) -> SeenAutoscaler:
    """A `HorizontalPodAutoscaler` of ``autoscaling/v2``."""
    spec, status = item.at("spec"), item.at("status")
    return SeenAutoscaler(
        item.key(),
        reference(spec.at("scaleTargetRef")),
        spec.at("minReplicas").whole(1),
        spec.at("maxReplicas").whole(1),
        tuple(_metric(index, each) for index, each in enumerate(spec.at("metrics").items())),
        _behavior(spec.at("behavior")),
        tuple(_condition(each) for each in status.at("conditions").items()),
        status.at("desiredReplicas").whole_or_none() if status.at("currentMetrics").is_there else None,
        item.controller(),
        item.at("metadata", "creationTimestamp").text(),
    )


def _condition(found: Json) -> SeenCondition:
    return SeenCondition(*(found.at(key).text() for key in ("type", "status", "reason", "message")))


def _metric(index: int, item: Json) -> SeenMetric:
    form = item.at("type").text()
    source = item.at(form[:1].lower() + form[1:])
    target, metric = source.at("target"), source.at("metric")
    kind = target.at("type").text()
    amount = target.at(_TARGET_KEYS.get(kind, ""))
    described = source.at("describedObject")
    return SeenMetric(
        index,
        form,
        metric.at("name").text() or source.at("name").text(),
        kind,
        amount.milli(),
        target.at("averageUtilization").whole_or_none(),
        str(amount.value) if amount.is_there else "",
        str(metric.at("selector").selector() or ""),
        metric.at("selector", "matchLabels").texts(),
        reference(described) if described.is_there else None,
        source.at("container").text(),
    )


def _behavior(found: Json) -> Behavior | None:
    if not found.is_there:
        return None
    up, down = found.at("scaleUp"), found.at("scaleDown")
    return Behavior(_rules(up, DEFAULT_SCALE_UP), _rules(down, DEFAULT_SCALE_DOWN))


def _rules(found: Json, default: ScalingRules) -> ScalingRules:
    if not found.is_there:
        return default
    window = found.at("stabilizationWindowSeconds").whole_or_none()
    tolerance = found.at("tolerance").quantity()
    policies = tuple(each for each in map(_policy, found.at("policies").items()) if each is not None)
    try:
        return ScalingRules(
            policies or default.policies,
            SelectPolicy(found.at("selectPolicy").text("Max")),
            default.stabilization_window_seconds if window is None else float(window),
            None if tolerance is None else float(tolerance),
        )
    except ValueError:
        return default


def _policy(found: Json) -> ScalingPolicy | None:
    try:
        kind = PolicyType(found.at("type").text())
        return ScalingPolicy(kind, found.at("value").whole(), float(found.at("periodSeconds").whole()))
    except ValueError:
        return None


def scaled_object(item: Json) -> SeenScaledObject:
    """A `ScaledObject` of KEDA, with the defaults of its operator."""
    key, spec = item.key(), item.at("spec")
    target = reference(spec.at("scaleTargetRef"))
    kind = target.kind or "Deployment"
    version = target.api_version or ("apps/v1" if kind in ("Deployment", "StatefulSet") else "")
    named = spec.at("advanced", "horizontalPodAutoscalerConfig", "name").text()
    return SeenScaledObject(
        key,
        ObjectRef(version, kind, target.name),
        spec.at("minReplicaCount").whole(0),
        spec.at("maxReplicaCount").whole(_DEFAULT_MAX),
        tuple(_trigger(index, each) for index, each in enumerate(spec.at("triggers").items())),
        named or f"keda-hpa-{key.name}",
        spec.at("fallback").is_there,
        item.at("metadata", "creationTimestamp").text(),
        spec.at("advanced", "scalingModifiers", "formula").is_there,
    )


def _trigger(index: int, item: Json) -> SeenTrigger:
    metadata: Mapping[str, str] = {
        key: _CREDENTIALS.sub("//", value[:_MAX_QUERY])
        for key, value in item.at("metadata").texts().items()
        if key in _TRIGGER_KEYS
    }
    return SeenTrigger(index, item.at("type").text(), metadata, item.at("metricType").text("AverageValue"))


def other_scaler(item: Json, resource: str, kind: str, target_path: tuple[str, ...]) -> SeenOther:
    """Another object that sizes a workload, whose reference to it is at `target_path`."""
    mode = item.at("spec", "updatePolicy", "updateMode").text()
    return SeenOther(resource, kind, item.key(), reference(item.at("spec", *target_path)), mode)
