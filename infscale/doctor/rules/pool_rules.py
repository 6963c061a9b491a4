"""Faults of InferencePools, and of the objects that name one."""

from collections.abc import Iterator

from infscale.discovery.objects import LEGACY_GROUP, POOL_GROUP
from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found, Subject
from infscale.doctor.rules.workload_rules import engine_of
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_routing import SeenPool, SeenService
from infscale.doctor.view.seen_workloads import SeenWorkload
from infscale.documents.suggestions import nearest
from infscale.endpoint import ObjectKey


def selecting_nothing(view: ClusterView) -> Iterator[Found]:
    """Pools whose selector matches no pod, and no workload that is at zero.

    Which workload is meant only its owner knows, so the fix shows labels. What the pods of other kinds are called is
    not known at zero: where a namespace has such an object, nothing is said of its pools.
    """
    unclear = _with_other_workloads(view)
    for pool in view.pools:
        chosen = view.members(pool) or any(pool in view.pools_of(each) for each in view.workloads)
        if chosen or pool.key.namespace in unclear:
            continue
        listed = ",".join(f"{key}={value}" for key, value in pool.selector.items())
        cause = f"no pod has the labels {listed or '(none given)'}"
        path = "spec.selector.matchLabels" if pool.group == POOL_GROUP else "spec.selector"
        yield Found(_subject(pool), path, cause, fixes.look(pool.key, "get", _LABELLED, "--show-labels"))


_LABELLED = "pods,deployments,statefulsets"


def _with_other_workloads(view: ClusterView) -> frozenset[str]:
    """The namespaces that have workloads of other kinds than `view.workloads`, as far as is seen."""
    targets = [(each.key.namespace, each.target) for each in view.autoscalers]
    targets += [(each.key.namespace, each.target) for each in view.scaled_objects]
    targets += [(each.key.namespace, each.target) for each in view.others]
    scaled = (namespace for namespace, target in targets if target.kind not in SeenWorkload.KINDS)
    return frozenset((*scaled, *(each.namespace for each in view.other_workloads)))


def without_ready_pods(view: ClusterView) -> Iterator[Found]:
    """Pools with pods of which none can take a request."""
    for pool in view.pools:
        members = view.members(pool)
        if not members or any(each.is_usable for each in members):
            continue
        listed = ",".join(f"{key}={value}" for key, value in pool.selector.items())
        cause = f"none of its {len(members)} pods is Ready: every request is refused"
        yield Found(_subject(pool), "spec.selector", cause, fixes.look(pool.key, "describe", "pods", "-l", listed))


def wrong_ports(view: ClusterView) -> Iterator[Found]:
    """Target ports that no container of the pods has."""
    for pool in view.pools:
        workloads = [each for each in view.workloads if pool in view.pools_of(each)]
        declared = {port for each in workloads for one in each.containers for port in one.ports}
        missing = [port for port in pool.ports if port not in declared]
        if not declared or not missing:
            continue
        engine = engine_of(view, workloads[0])
        port = engine.ports[0] if engine is not None and engine.ports else min(declared)
        of_today = pool.group == POOL_GROUP
        path, value = ("/spec/targetPorts", [{"number": port}]) if of_today else ("/spec/targetPortNumber", port)
        cause = f"no container of its pods has port {missing[0]}; they have {', '.join(map(str, sorted(declared)))}"
        fix = fixes.patch(pool.resource, pool.key, [fixes.replace(path, value)])
        yield Found(_subject(pool), path.strip("/").replace("/", "."), cause, fix)


def without_picker(view: ClusterView) -> Iterator[Found]:
    """Pools whose EPP's Service is not there, or has not the port; of pools that a route leads to."""
    routed = _routed(view)
    for pool in view.pools:
        picker = pool.picker
        if picker is None or picker.kind != "Service" or pool.key not in routed:
            continue
        service = view.service(pool.key.namespace, picker.name)
        path = "endpointPickerRef" if pool.group == POOL_GROUP else "extensionRef"
        if service is None:
            names = [each.key.name for each in view.services if each.key.namespace == pool.key.namespace]
            cause = f"there is no Service {picker.name} in namespace {pool.key.namespace}, so no picker is asked"
            yield Found(_subject(pool), f"spec.{path}.name", cause, _named(pool, path, picker.name, names))
        elif service.ports and picker.port not in (None, *service.ports):
            port = f"/spec/{path}/port/number" if pool.group == POOL_GROUP else f"/spec/{path}/portNumber"
            cause = f"Service {picker.name} has no port {picker.port}; it has {', '.join(map(str, service.ports))}"
            fix = fixes.patch(pool.resource, pool.key, [fixes.replace(port, service.ports[0])])
            yield Found(_subject(pool), port.strip("/").replace("/", "."), cause, fix)


def _routed(view: ClusterView) -> frozenset[ObjectKey]:
    """The pools that routes lead to."""
    backends = (each for route in view.routes for rule in route.rules for each in rule if each.is_pool)
    return frozenset(ObjectKey(each.namespace, each.name) for each in backends)


def _named(pool: SeenPool, path: str, name: str, names: list[str]) -> str:
    """Name the Service that was meant; else show those there are: which one is a picker, they do not say."""
    meant = next(iter(nearest(name, names)), None)
    if meant is None:
        return fixes.look(pool.key, "get", "services")
    return fixes.patch(pool.resource, pool.key, [fixes.replace(f"/spec/{path}/name", meant)])


def picker_not_ready(view: ClusterView) -> Iterator[Found]:
    """Pools whose EPP has no ready pod."""
    for pool in view.pools:
        picker = pool.picker
        service = None if picker is None else view.service(pool.key.namespace, picker.name)
        if picker is None or service is None or service.is_external or service.ready_addresses != 0:
            continue
        refused = "requests fail" if picker.failure_mode == "FailClose" else "the gateway chooses blindly"
        cause = f"its EPP, Service {picker.name}, has no ready endpoint: {refused}"
        workload = _behind(view, service)
        key = service.key
        if workload is None:
            fix = fixes.look(key, "describe", "service", key.name)
        elif service.selector.items() <= workload.pod_labels.items():
            fix = fixes.restart(workload.key)
            if workload.replicas == 0:
                fix = fixes.look(key, "scale", workload.resource, workload.key.name, "--replicas=1")
        else:
            cause += f"; its selector matches no pod of {workload.kind} {workload.key.name}"
            fix = fixes.patch("service", key, [fixes.add("/spec/selector", dict(workload.match_labels))])
        yield Found(_subject(pool), "spec.endpointPickerRef", cause, fix)


def _behind(view: ClusterView, service: SeenService) -> SeenWorkload | None:
    """The workload that a Service leads to, or is probably meant to."""
    there = [each for each in view.workloads if each.key.namespace == service.key.namespace and each.match_labels]
    for each in there:
        if service.selector and service.selector.items() <= each.pod_labels.items():
            return each
    by_name = {each.key.name: each for each in there}
    return next((by_name[name] for name in nearest(service.key.name, by_name)), None)


def dangling_users(view: ClusterView) -> Iterator[Found]:
    """Objectives, rewrites and models that name a pool that is not there."""
    pools = view.every_pool
    groups = {each.key: {one.group for one in pools if one.key == each.key} for each in pools}
    for user in view.pool_users:
        key = ObjectKey(user.key.namespace, user.pool)
        there = groups.get(key)
        if there is not None and (user.pool_group in there or LEGACY_GROUP in user.resource):
            continue
        subject = Subject(user.kind, user.key)
        if there is not None:
            group = min(there)
            cause = f"InferencePool {user.pool} is in group {group}, not in {user.pool_group}"
            fix = fixes.patch(user.resource, user.key, [fixes.add("/spec/poolRef/group", group)])
            yield Found(subject, "spec.poolRef.group", cause, fix)
            continue
        names = [each.name for each in groups if each.namespace == user.key.namespace]
        meant = next(iter((*nearest(user.pool, names), *(names if len(names) == 1 else ()))), None)
        cause = f"there is no InferencePool {user.pool}, so it has no effect"
        fix = fixes.delete(user.resource, user.key)
        if meant is not None:
            cause += f"; there is {meant}"
            fix = fixes.patch(user.resource, user.key, [fixes.replace("/spec/poolRef/name", meant)])
        yield Found(subject, "spec.poolRef.name", cause, fix)


def _subject(pool: SeenPool) -> Subject:
    return Subject("InferencePool", pool.key)
