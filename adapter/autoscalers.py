"""What autoscalers will ask, and which of their questions name something that does not exist.

An HPA shows such a mistake in its own conditions only, where nobody looks before it is needed. Questions are asked here
as the HPA controller asks them, of the same provider, so that what is said is what it will be told.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adapter.errors import BadRequest, NotFound, Unavailable
from adapter.paths import ALL, EVERYTHING, CustomVersion, ExternalRequest, GroupResource, MetricRequest, ObjectRequest
from adapter.provider import Provider
from infscale.endpoint import Autoscaler, DescribedObject, DiscoveryState, MetricForm, ObjectKey, ScaledMetric
from infscale.labels import Selector

_POOLS = GroupResource("inferencepools", "inference.networking.k8s.io")
_NAMESPACES = GroupResource("namespaces")
_PODS = GroupResource("pods")
_POOL_KIND = "InferencePool"
_NAMESPACE_KIND = "Namespace"


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of an autoscaler that cannot be answered as it is written."""

    autoscaler: ObjectKey
    metric: str
    problem: str


Objects = Mapping[tuple[str, ObjectKey], DescribedObject]
"""Described objects by kind and key."""


def question(autoscaler: Autoscaler, metric: ScaledMetric, objects: Objects) -> MetricRequest | None:
    """The request the HPA controller makes for `metric`; None where it names an object that discovery does not know.

    Source: pkg/controller/podautoscaler/metrics/client.go of Kubernetes.
    """
    namespace = autoscaler.key.namespace
    if metric.form is MetricForm.EXTERNAL:
        return ExternalRequest(namespace, metric.name, metric.selector)
    if metric.form is MetricForm.PODS:
        target = objects.get((autoscaler.target.kind, ObjectKey(namespace, autoscaler.target.name)))
        if target is None or target.selector is None:
            return None
        return _asked(metric, _PODS, ObjectKey(namespace, ALL), target.selector)
    kind, name = metric.described or ("", "")
    if kind == _NAMESPACE_KIND:
        # The controller asks for the HPA's own namespace, whatever name is written.
        return _asked(metric, _NAMESPACES, ObjectKey("", namespace))
    key = ObjectKey(namespace, name)
    if kind == _POOL_KIND:
        return _asked(metric, _POOLS, key)
    described = objects.get((kind, key))
    return None if described is None else _asked(metric, GroupResource(described.resource, described.group), key)


def _asked(
    metric: ScaledMetric, resource: GroupResource, key: ObjectKey, labels: Selector = EVERYTHING
) -> ObjectRequest:
    version = CustomVersion.V1BETA2
    return ObjectRequest(version, resource, key.namespace, key.name, metric.name, labels, metric.selector)


def findings(provider: Provider, state: DiscoveryState, now: float) -> Iterator[Finding]:
    """Every metric that is refused for what it names; unknown values are no finding, they pass."""
    objects = {(each.kind, each.key): each for each in state.objects}
    for autoscaler in state.autoscalers:
        for metric in autoscaler.metrics:
            asked = question(autoscaler, metric, objects)
            if asked is None:
                continue
            try:
                if isinstance(asked, ObjectRequest):
                    provider.objects(asked, now)
                else:
                    provider.external(asked, now)
            except (NotFound, BadRequest) as error:
                yield Finding(autoscaler.key, metric.name, str(error))
            except Unavailable:
                continue
