"""The kinds of objects that the doctor lists, by the name that rules know them by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from infscale.discovery.objects import LEGACY_GROUP, POOL_GROUP
from infscale.discovery.workloads import WORKLOADS
from infscale.kube.api import resources
from infscale.kube.api.resources import Resource

_GATEWAY = "gateway.networking.k8s.io"


@dataclass(frozen=True, slots=True)
class LookedKind:
    """A kind that is listed, in the first of `versions` that the API server has; with `params` only some of it."""

    resource: Resource
    versions: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)


def _kind(group: str, version: str, plural: str, kind: str, *older: str, namespaced: bool = True) -> LookedKind:
    return LookedKind(Resource(group, version, plural, namespaced, kind), older)


DASHBOARD_LABEL = "grafana_dashboard"
"""The label by which Grafana's sidecar finds dashboards in ConfigMaps."""

KINDS: Mapping[str, LookedKind] = MappingProxyType(
    {
        "horizontalpodautoscalers": LookedKind(resources.AUTOSCALERS),
        "scaledobjects": _kind("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject"),
        "deployments": LookedKind(resources.DEPLOYMENTS),
        "statefulsets": LookedKind(resources.STATEFUL_SETS),
        "replicasets": LookedKind(resources.REPLICA_SETS),
        "pods": LookedKind(resources.PODS),
        "services": LookedKind(resources.SERVICES),
        "endpointslices": _kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
        "inferencepools": LookedKind(resources.POOLS),
        "older inferencepools": LookedKind(resources.LEGACY_POOLS),
        "httproutes": _kind(_GATEWAY, "v1", "httproutes", "HTTPRoute", "v1beta1"),
        "gateways": _kind(_GATEWAY, "v1", "gateways", "Gateway", "v1beta1"),
        "gatewayclasses": _kind(_GATEWAY, "v1", "gatewayclasses", "GatewayClass", "v1beta1", namespaced=False),
        "backendtlspolicies": _kind(_GATEWAY, "v1", "backendtlspolicies", "BackendTLSPolicy", "v1alpha3"),
        "prometheusrules": _kind("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule"),
        "dashboards": LookedKind(
            Resource("", "v1", "configmaps", True, "ConfigMap"), params={"labelSelector": DASHBOARD_LABEL}
        ),
    }
)

OTHER_WORKLOADS: Mapping[str, LookedKind] = MappingProxyType(
    {
        each.plural: _kind(each.group, each.version, each.plural, each.kind)
        for each in WORKLOADS
        if each.group != resources.DEPLOYMENTS.group
    }
)
"""Kinds of other projects whose objects have pods, which a cluster may lack."""

POOL_USERS: Mapping[str, tuple[LookedKind, str]] = MappingProxyType(
    {
        "inferenceobjectives": (LookedKind(resources.OBJECTIVES), POOL_GROUP),
        "inferencemodelrewrites": (LookedKind(resources.REWRITES), POOL_GROUP),
        "older inferenceobjectives": (LookedKind(resources.LEGACY_OBJECTIVES), POOL_GROUP),
        "older inferencemodelrewrites": (LookedKind(resources.LEGACY_REWRITES), POOL_GROUP),
        "inferencemodels": (LookedKind(resources.MODELS), LEGACY_GROUP),
    }
)
"""Kinds that name a pool, and the group of a reference that gives none."""

OTHER_SCALERS: Mapping[str, tuple[LookedKind, tuple[str, ...]]] = MappingProxyType(
    {
        "verticalpodautoscalers": (
            _kind("autoscaling.k8s.io", "v1", "verticalpodautoscalers", "VerticalPodAutoscaler"),
            ("targetRef",),
        ),
        "variantautoscalings": (
            _kind("llmd.ai", "v1alpha1", "variantautoscalings", "VariantAutoscaling"),
            ("scaleTargetRef",),
        ),
        "podautoscalers": (
            _kind("autoscaling.aibrix.ai", "v1alpha1", "podautoscalers", "PodAutoscaler"),
            ("scaleTargetRef",),
        ),
    }
)
"""Others that size workloads, and where in their specs they name them."""
