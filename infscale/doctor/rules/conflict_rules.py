"""Faults between scalers: several for one workload, and selectors that match pods of others."""

from collections import defaultdict
from collections.abc import Iterator

from infscale.doctor.metric_names import Kind
from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found, Subject, hpa
from infscale.doctor.rules.target_rules import kind_of
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_scalers import ObjectRef, SeenAutoscaler
from infscale.endpoint import ObjectKey

OWN_LABEL = "infscale.io/workload"
"""The label that the fix of a shared selector gives a workload's pods."""

Target = tuple[str, str, str]


def several_autoscalers(view: ClusterView) -> Iterator[Found]:
    """HPAs that write the replicas of one workload; the oldest is meant to stay."""
    by_target: dict[Target, list[SeenAutoscaler]] = defaultdict(list)
    for each in view.written():
        by_target[_target(each.key, each.target)].append(each)
    for found in by_target.values():
        oldest, *younger = sorted(found, key=lambda each: (each.created, each.key))
        for each in younger:
            cause = f"HPA {oldest.key.name} scales {each.target} as well: the controller then scales for neither"
            yield Found(hpa(each.key), "spec.scaleTargetRef", cause, fixes.delete("hpa", each.key))


def beside_keda(view: ClusterView) -> Iterator[Found]:
    """HPAs beside a ScaledObject, which makes an HPA of its own for the same workload."""
    scaled = {_target(each.key, each.target): each for each in view.scaled_objects}
    for autoscaler in view.written():
        other = scaled.get(_target(autoscaler.key, autoscaler.target))
        if other is not None and autoscaler.key.name != other.hpa_name:
            cause = f"ScaledObject {other.key.name} scales {autoscaler.target} as well: each overwrites the other"
            yield Found(hpa(autoscaler.key), "spec.scaleTargetRef", cause, fixes.delete("hpa", autoscaler.key))


def beside_others(view: ClusterView) -> Iterator[Found]:
    """Other programs that size a workload beside an HPA."""
    by_target = {_target(each.key, each.target): each for each in view.autoscalers}
    for other in view.others:
        autoscaler = by_target.get(_target(other.key, other.target))
        if autoscaler is None:
            continue
        subject = Subject(other.kind, other.key)
        if other.kind == "VerticalPodAutoscaler":
            forms = {each.form for each in autoscaler.metrics}
            if other.mode == "Off" or not forms & {"Resource", "ContainerResource"}:
                continue
            cause = f"it changes the requests that HPA {autoscaler.key.name} computes the utilisation of"
            change = {"spec": {"updatePolicy": {"updateMode": "Off"}}}
            fix = fixes.patch(other.resource, other.key, change, "merge")
            yield Found(subject, "spec.updatePolicy.updateMode", cause, fix)
        elif not any(kind_of(each) is Kind.REPLICAS for each in autoscaler.metrics):
            cause = f"HPA {autoscaler.key.name} scales {other.target} as well, and not by what this one wants"
            yield Found(subject, "spec", cause, fixes.delete(other.resource, other.key))


def _target(key: ObjectKey, target: ObjectRef) -> Target:
    return key.namespace, target.kind, target.name


def ambiguous_selectors(view: ClusterView) -> Iterator[Found]:
    """HPAs whose selector matches pods that another HPA counts: the controller refuses both."""
    for autoscaler in view.autoscalers:
        own = view.pods_of(autoscaler)
        owner = (autoscaler.target.kind, autoscaler.target.name)
        foreign = {each.owner for each in own if each.owner != owner}
        shared = [
            each
            for each in view.index.autoscalers[autoscaler.key.namespace]
            if each.target != autoscaler.target and (each.target.kind, each.target.name) in foreign
        ]
        if not shared:
            continue
        cause = (
            f"the selector of {autoscaler.target} matches pods of {shared[0].target} as well, which HPA "
            f"{shared[0].key.name} scales: the controller scales neither (AmbiguousSelector); the fix restarts the pods"
        )
        yield Found(hpa(autoscaler.key), "spec.scaleTargetRef", cause, narrowed(autoscaler))


def foreign_pods(view: ClusterView) -> Iterator[Found]:
    """Pods of others that the controller counts because the selector of its target matches them."""
    owned = {(each.key.namespace, each.target.kind, each.target.name) for each in view.autoscalers}
    for autoscaler in view.autoscalers:
        namespace, target = autoscaler.key.namespace, autoscaler.target
        foreign = [
            each
            for each in view.pods_of(autoscaler)
            if each.owner != (target.kind, target.name)
            and (each.owner is None or (namespace, *each.owner) not in owned)
            and not each.deleting
        ]
        if not foreign or view.workload(namespace, target) is None:
            continue
        first = foreign[0]
        whose = " ".join(first.owner) if first.owner else f"{first.key.name}, which nothing owns"
        cause = (
            f"the selector of {target} matches {len(foreign)} pod{'s' * (len(foreign) > 1)} of others ({whose}): they "
            "count in averages and as ready pods"
        )
        yield Found(hpa(autoscaler.key), "spec.scaleTargetRef", cause, _without(view, autoscaler, foreign[0].owner))


def _without(view: ClusterView, autoscaler: SeenAutoscaler, owner: tuple[str, str] | None) -> str:
    """Labels off the pods that nothing owns, else a narrower selector."""
    workload = view.workload(autoscaler.key.namespace, autoscaler.target)
    if owner is None and workload is not None and workload.match_labels:
        pods = [each.key.name for each in view.pods_of(autoscaler) if each.owner is None]
        return fixes.look(autoscaler.key, "label", "pod", *pods, f"{next(iter(workload.match_labels))}-")
    return narrowed(autoscaler)


def narrowed(autoscaler: SeenAutoscaler) -> str:
    """Give the pods of an HPA's target a label of their own, and select by it."""
    labels = {OWN_LABEL: autoscaler.target.name}
    change = {"spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}}
    key = ObjectKey(autoscaler.key.namespace, autoscaler.target.name)
    return fixes.recreate(autoscaler.target.kind.lower(), key, change)
