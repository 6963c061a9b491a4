"""Faults of the pods that serve models: how they end, and how it is known that they began."""

from collections.abc import Iterator
from typing import Any

from infscale.doctor.metric_names import facts_of
from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found, Subject
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_workloads import SeenContainer, SeenWorkload

_SHUTDOWN_SECONDS = 10.0
"""What an engine takes to end by itself, where its command line does not say."""
_MARGIN_SECONDS = 5
_SHUTDOWN_FLAGS = ("--shutdown-timeout", "--timeout-graceful-shutdown", "--graceful-shutdown-timeout")
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
