"""Faults on the way from the HPA controller to an adapter: rights, and the APIServices."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from adapter.registering.ownership import CUSTOM_V1BETA1, CUSTOM_V1BETA2, EXTERNAL_V1BETA1
from infscale.doctor.rules import fixes
from infscale.doctor.rules.metric_rules import asked_of_another, is_unserved
from infscale.doctor.rules.rule import Found, Subject
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_apis import HPA_ACCOUNT, RESOURCE_METRICS, SeenApiService, SeenRight
from infscale.doctor.view.seen_scalers import SeenAutoscaler, SeenMetric
from infscale.endpoint import ObjectKey
from infscale.kube.rights import Right

_RESOURCE = "apiservice"
_VERSION = "rbac.authorization.k8s.io/v1"
_CERTIFICATE_WORDS = ("x509", "certificate", "tls:")


def controller_rights(view: ClusterView) -> Iterator[Found]:
    """What the HPA controller may not read."""
    return _rights(view, HPA_ACCOUNT, "infscale-hpa-controller", "the HPA controller")


def infscale_rights(view: ClusterView) -> Iterator[Found]:
    """What infscale may not do."""
    if view.infscale.installed:
        yield from _rights(view, view.infscale.account, "infscale-missing", "infscale")


def _rights(view: ClusterView, user: str, role: str, who: str) -> Iterator[Found]:
    missing = [each for each in view.rights if each.user == user and not each.allowed]
    by_namespace: dict[str, list[SeenRight]] = defaultdict(list)
    for each in missing:
        by_namespace[each.right.namespace or ""].append(each)
    namespace, name = user.split(":")[2:]
    for place, rights in by_namespace.items():
        listed = ", ".join(_words(each.right) for each in rights[:3])
        more = f" and {len(rights) - 3} more" if len(rights) > 3 else ""
        cause = f"{who} may not {listed}{more}"
        documents = _granting(role, place, [each.right for each in rights], ObjectKey(namespace, name))
        yield Found(Subject("ServiceAccount", ObjectKey(namespace, name)), "rules", cause, fixes.apply(*documents))


def _words(right: Right) -> str:
    named = f" {right.name}" if right.name else ""
    return f"{right.verb} {right.resource}{'.' + right.group if right.group else ''}{named}"


def _granting(role: str, namespace: str, rights: Iterable[Right], account: ObjectKey) -> list[dict[str, Any]]:
    """A role with these rights, and its binding to an account."""
    kind = "Role" if namespace else "ClusterRole"
    rules: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: {"verbs": set(), "names": set()})
    for each in rights:
        rule = rules[each.group, each.resource + ("/named" if each.name else "")]
        rule["verbs"].add(each.verb)
        rule["names"] |= {each.name} if each.name else set()
    written = [
        {
            "apiGroups": [group],
            "resources": [resource.removesuffix("/named")],
            "verbs": sorted(rule["verbs"]),
            **({"resourceNames": sorted(rule["names"])} if rule["names"] else {}),
        }
        for (group, resource), rule in rules.items()
    ]
    metadata = {"name": role, **({"namespace": namespace} if namespace else {})}
    subject = {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    return [
        {"apiVersion": _VERSION, "kind": kind, "metadata": metadata, "rules": written},
        {
            "apiVersion": _VERSION,
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": reference,
            "subjects": [subject],
        },
    ]


def unavailable_apis(view: ClusterView) -> Iterator[Found]:
    """Metrics APIs that do not answer, for another reason than their certificate."""
    for each in view.api_services:
        if each.available or each.service is None or _is_certificate(each):
            continue
        cause = f"{each.service} does not answer ({each.reason or 'unknown'}): {each.message[:200] or 'no message'}"
        yield Found(_subject(each), "spec.service", cause, _available(view, each, each.service))


def _available(view: ClusterView, api: SeenApiService, service: ObjectKey) -> str:
    """Lead it to infscale where its Service does not exist, or have what is behind its Service start anew."""
    own = view.infscale
    if api.reason != "ServiceNotFound":
        return fixes.restart(own.workload if service == own.service and own.workload else service)
    if own.installed and service.name == own.service.name:
        return fixes.patch(_RESOURCE, _key(api), [fixes.replace("/spec/service/namespace", own.service.namespace)])
    # It breaks discovery and the deletion of namespaces for the whole cluster.
    return fixes.delete(_RESOURCE, _key(api))


def absent_apis(view: ClusterView) -> Iterator[Found]:
    """Metrics APIs that HPAs ask and that nothing serves."""
    asking: dict[str, tuple[SeenAutoscaler, SeenMetric]] = {}
    for autoscaler in view.autoscalers:
        for metric in autoscaler.metrics:
            answer = view.answer(autoscaler, metric)
            is_answered = answer is not None and bool(answer.items)
            if metric.form in _OVERLAYS and not is_answered and is_unserved(view, metric):
                asking.setdefault(_OVERLAYS[metric.form][0], (autoscaler, metric))
    for name, (autoscaler, metric) in asking.items():
        cause = f"nothing serves it, and HPA {autoscaler.key} asks it for {metric.name}"
        subject = Subject("APIService", ObjectKey("", name))
        yield Found(subject, "spec.service", cause, f"kubectl apply {_OVERLAYS[metric.form][1]}")


_FOLDER = "-k manifests/adapter/overlays"
_RESOURCES = "-f https://github.com/kubernetes-sigs/metrics-server/releases/latest/download/components.yaml"
_OVERLAYS: Mapping[str, tuple[str, str]] = {
    "Pods": (CUSTOM_V1BETA2, f"{_FOLDER}/custom-metrics"),
    "Object": (CUSTOM_V1BETA2, f"{_FOLDER}/custom-metrics"),
    "External": (EXTERNAL_V1BETA1, f"{_FOLDER}/external-metrics"),
    "Resource": (RESOURCE_METRICS, _RESOURCES),
    "ContainerResource": (RESOURCE_METRICS, _RESOURCES),
}
"""The API that each form is asked of, and what brings an adapter for it."""


def untrusted_apis(view: ClusterView) -> Iterator[Found]:
    """Metrics APIs whose certificate the API server does not trust."""
    for each in view.api_services:
        if each.service is None or not (each.ca_problem or (not each.available and _is_certificate(each))):
            continue
        cause = f"the API server does not trust {each.service}: {each.ca_problem or each.message[:200]}"
        if each.service == view.infscale.service or not each.has_ca:
            # infscale writes its own within seconds.
            fix = fixes.patch(_RESOURCE, _key(each), {"spec": {"caBundle": None}}, "merge")
        else:
            fix = fixes.restart(each.service)
        yield Found(_subject(each), "spec.caBundle", cause, fix)


def _is_certificate(api: SeenApiService) -> bool:
    return any(word in api.message for word in _CERTIFICATE_WORDS)


def unverified_apis(view: ClusterView) -> Iterator[Found]:
    """Metrics APIs that are not verified: everything in the network path can answer for them."""
    for each in view.api_services:
        if each.skips_verification and each.service == view.infscale.service:
            cause = "insecureSkipTLSVerify: whatever answers at its address is believed"
            change = {"spec": {"insecureSkipTLSVerify": None}}
            fix = fixes.patch(_RESOURCE, _key(each), change, "merge")
            yield Found(_subject(each), "spec.insecureSkipTLSVerify", cause, fix)


def lost_metrics(view: ClusterView) -> Iterator[Found]:
    """Two adapters of custom metrics, of which an HPA asks one alone."""
    older, newer = (
        next((each for each in view.api_services if each.name == name), None)
        for name in (CUSTOM_V1BETA1, CUSTOM_V1BETA2)
    )
    if older is None or newer is None or older.service == newer.service or None in (older.service, newer.service):
        return
    asked, other = (newer, older) if (newer.priority, newer.name) > (older.priority, older.name) else (older, newer)
    if asked.service == view.infscale.service and (asked.others_served or view.infscale.forwards):
        return
    cause = f"HPAs ask {asked.name} of {asked.service} for every custom metric; those of {other.service} are not found"
    yield Found(_subject(asked), "spec.versionPriority", cause, fixes.delete(_RESOURCE, _key(asked)))


def external_of_another(view: ClusterView) -> Iterator[Found]:
    """External metrics of infscale that the cluster asks another server for."""
    api = view.external_service()
    for autoscaler, metric in view.metrics():
        answer = view.answer(autoscaler, metric)
        if api is None or answer is None or answer.items or not asked_of_another(view, metric):
            continue
        pool = view.pool_of(autoscaler)
        cause = f"external metrics are served by {api.service}, which does not know {metric.name} of infscale"
        if pool is None:
            fix = fixes.raw("/apis/external.metrics.k8s.io/v1beta1")
        else:
            described = {"apiVersion": f"{pool.group}/{pool.version}", "kind": "InferencePool", "name": pool.key.name}
            key = "value" if metric.target_type == "Value" else "averageValue"
            target = {"type": metric.target_type, key: metric.target_text}
            source = {"describedObject": described, "metric": {"name": metric.name}, "target": target}
            operation = fixes.replace(f"/spec/metrics/{metric.index}", {"type": "Object", "object": source})
            fix = fixes.patch("hpa", autoscaler.key, [operation])
        yield Found(Subject("HorizontalPodAutoscaler", autoscaler.key), metric.field, cause, fix)


def _key(api: SeenApiService) -> ObjectKey:
    return ObjectKey("", api.name)


def _subject(api: SeenApiService) -> Subject:
    return Subject("APIService", _key(api))
