"""What the controller would have done: its syncs over a history, each from the replicas that the one before left.

The load is taken as it was, whatever the replicas (open loop). Where the replayed number of replicas is the recorded
one, pods and their values are the recorded ones. Where it is another, all of its pods are taken to be ready, and values
per pod are the recorded total shared equally among as large a part of the pods as had values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infscale.doctor.next_sync import API_WORDS, SOURCES
from infscale.doctor.replay.past_syncs import NO_SAMPLE, PastMetric, PastSync, PerPod, Total, Unknown
from infscale.doctor.replay.replayed_hpa import ReplayedHpa
from infscale.doctor.view.seen_scalers import SeenMetric
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
from infscale.planner.hpa_rules import Event, History
from infscale.planner.scale_target import PodState, PodValue, Workload

_ALL_OF_A_REQUEST_MILLI = 100_000
"""The request of a pod whose utilisation is given in per cent."""


@dataclass(frozen=True, slots=True)
class ReplayedSync:
    """One sync: `desired` replicas in place of `replicas`, and why in the controller's words.

    `recorded` are the replicas there were (None: not known), `values_milli` the total of each metric, or None, and
    `proposals` what each metric asks for before any rule.
    """

    at: float
    recorded: int | None
    replicas: int
    desired: int
    reason: str
    explanation: str
    values_milli: tuple[int | None, ...]
    proposals: tuple[MetricProposal, ...]

    @property
    def proposed(self) -> int | None:
        """The largest proposal of the metrics; None: there is none."""
        return max((each.replicas for each in self.proposals if each.replicas is not None), default=None)


def start_replicas(syncs: Sequence[PastSync]) -> int | None:
    """The replicas that a replay of a history begins with; None: none are known."""
    return next((each.replicas for each in syncs if each.replicas is not None), None)


def replayed(hpa: ReplayedHpa, syncs: Sequence[PastSync], start: int) -> Iterator[ReplayedSync]:
    """Each sync of a controller that starts with `start` replicas and remembers nothing."""
    current = start
    # Its first recommendation is what it finds.
    history = History((Event(syncs[0].at, start),)) if syncs else History()
    for past in syncs:
        workload = _workload(past, current)
        statuses = [_status(metric, _values(past, metric), past, workload) for metric in hpa.metrics]
        found = recommend(workload, statuses, hpa.bounds, past.at, history, hpa.settings)
        history = found.history.scaled(past.at, current, found.desired, hpa.bounds.behavior)
        yield ReplayedSync(
            past.at,
            past.replicas,
            current,
            found.desired,
            found.reason.value,
            found.explanation,
            tuple([_total(_values(past, metric)) for metric in hpa.metrics]),
            found.per_metric,
        )
        current = found.desired


def _values(past: PastSync, metric: SeenMetric) -> PastMetric:
    return past.metrics.get(metric.name, Unknown(NO_SAMPLE))


def _total(values: PastMetric) -> int | None:
    match values:
        case PerPod():
            return sum(values.milli.values()) if values.milli else None
        case Total():
            return sum(values.milli) if values.milli else None
        case Unknown():
            return None


def _workload(past: PastSync, current: int) -> Workload:
    if current == past.replicas and past.pods is not None:
        return Workload(current, past.pods, past.status_replicas)
    if current == past.replicas:
        named = sorted({name for each in past.metrics.values() if isinstance(each, PerPod) for name in each.milli})
        return Workload(current, _pods(current, named), past.status_replicas)
    return Workload(current, _pods(current, ()))


def _pods(count: int, named: Sequence[str]) -> tuple[PodState, ...]:
    """So many ready pods, those `named` among them; more of them where more had values."""
    others = (f"replayed-{number}" for number in range(count - len(named)))
    return tuple([PodState(name) for name in (*named, *others)])


def _status(metric: SeenMetric, values: PastMetric, past: PastSync, workload: Workload) -> MetricStatus:
    source = SOURCES[metric.form]
    if isinstance(values, Unknown):
        cause = f"unable to get metric {metric.name}: {API_WORDS[metric.form]}: {values.cause}"
        return UnavailableMetric(metric.name, cause, source)
    target = metric.target_percent if metric.target_percent is not None else metric.target_milli or 0
    if source in (Source.OBJECT, Source.EXTERNAL):
        items = values.milli if isinstance(values, Total) else tuple(values.milli.values())
        return TotalMetric(metric.name, items, target, metric.target_type == "AverageValue", source)
    by_pod = _by_pod(values, past, workload)
    if source is Source.PODS:
        return PodsMetric(metric.name, by_pod, target)
    requests = {each.name: _ALL_OF_A_REQUEST_MILLI for each in workload.pods}
    return ResourceMetric(metric.name, by_pod, target, metric.target_percent is not None, requests, source)


def _by_pod(values: PerPod | Total, past: PastSync, workload: Workload) -> dict[str, PodValue]:
    """The value of each pod, as recorded where these are the recorded pods."""
    if isinstance(values, PerPod) and workload.replicas == past.replicas:
        return {name: PodValue(milli, past.at) for name, milli in values.milli.items()}
    total = _total(values)
    having = [each.name for each in workload.pods]
    if isinstance(values, PerPod):
        # A part of the pods had no value, and the same part has none here.
        recorded = max(past.replicas or 0, len(values.milli))
        having = having[: max(1, round(len(having) * len(values.milli) / recorded))] if recorded else []
    return {} if total is None else {name: PodValue(total // len(having), past.at) for name in having}
