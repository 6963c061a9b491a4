"""How many replicas one metric asks for: the HPA controller's replica calculator, Kubernetes v1.36.

Source: `pkg/controller/podautoscaler/replica_calculator.go` and KEP-4951 (tolerance per direction). All values are
milli-units (1 is 1000), as `Quantity.MilliValue` gives them; ratios are usage ÷ target.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from infscale.errors import InfscaleError
from infscale.planner.scale_target import ControllerSettings, PodPhase, PodState, PodValue, Tolerance, Workload

MAX_REPLICAS = 2**31 - 1
"""The controller counts replicas in 32 bits; what asks for more gets this."""

MAX_MILLI = 2**63 - 1
"""The controller holds milli-values in 64 bits."""


class UnusableMetricError(InfscaleError):
    """A metric says nothing about the number of replicas; the message is the controller's own."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one metric asks for.

    `usage_milli` is the number the HPA's status shows (per pod for averages), `utilization_percent` beside it where the
    target is a utilisation. `missing` pods had no value and were filled in, `unready` ones were left out or counted 0.
    """

    replicas: int
    usage_milli: int
    utilization_percent: int | None = None
    missing: int = 0
    unready: int = 0


@dataclass(frozen=True, slots=True)
class _Groups:
    """The pods of a workload by what their values are good for; `values` holds the usable ones."""

    values: Mapping[str, int]
    counted: int
    unready: frozenset[str]
    missing: frozenset[str]


def by_average(
    workload: Workload,
    values: Mapping[str, PodValue],
    target_milli: int,
    settings: ControllerSettings,
    now: float,
    resource: str = "",
) -> Proposal:
    """Replicas that bring the mean over pods to `target_milli` (`AverageValue` of Pods and Resource metrics).

    `calcPlainMetricReplicas`: a pod without a value counts as on target when scaling down and as 0 when scaling up, so
    leaving a pod out damps both directions. Readiness counts for the resource ``cpu`` only. Raises
    `UnusableMetricError` without pods or usable values.
    """
    _require_values(values, resource)
    groups = _group(workload.pods, values, _unready_for(resource, settings, now))

    def ratio_of(usage: Mapping[str, int]) -> float:
        return float(_mean(usage)) / float(target_milli)

    replicas = _damped(workload.replicas, groups, settings.tolerance, ratio_of, lambda name: target_milli)
    return Proposal(replicas, _mean(groups.values), None, len(groups.missing), len(groups.unready))


def by_utilization(
    workload: Workload,
    values: Mapping[str, PodValue],
    target_percent: int,
    settings: ControllerSettings,
    now: float,
    resource: str = "cpu",
) -> Proposal:
    """Replicas that bring usage to `target_percent` of the requests (`GetResourceReplicas`).

    A pod without a value counts as using all of its request (or the target, where that is higher) when scaling down and
    nothing when scaling up. Raises `UnusableMetricError` also where a pod has no request.
    """
    _require_values(values, resource)
    groups = _group(workload.pods, values, _unready_for(resource, settings, now))
    requests = _requests(workload.pods, resource)

    def ratio_of(usage: Mapping[str, int]) -> float:
        return float(_utilization(usage, requests)[0]) / float(target_percent)

    def full_use(name: str) -> int:
        return requests[name] * max(100, target_percent) // 100

    percent, mean = _utilization(groups.values, requests)
    replicas = _damped(workload.replicas, groups, settings.tolerance, ratio_of, full_use)
    return Proposal(replicas, mean, percent, len(groups.missing), len(groups.unready))


def by_value(workload: Workload, usage_milli: int, target_milli: int, settings: ControllerSettings) -> Proposal:
    """Replicas for an Object or External metric with a `Value` target: ready pods × usage ÷ target.

    `getUsageRatioReplicaCount`: at 0 replicas neither pods nor tolerance count. No ready pod at all gives 0, whatever
    the usage. Raises `UnusableMetricError` where replicas are wanted but the selector matches no pod.
    """
    ratio = float(usage_milli) / float(target_milli)
    if workload.replicas == 0:
        return Proposal(_replica_count(ratio), usage_milli)
    if settings.tolerance.contains(ratio):
        return Proposal(workload.replicas, usage_milli)
    if not workload.pods:
        raise UnusableMetricError("no pods returned by selector while calculating replica count")
    return Proposal(_replica_count(ratio * ready_pods(workload.pods)), usage_milli)


def by_average_value(workload: Workload, usage_milli: int, target_milli: int, settings: ControllerSettings) -> Proposal:
    """Replicas for an Object or External metric with an `AverageValue` target: usage ÷ target.

    `GetObjectPerPodMetricReplicas`, `GetExternalPerPodMetricReplicas`: independent of pods and their readiness. Within
    tolerance it is ``status.replicas`` that stays.
    """
    replicas = workload.observed_replicas
    if replicas and settings.tolerance.contains(float(usage_milli) / (float(target_milli) * float(replicas))):
        wanted = replicas
    else:
        wanted = _replica_count(float(usage_milli) / float(target_milli))
    shown = min(math.ceil(float(usage_milli) / float(replicas)), MAX_MILLI) if replicas else 0
    return Proposal(wanted, shown)


def total(values_milli: Iterable[int]) -> int:
    """The sum of an External metric's items, held in 64 bits."""
    return max(-MAX_MILLI - 1, min(MAX_MILLI, sum(values_milli)))


def ready_pods(pods: Iterable[PodState]) -> int:
    """Pods that are running and ready."""
    return sum(pod.phase is PodPhase.RUNNING and pod.ready is True for pod in pods)


def _require_values(values: Mapping[str, PodValue], resource: str) -> None:
    """The controller's metrics client refuses an empty list before pods are looked at."""
    if not values and resource:
        raise UnusableMetricError(
            f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        )
    if not values:
        raise UnusableMetricError("no metrics returned from custom metrics API")


def _damped(
    replicas: int,
    groups: _Groups,
    tolerance: Tolerance,
    ratio_of: Callable[[Mapping[str, int]], float],
    full_use: Callable[[str], int],
) -> int:
    """The replica count from the pods that have values, held back by those that have none."""
    ratio = ratio_of(groups.values)
    counts_unready = bool(groups.unready) and ratio > 1.0
    if not counts_unready and not groups.missing:
        return replicas if tolerance.contains(ratio) else _replica_count(ratio * groups.counted)
    filled = dict(groups.values)
    if ratio < 1.0:
        filled.update({name: full_use(name) for name in groups.missing})
    elif ratio > 1.0:
        filled.update(dict.fromkeys(groups.missing, 0))
    if counts_unready:
        filled.update(dict.fromkeys(groups.unready, 0))
    damped = ratio_of(filled)
    if tolerance.contains(damped) or ratio < 1.0 < damped or damped < 1.0 < ratio:
        return replicas
    wanted = _replica_count(damped * len(filled))
    turns = wanted > replicas if damped < 1.0 else wanted < replicas
    return replicas if turns else wanted


def _group(
    pods: tuple[PodState, ...], values: Mapping[str, PodValue], is_unready: Callable[[PodState, PodValue], bool]
) -> _Groups:
    if not pods:
        raise UnusableMetricError("no pods returned by selector while calculating replica count")
    ignored, unready, missing = set[str](), set[str](), set[str]()
    counted = 0
    for pod in pods:
        value = values.get(pod.name)
        if pod.deleting or pod.phase is PodPhase.FAILED:
            ignored.add(pod.name)
        elif pod.phase is PodPhase.PENDING:
            unready.add(pod.name)
        elif value is None:
            missing.add(pod.name)
        elif is_unready(pod, value):
            unready.add(pod.name)
        else:
            counted += 1
    usable = {name: value.milli for name, value in values.items() if name not in ignored and name not in unready}
    if not usable:
        raise UnusableMetricError("did not receive metrics for targeted pods (pods might be unready)")
    return _Groups(usable, counted, frozenset(unready), frozenset(missing))


def _unready_for(resource: str, settings: ControllerSettings, now: float) -> Callable[[PodState, PodValue], bool]:
    if resource == "cpu":
        return partial(_cpu_unready, settings=settings, now=now)
    return lambda pod, value: False


def _cpu_unready(pod: PodState, value: PodValue, *, settings: ControllerSettings, now: float) -> bool:
    if pod.ready is None or pod.started_at is None:
        return True
    if pod.started_at + settings.cpu_initialization_seconds > now:
        # Start-up burns CPU: a sample counts once a whole window of it lies after the pod became ready.
        return not pod.ready or value.at < pod.ready_changed_at + value.window_seconds
    return not pod.ready and pod.started_at + settings.initial_readiness_delay_seconds > pod.ready_changed_at


def _requests(pods: tuple[PodState, ...], resource: str) -> dict[str, int]:
    requests: dict[str, int] = {}
    for pod in pods:
        if pod.request_milli is None:
            raise UnusableMetricError(f"missing request for {resource} in pod {pod.name}")
        requests[pod.name] = pod.request_milli
    return requests


def _utilization(usage: Mapping[str, int], requests: Mapping[str, int]) -> tuple[int, int]:
    """Percent of the requests in use, and the mean use per pod, over pods that have a request."""
    known = [(milli, requests[name]) for name, milli in usage.items() if name in requests]
    used, requested = sum(milli for milli, _ in known), sum(request for _, request in known)
    if requested == 0:
        raise UnusableMetricError("no metrics returned matched known pods")
    return min(_toward_zero(used * 100, requested), MAX_REPLICAS), _toward_zero(used, len(known))


def _mean(usage: Mapping[str, int]) -> int:
    return _toward_zero(sum(usage.values()), len(usage))


def _toward_zero(numerator: int, denominator: int) -> int:
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient


def _replica_count(wanted: float) -> int:
    return MAX_REPLICAS if wanted >= MAX_REPLICAS else math.ceil(wanted)
