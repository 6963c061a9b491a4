"""Faults of the pods that serve models: how they end, and how it is known that they began."""

from collections.abc import Iterator
from typing import Any

from infscale.doctor.metric_names import facts_of
from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found, Subject
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_workloads import SeenContainer, SeenWorkload
from infscale.endpoint import ObjectKey

_SHUTDOWN_SECONDS = 10.0
"""What an engine takes to end by itself, where its command line does not say."""
_MARGIN_SECONDS = 5
_SHUTDOWN_FLAGS = ("--shutdown-timeout", "--timeout-graceful-shutdown", "--graceful-shutdown-timeout")
_LEAST_HOOK_SECONDS = 5
"""What it takes until a deleted pod gets no more requests, and some."""
_HEALTH = "/health"
_DEFAULT_PORT = 8000


def model_servers(view: ClusterView) -> Iterator[SeenWorkload]:
    """The workloads that serve models: a pool selects them, or an HPA scales them by what engines say."""
    of_pools = view.model_servers()
    yield from of_pools
    for autoscaler in view.autoscalers:
        found = view.workload(autoscaler.key.namespace, autoscaler.target)
        asked = any(facts_of(each.name) is not None for each in autoscaler.metrics)
        if found is not None and asked and found not in of_pools:
            yield found


def engine_of(view: ClusterView, workload: SeenWorkload) -> SeenContainer | None:
    """The container that serves: it has a port of the pool, else any port, else it is the first."""
    ports = {port for pool in view.pools_of(workload) for port in pool.ports}
    containers = workload.containers
    by_port = next((each for each in containers if ports & {*each.ports}), None)
    return by_port or next((each for each in containers if each.ports), None) or next(iter(containers), None)


def short_grace(view: ClusterView) -> Iterator[Found]:
    """Pods that are killed before their hook and their engine have ended."""
    for workload in model_servers(view):
        engine = engine_of(view, workload)
        if engine is None:
            continue
        hook = engine.pre_stop_seconds or 0.0
        shutdown = float(engine.number(_SHUTDOWN_FLAGS) or _SHUTDOWN_SECONDS)
        if workload.grace_seconds >= hook + shutdown:
            continue
        wait = f"the preStop hook takes {hook:g} s and " if hook else ""
        cause = (
            f"{wait}the engine takes {shutdown:g} s to end, and pods are killed after {workload.grace_seconds:g} s: "
            "their streams break"
        )
        seconds = int(hook + shutdown) + _MARGIN_SECONDS
        fix = _template(workload, {"terminationGracePeriodSeconds": seconds})
        yield Found(_subject(workload), "spec.template.spec.terminationGracePeriodSeconds", cause, fix)


def cut_streams(view: ClusterView) -> Iterator[Found]:
    """Pods whose engine is told to end the moment that they are deleted, and does not wait for its streams."""
    for workload in model_servers(view):
        engine = engine_of(view, workload)
        if engine is None or _waits_before(engine) or engine.number(_SHUTDOWN_FLAGS) is not None:
            continue
        cause = (
            f"container {engine.name} has no preStop hook and no {_SHUTDOWN_FLAGS[0]}: its engine is told to end as "
            "soon as the pod is deleted, while requests are still sent there, and breaks its streams"
        )
        hook = {"preStop": {"sleep": {"seconds": _hook_seconds(workload.grace_seconds)}}}
        fix = _template(workload, {"containers": [{"name": engine.name, "lifecycle": hook}]})
        yield Found(_subject(workload), "spec.template.spec.containers", cause, fix)


def long_streams(view: ClusterView) -> Iterator[Found]:
    """Pods that have less time to end than a route gives to their requests."""
    allowed: dict[ObjectKey, tuple[float, ObjectKey]] = {}
    for route in view.routes:
        for rule, seconds in zip(route.rules, route.timeouts, strict=False):
            for each in rule:
                key = ObjectKey(each.namespace, each.name)
                if each.is_pool and seconds is not None and seconds > allowed.get(key, (0.0, key))[0]:
                    allowed[key] = seconds, route.key
    for workload in model_servers(view):
        engine = engine_of(view, workload)
        times = [allowed[pool.key] for pool in view.pools_of(workload) if pool.key in allowed]
        # Of what has no hook that waits, another rule speaks.
        if engine is None or not times or not _waits_before(engine):
            continue
        seconds, route_key = max(times)
        shutdown = float(engine.number(_SHUTDOWN_FLAGS) or 0.0)
        hook = workload.grace_seconds if engine.pre_stop_seconds is None else engine.pre_stop_seconds
        has = min(workload.grace_seconds, hook + shutdown)
        if has >= seconds:
            continue
        cause = (
            f"HTTPRoute {route_key.name} lets requests take {seconds:g} s, and its pods have {has:g} s to finish "
            "theirs: longer streams break when a pod ends"
        )
        wanted = int(seconds + 0.999)
        lifecycle = {"preStop": {"sleep": {"seconds": wanted}}}
        pod: dict[str, Any] = {
            "terminationGracePeriodSeconds": wanted + int(shutdown or _SHUTDOWN_SECONDS) + _MARGIN_SECONDS
        }
        if engine.pre_stop_seconds is not None or not engine.has_pre_stop:
            pod["containers"] = [{"name": engine.name, "lifecycle": lifecycle}]
        yield Found(_subject(workload), "spec.template.spec", cause, _template(workload, pod))


def _waits_before(engine: SeenContainer) -> bool:
    """Whether something happens before the engine is told to end."""
    return engine.has_pre_stop or engine.pre_stop_seconds is not None


def _hook_seconds(grace_seconds: float) -> int:
    """How long a hook can wait within a grace period that the engine needs as well."""
    return max(_LEAST_HOOK_SECONDS, int(grace_seconds - _SHUTDOWN_SECONDS) - _MARGIN_SECONDS)


def missing_readiness(view: ClusterView) -> Iterator[Found]:
    """Pods that are Ready while their model still loads."""
    for workload in model_servers(view):
        engine = engine_of(view, workload)
        if engine is None or engine.has_readiness:
            continue
        cause = f"container {engine.name} has no readinessProbe: its pods get requests while the model still loads"
        probe = {"httpGet": {"path": _HEALTH, "port": _port(engine)}, "periodSeconds": 5}
        fix = _template(workload, {"containers": [{"name": engine.name, "readinessProbe": probe}]})
        yield Found(_subject(workload), "spec.template.spec.containers", cause, fix)


def missing_startup(view: ClusterView) -> Iterator[Found]:
    """Pods that are restarted while their model still loads."""
    for workload in model_servers(view):
        engine = engine_of(view, workload)
        if engine is None or engine.has_startup or not engine.has_liveness:
            continue
        cause = (
            f"container {engine.name} has a livenessProbe and no startupProbe: it is restarted while the model loads"
        )
        probe = {"httpGet": {"path": _HEALTH, "port": _port(engine)}, "periodSeconds": 10, "failureThreshold": 60}
        fix = _template(workload, {"containers": [{"name": engine.name, "startupProbe": probe}]})
        yield Found(_subject(workload), "spec.template.spec.containers", cause, fix)


def _port(engine: SeenContainer) -> int:
    return next(iter(engine.ports), _DEFAULT_PORT)


def _template(workload: SeenWorkload, pod: dict[str, Any]) -> str:
    return fixes.patch(workload.resource, workload.key, {"spec": {"template": {"spec": pod}}}, "strategic")


def _subject(workload: SeenWorkload) -> Subject:
    return Subject(workload.kind, workload.key)
