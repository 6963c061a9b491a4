"""What autoscalers ask and are told, as a document for people, and what that means in replicas.

The answers are those that the HPA controller gets. What it makes of them is its arithmetic on the pods that are known
here; its `behavior`, its history and its own metrics (CPU, memory) are not, and the document does not guess them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adapter.answering.autoscalers import Asking, Objects, is_keda_s, question
from adapter.api.paths import ObjectRequest
from adapter.errors import ApiError, NotFound
from infscale.endpoint import (
    Autoscaler,
    DescribedObject,
    DiscoveryState,
    MetricForm,
    ObjectKey,
    Phase,
    ScaledMetric,
    TargetType,
)
from infscale.errors import QuantityError
from infscale.metrics.sample import Reading
from infscale.planner.hpa import (
    MetricProposal,
    MetricStatus,
    PodsMetric,
    Recommendation,
    Source,
    TotalMetric,
    UnavailableMetric,
    recommend,
)
from infscale.planner.hpa_rules import Bounds
from infscale.planner.scale_target import PodState, PodValue, Workload
from infscale.quantity import format_quantity, milli_value, parse_quantity
from infscale.stepwise import Steps

MAX_AUTOSCALERS: Final = 200
MAX_SHOWN_METRICS: Final = 10
"""Of one autoscaler; hardly one has five."""

_SOURCES: Final[Mapping[MetricForm, Source]] = {
    MetricForm.PODS: Source.PODS,
    MetricForm.OBJECT: Source.OBJECT,
    MetricForm.EXTERNAL: Source.EXTERNAL,
}
_ELSEWHERE: Final = "another adapter answers it, which is not asked for this document"

_Document = dict[str, object]


def autoscaler_steps(asking: Asking, state: DiscoveryState, now: float) -> Steps[_Document]:
    """The autoscalers of `state` at monotonic second `now`; there is a step for each metric."""
    objects = {(each.kind, each.key): each for each in state.objects}
    shown = state.autoscalers[:MAX_AUTOSCALERS]
    documents: list[_Document] = []
    for autoscaler in shown:
        target = objects.get((autoscaler.target.kind, ObjectKey(autoscaler.key.namespace, autoscaler.target.name)))
        pods = None if target is None else _pods(target, state)
        answers: list[_Answer] = []
        for metric in autoscaler.metrics[:MAX_SHOWN_METRICS]:
            yield
            answers.append(_answer(asking, autoscaler, metric, objects, now))
        documents.append(_autoscaler(autoscaler, target, pods, answers, now))
    return {"autoscalers": documents, "left_out": len(state.autoscalers) - len(shown)}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is asked for `metric`: the values by the names of their objects, or why there are none."""

    metric: ScaledMetric
    items: Sequence[tuple[str, Reading]] = ()
    cause: str | None = None


def _answer(asking: Asking, autoscaler: Autoscaler, metric: ScaledMetric, objects: Objects, now: float) -> _Answer:
    asked = question(autoscaler, metric, objects)
    if asked is None:
        return _Answer(metric, cause="it names an object that discovery does not know, so nothing can be asked")
    if is_keda_s(metric):
        return _Answer(metric, cause="KEDA answers it; what infscale told KEDA is at /debug/triggers")
    if asking.is_of_others(asked):
        return _Answer(metric, cause=_ELSEWHERE)
    try:
        if isinstance(asked, ObjectRequest):
            items = [(key.name, reading) for key, reading in asking.provider.objects(asked, now).items]
        else:
            items = [("", each.reading) for each in asking.provider.external(asked, now).items]
    except ApiError as error:
        if isinstance(error, NotFound) and isinstance(asked, ObjectRequest) and asking.knows(asked.metric):
            return _Answer(metric, cause=_ELSEWHERE)
        return _Answer(metric, cause=str(error))
    return _Answer(metric, items)


def _autoscaler(
    autoscaler: Autoscaler,
    target: DescribedObject | None,
    pods: tuple[PodState, ...] | None,
    answers: Sequence[_Answer],
    now: float,
) -> _Document:
    statuses = [_status(each) for each in answers]
    left_out = len(autoscaler.metrics) - len(answers)
    said = _said(autoscaler, pods, [each for each in statuses if each is not None], now)
    # There is a proposal for each status, or none at all where the bounds alone decide.
    proposals = iter(() if said is None else said.per_metric)
    made = [None if status is None else next(proposals, None) for status in statuses]
    return {
        "autoscaler": str(autoscaler.key),
        "target": f"{autoscaler.target.kind}/{autoscaler.target.name}",
        "min_replicas": None if autoscaler.replicas is None else autoscaler.replicas[0],
        "max_replicas": None if autoscaler.replicas is None else autoscaler.replicas[1],
        "pods": None if pods is None else len(pods),
        "metrics": [_metric(each, proposal, now) for each, proposal in zip(answers, made, strict=True)],
        "metrics_of_others": autoscaler.others,
        "metrics_left_out": left_out,
        "replicas": None if said is None else said.desired,
        "why": None if said is None else said.explanation,
        "not_known": _unknown(autoscaler, target, pods, statuses, left_out),
    }


def _pods(target: DescribedObject, state: DiscoveryState) -> tuple[PodState, ...]:
    """The pods of `target` that pools have, a pod of several ranks once."""
    phases: dict[ObjectKey, Phase] = {}
    for endpoint in state.endpoints:
        if target.describes(endpoint):
            phases.setdefault(endpoint.key.pod, endpoint.phase)
    return tuple(
        PodState(pod.name, deleting=phase is Phase.DRAINING, ready=phase is Phase.READY)
        for pod, phase in phases.items()
    )


def _metric(answer: _Answer, proposal: MetricProposal | None, now: float) -> _Document:
    metric = answer.metric
    return {
        "metric": metric.name,
        "form": metric.form.value,
        "described": None if metric.described is None else "/".join(metric.described),
        "selector": str(metric.selector),
        "target_type": None if metric.target is None else metric.target.type.value,
        "target": None if metric.target is None else metric.target.quantity,
        "items": len(answer.items),
        "value": _together(metric.form, [reading.value for _, reading in answer.items]),
        "age_seconds": max((max(0.0, now - reading.at) for _, reading in answer.items), default=None),
        "cause": answer.cause,
        "replicas": None if proposal is None else proposal.replicas,
        "why": None if proposal is None else proposal.explanation,
    }


def _together(form: MetricForm, values: list[float]) -> float | None:
    """What a target is compared with: the mean of pods, the sum of others."""
    if not values:
        return None
    return sum(values) / len(values) if form is MetricForm.PODS else sum(values)


def _status(answer: _Answer) -> MetricStatus | None:
    """The answer as the controller's arithmetic takes it; None without a target."""
    metric, source = answer.metric, _SOURCES[answer.metric.form]
    if answer.cause is not None:
        return UnavailableMetric(metric.name, answer.cause, source)
    if metric.target is None:
        return None
    try:
        target = milli_value(parse_quantity(metric.target.quantity))
        values = [(name, milli_value(parse_quantity(format_quantity(each.value)))) for name, each in answer.items]
        if metric.form is MetricForm.PODS:
            return PodsMetric(metric.name, {name: PodValue(value) for name, value in values}, target)
        per_pod = metric.target.type is TargetType.AVERAGE_VALUE
        return TotalMetric(metric.name, tuple(value for _, value in values), target, per_pod, source)
    except (QuantityError, ValueError) as error:
        return UnavailableMetric(metric.name, str(error), source)


def _said(
    autoscaler: Autoscaler, pods: tuple[PodState, ...] | None, statuses: list[MetricStatus], now: float
) -> Recommendation | None:
    """What the arithmetic says of the metrics that are known; None where it cannot be done."""
    least, most = autoscaler.replicas or (0, 0)
    if not pods or not statuses or not 0 <= least <= most or not most:
        return None
    return recommend(Workload(len(pods), pods), statuses, Bounds(most, least), now)


def _unknown(
    autoscaler: Autoscaler,
    target: DescribedObject | None,
    pods: tuple[PodState, ...] | None,
    statuses: Iterable[MetricStatus | None],
    left_out: int,
) -> list[str]:
    """What the controller knows and this document does not, each in a sentence."""
    words = ["the controller's history, its behavior and its status: kubectl describe hpa has them"]
    if target is None:
        words.append(f"{autoscaler.target.kind} {autoscaler.target.name} is not among the objects that are watched")
    elif not pods:
        words.append("no pod of its target is in a pool")
    if autoscaler.replicas is None:
        words.append("its maxReplicas")
    if any(status is None for status in statuses):
        words.append("targets that are not written as quantities")
    if autoscaler.others:
        words.append(f"{autoscaler.others} of its metrics, which other servers answer (CPU, memory)")
    if left_out or not autoscaler.is_whole:
        words.append(f"metrics beyond its first {MAX_SHOWN_METRICS}")
    return words
