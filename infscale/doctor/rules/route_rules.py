"""Faults of routes to InferencePools, and of what gateways make of pools."""

from collections.abc import Iterator

from infscale.discovery.objects import POOL_GROUP
from infscale.doctor.rules import fixes
from infscale.doctor.rules.infscale_rules import setting_fix
from infscale.doctor.rules.rule import Found, Subject
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_routing import SeenBackend, SeenRoute
from infscale.documents.suggestions import nearest
from infscale.endpoint import ObjectKey

_IGNORES_LISTS = "agentgateway"
"""Part of the names of controllers whose gateways take one destination (agentgateway#1444)."""
_ISTIO = "istio.io/"
_BY_ENVOY = (_ISTIO, "gateway.envoyproxy.io/", "kgateway.dev/kgateway")
"""Controllers of Envoy: with bodies in full duplex it does not fail open once the picker is listed (measured)."""


def several_pools(view: ClusterView) -> Iterator[Found]:
    """Rules of a route that split requests between pools."""
    for route in view.routes:
        for index, rule in enumerate(route.rules):
            pools = [each for each in rule if each.is_pool]
            if len(pools) < 2:
                continue
            controllers = _controllers(view, route)
            kept = max(pools, key=lambda each: (each.weight, -each.index))
            one = "the last one's picker serves them all" if _on(controllers, _ISTIO) else "one picker is asked for all"
            cause = (
                f"it leads to {len(pools)} InferencePools, and {one}: weigh models in an InferenceModelRewrite instead"
            )
            others = [each for each in reversed(pools) if each is not kept]
            yield Found(_subject(route), _place(index), cause, _without(route, index, others))


def mixed_backends(view: ClusterView) -> Iterator[Found]:
    """Rules of a route that split requests between a pool and a Service."""
    for route in view.routes:
        for index, rule in enumerate(route.rules):
            services = [each for each in rule if not each.is_pool]
            if not services or len(services) == len(rule):
                continue
            cause = f"it leads to an InferencePool and to {services[0].kind} {services[0].name}, which no picker sees"
            yield Found(_subject(route), _place(index), cause, _without(route, index, [*reversed(services)]))


def _without(route: SeenRoute, index: int, backends: list[SeenBackend]) -> str:
    """Remove backends of a rule; given last first, so that the places of the others stay."""
    paths = (f"/spec/rules/{index}/backendRefs/{each.index}" for each in backends)
    return fixes.patch("httproutes.gateway.networking.k8s.io", route.key, [fixes.remove(path) for path in paths])


def absent_pools(view: ClusterView) -> Iterator[Found]:
    """Routes to an InferencePool that is not there, or in another group."""
    known = {(each.group, each.key) for each in view.pools}
    for route in view.routes:
        for index, rule in enumerate(route.rules):
            for each in rule:
                key = ObjectKey(each.namespace, each.name)
                if not each.is_pool or (each.group, key) in known or f"{each.group}/{each.kind}" in _IMPORTS:
                    continue
                yield _absent(view, route, index, each)


_IMPORTS = ("inference.networking.x-k8s.io/InferencePoolImport",)


def _absent(view: ClusterView, route: SeenRoute, index: int, backend: SeenBackend) -> Found:
    path = f"/spec/rules/{index}/backendRefs/{backend.index}"
    key = ObjectKey(backend.namespace, backend.name)
    groups = sorted({each.group for each in view.pools if each.key == key}, key=lambda each: each != POOL_GROUP)
    names = [each.key.name for each in view.pools if each.key.namespace == backend.namespace]
    meant = next(iter((*nearest(backend.name, names), *(names if len(names) == 1 else ()))), None)
    resource = "httproutes.gateway.networking.k8s.io"
    if groups:
        cause = f"InferencePool {backend.name} is in group {groups[0]}, not in {backend.group or 'the core group'}"
        fix = fixes.patch(resource, route.key, [fixes.add(f"{path}/group", groups[0])])
    elif meant is not None:
        cause = f"there is no InferencePool {backend.name}; there is {meant}"
        fix = fixes.patch(resource, route.key, [fixes.replace(f"{path}/name", meant)])
    else:
        cause = f"there is no InferencePool {backend.name}: its requests are answered with an error"
        fix = fixes.patch(resource, route.key, [fixes.remove(path)])
    return Found(_subject(route), f"{_place(index)}[{backend.index}]", cause, fix)


def ignored_fallbacks(view: ClusterView) -> Iterator[Found]:
    """Gateways that take one destination where infscale sends several."""
    if (view.infscale.destinations or 1) < 2:
        return
    for route in view.routes:
        if not any(each.is_pool for rule in route.rules for each in rule):
            continue
        if _on(_controllers(view, route), _IGNORES_LISTS):
            cause = (
                f"its gateway takes one destination and the picker sends {view.infscale.destinations}: fallbacks are "
                "ignored, or the whole list is no address"
            )
            yield Found(_subject(route), "spec.parentRefs", cause, setting_fix(view, "destinations", "1"))


def fail_open(view: ClusterView) -> Iterator[Found]:
    """Pools that are to fail open behind gateways that do not."""
    for route in view.routes:
        if not _on(_controllers(view, route), *_BY_ENVOY):
            continue
        named = {ObjectKey(each.namespace, each.name) for rule in route.rules for each in rule if each.is_pool}
        for pool in view.pools:
            if pool.key not in named or pool.picker is None or pool.picker.failure_mode != "FailOpen":
                continue
            path = "endpointPickerRef" if pool.group == POOL_GROUP else "extensionRef"
            cause = (
                f"the gateway of HTTPRoute {route.key.name} does not fail open for requests with a body once a picker "
                "that was listed is gone: they get 500"
            )
            fix = fixes.patch(pool.resource, pool.key, [fixes.replace(f"/spec/{path}/failureMode", "FailClose")])
            yield Found(Subject("InferencePool", pool.key), f"spec.{path}.failureMode", cause, fix)


def tls_to_plain_pickers(view: ClusterView) -> Iterator[Found]:
    """BackendTLSPolicies for the Service of a picker that says that it speaks in the clear."""
    pickers = {(each.key.namespace, each.picker.name) for each in view.pools if each.picker is not None}
    for policy in view.tls_policies:
        for name in policy.services:
            service = view.service(policy.key.namespace, name)
            if service is None or not service.is_plain or (policy.key.namespace, name) not in pickers:
                continue
            cause = (
                f"Service {name} says that the picker speaks in the clear (appProtocol kubernetes.io/h2c): a gateway "
                "either ignores this policy or cannot connect"
            )
            fix = fixes.delete("backendtlspolicies.gateway.networking.k8s.io", policy.key)
            yield Found(Subject("BackendTLSPolicy", policy.key), "spec.targetRefs", cause, fix)


def _controllers(view: ClusterView, route: SeenRoute) -> frozenset[str]:
    return frozenset(view.controllers.get(each, "") for each in route.gateways)


def _on(controllers: frozenset[str], *names: str) -> bool:
    return any(name in each for each in controllers for name in names)


def _place(index: int) -> str:
    return f"spec.rules[{index}].backendRefs"


def _subject(route: SeenRoute) -> Subject:
    return Subject("HTTPRoute", route.key)
