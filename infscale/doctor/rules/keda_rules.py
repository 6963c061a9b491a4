"""Faults of ScaledObjects of KEDA."""

import re
from collections.abc import Iterable, Iterator

from infscale.doctor.metric_names import Kind, facts_of, is_engine_queue, is_engines, is_of_one_pod
from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found, Subject
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_scalers import SeenScaledObject, SeenTrigger

_SCALED_OBJECT = "ScaledObject"
_SCALED = "scaledobjects.keda.sh"
_EXTERNAL_TYPES = ("external", "external-push")
_DEFAULT_SCALER_PORT = 9005
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"' r"|'(?:[^'\\]|\\.)*'")
_ONE_SERIES = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{[^{}]*\})?\s*")
_LABELS = r"\s*(?:(?:by|without)\s*\([^()]*\))?\s*"
_WHOLE_CALL = re.compile(rf"\s*(avg|max|min|quantile|histogram_quantile){_LABELS}\(")
_ONLY_LABELS = re.compile(_LABELS)
_TOTALLING = frozenset({"sum", "count", "sum_over_time", "count_values"})


def addresses_without_port(view: ClusterView) -> Iterator[Found]:
    """External triggers whose address has no port, which KEDA cannot dial."""
    for scaled in view.scaled_objects:
        for trigger in scaled.triggers:
            address = trigger.metadata.get("scalerAddress")
            if trigger.type not in _EXTERNAL_TYPES or address is None or address.rpartition(":")[2].isdecimal():
                continue
            port = _scaler_port(view, address, scaled.key.namespace)
            place = f"spec.triggers[{trigger.index}].metadata.scalerAddress"
            cause = f"the address {address[:80]} has no port, so KEDA cannot connect and makes no HPA"
            path = f"/spec/triggers/{trigger.index}/metadata/scalerAddress"
            fix = fixes.patch(_SCALED, scaled.key, [fixes.replace(path, f"{address.rstrip(':')}:{port}")])
            yield Found(_scaled(scaled), place, cause, fix)


def _scaler_port(view: ClusterView, address: str, namespace: str) -> int:
    name, _, rest = address.partition(".")
    service = view.service(rest.partition(".")[0] or namespace, name)
    return service.ports[0] if service is not None and service.ports else _DEFAULT_SCALER_PORT


def missing_fallback(view: ClusterView) -> Iterator[Found]:
    """ScaledObjects that go on with nothing while their metrics cannot be read."""
    for scaled in view.scaled_objects:
        if scaled.has_fallback or not any(each.type not in ("cpu", "memory") for each in scaled.triggers):
            continue
        cause = "without a fallback nothing scales up while the trigger's metrics cannot be read"
        wanted = {"failureThreshold": 3, "replicas": max(1, scaled.min_replicas), "behavior": "currentReplicasIfHigher"}
        fix = fixes.patch(_SCALED, scaled.key, {"spec": {"fallback": wanted}}, "merge")
        yield Found(_scaled(scaled), "spec.fallback", cause, fix)


def keda_zero_without_signal(view: ClusterView) -> Iterator[Found]:
    """ScaledObjects that go to zero on metrics of engines, which vanish with the last pod."""
    for scaled in view.scaled_objects:
        if scaled.min_replicas != 0 or any(map(_is_infscales, scaled.triggers)):
            continue
        if not scaled.triggers or not all(map(_asks_engines, _names(scaled))):
            continue
        cause = "at 0 replicas no engine is left whose metrics could activate it again"
        fix = fixes.patch(_SCALED, scaled.key, {"spec": {"minReplicaCount": 1}}, "merge")
        yield Found(_scaled(scaled), "spec.minReplicaCount", cause, fix)


def _is_infscales(trigger: SeenTrigger) -> bool:
    """Whether it asks infscale's own scaler, which activates by requests that found no endpoint."""
    return trigger.type in _EXTERNAL_TYPES and not trigger.metadata.keys().isdisjoint(("pool", "metric"))


def _names(scaled: SeenScaledObject) -> Iterable[str]:
    for each in scaled.triggers:
        metric = each.metadata.get("metric") or each.metadata.get("metricName") or ""
        yield each.metadata.get("query", "") if each.type == "prometheus" else metric


def _asks_engines(text: str) -> bool:
    known = [word for word in _WORD.findall(text) if facts_of(word) is not None]
    return bool(known) and all(map(is_engines, known))


def keda_blind_to_the_queue(view: ClusterView) -> Iterator[Found]:
    """ScaledObjects on what engines say of their queues, while requests wait in the picker."""
    for scaled in view.scaled_objects if view.infscale.holds else ():
        if scaled.triggers and all(map(_asks_queues, scaled.triggers)):
            cause = "requests wait in the picker and not in engines, whose own series would show an idle pool"
            fix = fixes.look(scaled.key, "edit", _SCALED, scaled.key.name)
            yield Found(_scaled(scaled), "spec.triggers[0].metadata.query", cause, fix)


def _asks_queues(trigger: SeenTrigger) -> bool:
    if trigger.type != "prometheus":
        # Of infscale's scaler the metrics of a pool have what waits in them.
        return False
    known = [word for word in _WORD.findall(trigger.metadata.get("query", "")) if facts_of(word) is not None]
    return bool(known) and all(map(is_engine_queue, known))


def average_for_level(view: ClusterView) -> Iterator[Found]:
    """Triggers that have the HPA divide by the replicas what does not grow with them."""
    for scaled in view.scaled_objects:
        for trigger in scaled.triggers:
            what = None if scaled.is_composed or trigger.metric_type != "AverageValue" else _level(trigger)
            if what is None:
                continue
            cause = (
                f"{what} does not add up over pods: with AverageValue, KEDA's default, the HPA divides it by the "
                "replicas, so that more pods always look less loaded"
            )
            place = f"triggers/{trigger.index}/metricType"
            fix = fixes.patch(_SCALED, scaled.key, [fixes.add(f"/spec/{place}", "Value")])
            yield Found(_scaled(scaled), f"spec.triggers[{trigger.index}].metricType", cause, fix)


def _level(trigger: SeenTrigger) -> str | None:
    """What a trigger asks for, where it is certain that it is the same for one pod and for many."""
    metric = trigger.metadata.get("metric") or trigger.metadata.get("metricName") or ""
    if trigger.type in _EXTERNAL_TYPES and _is_level(metric):
        return metric
    return _level_of_query(trigger.metadata.get("query", "")) if trigger.type == "prometheus" else None


def _is_level(metric: str) -> bool:
    facts = facts_of(metric)
    return facts is not None and facts.kind is Kind.LEVEL


def _level_of_query(query: str) -> str | None:
    """What a query gives: a ratio or time as it is, a quantile, or the mean or extreme of pods."""
    plain = _QUOTED.sub("", query)
    series = _ONE_SERIES.fullmatch(plain)
    if series is not None:
        return series[1] if _is_level(series[1]) else None
    whole = _WHOLE_CALL.match(plain)
    if whole is None or _close(plain, whole.end()) is None:
        return None
    words = _WORD.findall(plain)
    if whole[1] != "histogram_quantile":
        known = [word for word in words if facts_of(word) is not None]
        # A mean or maximum over copies of a total is a total.
        if not known or not _TOTALLING.isdisjoint(words) or not all(is_of_one_pod(each) for each in known):
            return None
    return f"the query's {whole[1]}"


def _close(query: str, begin: int) -> int | None:
    """Where the bracket closes that was opened before `begin`, if nothing but labels comes behind it."""
    depth = 1
    for at in range(begin, len(query)):
        depth += {"(": 1, ")": -1}.get(query[at], 0)
        if not depth:
            return at if _ONLY_LABELS.fullmatch(query, at + 1) else None
    return None


def _scaled(scaled: SeenScaledObject) -> Subject:
    return Subject(_SCALED_OBJECT, scaled.key)
