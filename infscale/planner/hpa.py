"""What a HorizontalPodAutoscaler would do: one sync of the controller as a pure function, Kubernetes v1.36.

Source: `reconcileAutoscaler` and `computeReplicasForMetrics` in `pkg/controller/podautoscaler/horizontal.go`. The demo
and the doctor ask `recommend` and show its explanation.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from infscale.planner.hpa_replicas import (
    Proposal,
    UnusableMetricError,
    by_average,
    by_average_value,
    by_utilization,
    by_value,
    ready_pods,
    total,
)
from infscale.planner.hpa_rules import Bounds, History, Limit, Reason, limit_rate, stabilize
from infscale.planner.scale_target import ControllerSettings, PodValue, Tolerance, Workload

_DEFAULT_SETTINGS = ControllerSettings()
_NO_HISTORY = History()


class Source(enum.Enum):
    """Where a total comes from, and the condition reason when it cannot be had."""

    OBJECT = Reason.FAILED_GET_OBJECT_METRIC
    EXTERNAL = Reason.FAILED_GET_EXTERNAL_METRIC
    PODS = Reason.FAILED_GET_PODS_METRIC
    RESOURCE = Reason.FAILED_GET_RESOURCE_METRIC
    CONTAINER_RESOURCE = Reason.FAILED_GET_CONTAINER_RESOURCE_METRIC


@dataclass(frozen=True, slots=True)
class PodsMetric:
    """A Pods metric (`AverageValue`): one value per pod; a pod left out is missing, which damps both directions."""

    name: str
    values: Mapping[str, PodValue]
    target_milli: int
    source: ClassVar[Source] = Source.PODS

    def __post_init__(self) -> None:
        _require_positive(self.target_milli)


@dataclass(frozen=True, slots=True)
class ResourceMetric:
    """A resource of the pods, `name` ``cpu`` or ``memory``.

    `target` is percent of the requests (`Utilization`), or milli-units per pod (`AverageValue`) where not `percent`.
    `requests_milli` are the requests of pods by name; None: those of the workload's pods. An HPA on several resources,
    or on one container, has others for each metric.
    """

    name: str
    values: Mapping[str, PodValue]
    target: int
    percent: bool = True
    requests_milli: Mapping[str, int | None] | None = None
    source: Source = Source.RESOURCE

    def __post_init__(self) -> None:
        _require_positive(self.target)


@dataclass(frozen=True, slots=True)
class TotalMetric:
    """An Object or External metric: items that are added up, against a target for the total or per pod.

    `per_pod` is an `AverageValue` target, otherwise it is a `Value`.
    """

    name: str
    values_milli: tuple[int, ...]
    target_milli: int
    per_pod: bool = True
    source: Source = Source.EXTERNAL

    def __post_init__(self) -> None:
        _require_positive(self.target_milli)


@dataclass(frozen=True, slots=True)
class UnavailableMetric:
    """A metric the API refused, with its cause: the adapter's own message."""

    name: str
    cause: str
    source: Source = Source.EXTERNAL


MetricStatus = PodsMetric | ResourceMetric | TotalMetric | UnavailableMetric


@dataclass(frozen=True, slots=True)
class MetricProposal:
    """What one metric says: replicas (None: nothing, the metric is unusable) and why, in plain words."""

    name: str
    replicas: int | None
    explanation: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The outcome of one sync.

    `desired` is what the controller would write to ``/scale``, equal to the current replicas where it would write
    nothing. `reason` is the condition reason that explains it best, `explanation` the whole way in plain words.
    `history` is what to hand to the next sync; after really scaling, call its `scaled` first.
    """

    desired: int
    reason: Reason
    explanation: str
    history: History
    per_metric: tuple[MetricProposal, ...] = ()


def recommend(
    workload: Workload,
    metrics: Sequence[MetricStatus],
    bounds: Bounds,
    now: float,
    history: History = _NO_HISTORY,
    settings: ControllerSettings = _DEFAULT_SETTINGS,
) -> Recommendation:
    """What the controller does at `now` (seconds, the clock of `history` and of the pods' times).

    The largest proposal wins. When all metrics are unusable, or some are and the others would scale down, nothing
    changes. `desired` is within the bounds always, but for a workload at 0 replicas with a minimum above 0: that is
    switched off and stays at 0.
    """
    current = workload.replicas
    if (fixed := _without_metrics(current, bounds)) is not None:
        return Recommendation(fixed.replicas, fixed.reason, fixed.message, history)
    settings = replace(settings, tolerance=_tolerance(bounds, settings.tolerance))
    outcomes = [_propose(metric, workload, settings, now) for metric in metrics]
    per_metric = tuple(proposal for proposal, _ in outcomes)
    failures = [failure for _, failure in outcomes if failure is not None]
    proposals = [proposal.replicas for proposal in per_metric if proposal.replicas is not None]
    proposed = max(proposals, default=None)
    words = "; ".join(proposal.explanation for proposal in per_metric)
    if proposed is None or (failures and proposed < current):
        if not failures:
            raise ValueError("an HPA has at least one metric")
        kept = f"{words}; {len(failures)} of {len(metrics)} metrics unusable, so it stays at {counted(current)}"
        return Recommendation(current, failures[0], kept, history, per_metric)
    stable = stabilize(current, proposed, bounds, history, now, settings.downscale_stabilization_seconds)
    limit = limit_rate(current, stable.replicas, bounds, history, now)
    explanation = "; ".join(part for part in (words, stable.message, limit.message) if part)
    reason = limit.reason if limit.replicas != stable.replicas or not stable.message else stable.reason
    return Recommendation(limit.replicas, reason, explanation, history.recommended(now, proposed), per_metric)


def _without_metrics(current: int, bounds: Bounds) -> Limit | None:
    if current == 0 and bounds.min_replicas != 0:
        return Limit(0, Reason.SCALING_DISABLED, "scaling is switched off: the workload is at 0 replicas")
    if current > bounds.max_replicas:
        most = bounds.max_replicas
        return Limit(most, Reason.TOO_MANY_REPLICAS, f"{counted(current)} is more than maxReplicas {most}")
    if current < bounds.min_replicas:
        least = bounds.min_replicas
        return Limit(least, Reason.TOO_FEW_REPLICAS, f"{counted(current)} is fewer than minReplicas {least}")
    return None


def _tolerance(bounds: Bounds, default: Tolerance) -> Tolerance:
    if bounds.behavior is None:
        return default
    up, down = bounds.behavior.scale_up.tolerance, bounds.behavior.scale_down.tolerance
    return Tolerance(down=default.down if down is None else down, up=default.up if up is None else up)


def _propose(
    metric: MetricStatus, workload: Workload, settings: ControllerSettings, now: float
) -> tuple[MetricProposal, Reason | None]:
    if isinstance(metric, UnavailableMetric):
        return MetricProposal(metric.name, None, f"{metric.name}: {metric.cause}"), metric.source.value
    try:
        proposal, words = _calculate(metric, workload, settings, now)
    except UnusableMetricError as error:
        return MetricProposal(metric.name, None, f"{metric.name}: {error}"), metric.source.value
    stays = proposal.replicas == workload.replicas
    explanation = f"{metric.name} {words} → {'stays at ' if stays else ''}{counted(proposal.replicas)}"
    return MetricProposal(metric.name, proposal.replicas, explanation), None


def _calculate(
    metric: PodsMetric | ResourceMetric | TotalMetric, workload: Workload, settings: ControllerSettings, now: float
) -> tuple[Proposal, str]:
    match metric:
        case PodsMetric():
            proposal = by_average(workload, metric.values, metric.target_milli, settings, now)
            return proposal, _mean_words(proposal, metric.target_milli)
        case ResourceMetric(percent=True):
            requesting = _requesting(workload, metric.requests_milli)
            proposal = by_utilization(requesting, metric.values, metric.target, settings, now, metric.name)
            return proposal, f"{proposal.utilization_percent} % / target {metric.target} %{_left_out(proposal)}"
        case ResourceMetric():
            proposal = by_average(workload, metric.values, metric.target, settings, now, metric.name)
            return proposal, _mean_words(proposal, metric.target)
        case TotalMetric(per_pod=True):
            proposal = by_average_value(workload, _usage(metric), metric.target_milli, settings)
            return proposal, f"{_plain(_usage(metric))} / target {_plain(metric.target_milli)} per pod"
        case TotalMetric():
            proposal = by_value(workload, _usage(metric), metric.target_milli, settings)
            ready = ready_pods(workload.pods)
            return proposal, f"{_plain(_usage(metric))} / target {_plain(metric.target_milli)} × {ready} ready pods"


def _requesting(workload: Workload, requests_milli: Mapping[str, int | None] | None) -> Workload:
    """The workload with other requests of its pods."""
    if requests_milli is None:
        return workload
    pods = tuple(replace(each, request_milli=requests_milli.get(each.name)) for each in workload.pods)
    return replace(workload, pods=pods)


def _mean_words(proposal: Proposal, target_milli: int) -> str:
    return f"{_plain(proposal.usage_milli)} per pod / target {_plain(target_milli)}{_left_out(proposal)}"


def _usage(metric: TotalMetric) -> int:
    if not metric.values_milli:
        raise UnusableMetricError("no metrics returned")
    return total(metric.values_milli)


def _left_out(proposal: Proposal) -> str:
    parts = [
        f"{count} {words}"
        for count, words in ((proposal.missing, "without a value"), (proposal.unready, "not ready"))
        if count
    ]
    return f" ({', '.join(parts)})" if parts else ""


def counted(replicas: int) -> str:
    """A number of replicas as people say it."""
    return "1 replica" if replicas == 1 else f"{replicas} replicas"


def _plain(number_milli: int) -> str:
    return f"{number_milli / 1000:.12g}"


def _require_positive(target: int) -> None:
    if target <= 0:
        raise ValueError("a target is above 0")
