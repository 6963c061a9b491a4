"""What the HPA controller will do at its next look, from what was answered now.

It remembers earlier recommendations, which nothing shows; of these only what its own condition says is known here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_apis import Answer
from infscale.doctor.view.seen_scalers import SeenAutoscaler, SeenMetric
from infscale.doctor.view.seen_workloads import SeenPod, SeenScale
from infscale.planner.hpa import (
    MetricProposal,
    MetricStatus,
    PodsMetric,
    ResourceMetric,
    Source,
    TotalMetric,
    UnavailableMetric,
    recommend,
)
from infscale.planner.hpa_rules import Bounds, Event, History, Reason
from infscale.planner.scale_target import PodPhase, PodState, PodValue, Workload

SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "Pods": Source.PODS,
        "Object": Source.OBJECT,
        "External": Source.EXTERNAL,
        "Resource": Source.RESOURCE,
        "ContainerResource": Source.CONTAINER_RESOURCE,
    }
)
API_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "Pods": "unable to fetch metrics from custom metrics API",
        "Object": "unable to fetch metrics from custom metrics API",
        "External": "unable to fetch metrics from external metrics API",
        "Resource": "unable to fetch metrics from resource metrics API",
        "ContainerResource": "unable to fetch metrics from resource metrics API",
    }
)


@dataclass(frozen=True, slots=True)
class NextSync:
    """What the controller will do: `desired` replicas in place of `current`; None: it does not get that far.

    `reason` is that of the condition that tells of it. `explanation` is the arithmetic, `proposals` what each metric
    says, in their order.
    """

    current: int | None
    desired: int | None
    reason: str
    explanation: str
    proposals: tuple[MetricProposal, ...] = ()


def next_sync(view: ClusterView, autoscaler: SeenAutoscaler) -> NextSync:
    """The controller's next look at an HPA."""
    if autoscaler.key not in view.scales:
        return NextSync(None, None, "Unknown", "the scale of its target cannot be read by this user")
    scale = view.scales[autoscaler.key]
    if scale is None:
        return NextSync(None, None, "FailedGetScale", f"there is no {autoscaler.target}")
    rival = view.rival(autoscaler)
    if rival is not None:
        words = f"HPA {rival.key.name} counts the same pods, so the controller scales neither"
        return NextSync(scale.replicas, scale.replicas, "AmbiguousSelector", words)
    if not 0 <= autoscaler.min_replicas <= autoscaler.max_replicas or not autoscaler.metrics:
        return NextSync(scale.replicas, None, "Unknown", "its bounds or metrics cannot be read")
    pods = view.pods_of(autoscaler)
    statuses = [_status(view, autoscaler, metric, pods) for metric in autoscaler.metrics]
    bounds = Bounds(autoscaler.max_replicas, autoscaler.min_replicas, autoscaler.behavior)
    found = recommend(_workload(scale, pods), statuses, bounds, view.now, _history(view, autoscaler))
    return NextSync(scale.replicas, found.desired, found.reason.value, found.explanation, found.per_metric)


def _history(view: ClusterView, autoscaler: SeenAutoscaler) -> History:
    """The recommendation that scaling down waits for, where the controller says that it does."""
    able = autoscaler.condition("AbleToScale")
    if able is None or able.reason != Reason.SCALE_DOWN_STABILIZED or autoscaler.status_desired is None:
        return History()
    return History((Event(view.now, autoscaler.status_desired),))


def _workload(scale: SeenScale, pods: tuple[SeenPod, ...]) -> Workload:
    return Workload(scale.replicas, tuple(map(_pod, pods)), scale.status_replicas)


def _pod(pod: SeenPod) -> PodState:
    phase = PodPhase(pod.phase) if pod.phase in PodPhase._value2member_map_ else PodPhase.UNKNOWN
    return PodState(pod.key.name, phase, pod.deleting, pod.ready, pod.ready_changed_at, pod.started_at)


def _status(
    view: ClusterView, autoscaler: SeenAutoscaler, metric: SeenMetric, pods: tuple[SeenPod, ...]
) -> MetricStatus:
    """A metric as the controller has it after asking."""
    source = SOURCES.get(metric.form)
    answer = view.answer(autoscaler, metric)
    if source is None:
        return UnavailableMetric(metric.name, f"unknown metric source type {metric.form!r}")
    problem = _problem(answer, metric)
    if problem is not None or answer is None:
        return UnavailableMetric(metric.name, problem or "it was not asked", source)
    target = metric.target_percent if metric.target_percent is not None else metric.target_milli
    if target is None or target <= 0:
        return UnavailableMetric(metric.name, "its target cannot be read", source)
    if source in (Source.OBJECT, Source.EXTERNAL):
        values = tuple(each.milli for each in answer.items)
        return TotalMetric(metric.name, values, target, metric.target_type == "AverageValue", source)
    by_pod = {each.name: PodValue(each.milli, each.at or view.now, each.window_seconds) for each in answer.items}
    if source is Source.PODS:
        return PodsMetric(metric.name, by_pod, target)
    requests = {each.key.name: each.requests_milli.get((metric.name, metric.container)) for each in pods}
    return ResourceMetric(metric.name, by_pod, target, metric.target_percent is not None, requests, source)


def _problem(answer: Answer | None, metric: SeenMetric) -> str | None:
    """Why there is no value, in the controller's words."""
    if answer is not None and answer.problem is None and answer.items:
        return None
    api = API_WORDS[metric.form]
    if answer is None or answer.problem is None:
        return api.replace("unable to fetch metrics", "no metrics returned")
    return f"unable to get metric {metric.name}: {api}: {answer.problem}"
