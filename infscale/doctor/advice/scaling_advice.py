"""Which metrics, targets and behaviour keep a pool's goals, each with its reason."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from infscale.doctor.advice.pool_facts import PoolFacts
from infscale.errors import ConfigError
from infscale.metrics.published.latency_goals import Goal

_OF_GOAL = 0.8
_OF_BATCH = 0.7
_TOLERANCE = 0.1
_FROM_TOLERANCE = 35
_CALM_SECONDS = 300
_SHORTEST_PERIOD, _LONGEST_PERIOD, _LONGEST_WINDOW = 15, 1800, 3600
_UNKNOWN_LOAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`minReplicas` and `maxReplicas` as asked for; None: to be advised."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A number and why it is that."""

    value: int
    why: str


@dataclass(frozen=True, slots=True)
class AdvisedMetric:
    """A metric of the pool (`Object`) or of each pod (`Pods`) and its target, a quantity; `why` is for both."""

    form: str
    name: str
    target_type: str
    target: str
    why: str


@dataclass(frozen=True, slots=True)
class Advice:
    """How a pool should be scaled. `tolerance` None: the cluster does not take one."""

    facts: PoolFacts
    goals: tuple[Goal, ...]
    minimum: Number
    maximum: Number
    metrics: tuple[AdvisedMetric, ...]
    up_period: Number
    down_window: Number
    down_period: Number
    tolerance: str | None


def advised(facts: PoolFacts, goals: Sequence[Goal], limits: Limits, *, by_keda: bool = False) -> Advice:
    """The advice for a pool, `by_keda` for a ScaledObject. Raises `ConfigError` for limits that exclude each other."""
    minimum, maximum = _bounds(facts, limits, by_keda=by_keda)
    load = facts.load_seconds
    loads = f"a model takes {load:.0f} s to load here" if load is not None else "a model takes minutes to load"
    period = min(_LONGEST_PERIOD, max(_SHORTEST_PERIOD, math.ceil(_UNKNOWN_LOAD_SECONDS if load is None else load)))
    window = min(_LONGEST_WINDOW, max(_CALM_SECONDS, math.ceil(2 * (load or 0))))
    return Advice(
        facts,
        tuple(goals),
        minimum,
        maximum,
        tuple(_metrics(facts, goals, minimum.value)),
        Number(period, f"At most twice the pods until these can answer: {loads}, and latencies of full pods are long"),
        Number(window, f"Longer than a lull: {loads}, so that pods taken away too soon are missed for long"),
        Number(60, "One pod at a time: its streams end, and the others' load is seen before the next one goes"),
        "100m" if facts.minor is not None and facts.minor >= _FROM_TOLERANCE else None,
    )


def _bounds(facts: PoolFacts, limits: Limits, *, by_keda: bool) -> tuple[Number, Number]:
    minimum = 1 if limits.minimum is None else limits.minimum
    maximum = max(4, 2 * facts.replicas, minimum) if limits.maximum is None else limits.maximum
    if not 0 <= minimum <= maximum or maximum < 1:
        problem = f"expected 0 <= min <= max and max >= 1, got {minimum} and {maximum}"
        raise ConfigError("arguments", "--min, --max", problem)
    least = "As asked for" if limits.minimum is not None else "One pod answers at once; with none, a model loads first"
    if minimum == 0 and not by_keda:
        least = "To zero: before Kubernetes 1.37 it takes the feature gate HPAScaleToZero"
    most = "As asked for"
    if limits.maximum is None:
        most = f"Twice the {facts.replicas} of now: raise it to the GPUs there are"
    return Number(minimum, least), Number(maximum, most)


def _metrics(facts: PoolFacts, goals: Sequence[Goal], minimum: int) -> Iterator[AdvisedMetric]:
    for each in goals:
        target = each.seconds * _OF_GOAL
        acts = target * (1 + _TOLERANCE)
        why = (
            f"For {each.text}: {target:g} s is {_OF_GOAL * 100:g} % of it, so that with the tolerance of 10 % "
            f"pods are added above {acts:g} s. Value, since latencies of pods do not add up"
        )
        yield AdvisedMetric("Object", each.metric.name, "Value", f"{math.ceil(target * 1000)}m", why)
    if facts.batch is not None:
        count = max(1, math.floor(facts.batch * _OF_BATCH))
        why = (
            f"Requests in flight or waiting in the picker, known the moment they come, before any latency: {count} a "
            f"pod is {_OF_BATCH * 100:g} % of its batch of {facts.batch}. AverageValue, since they add up; it also "
            "says when a pod can go, which a latency does not"
        )
        yield AdvisedMetric("Object", "outstanding_requests", "AverageValue", str(count), why)
    else:
        why = (
            "The KV cache, because the batch size of the engine is not known: at most 1, and pods are added above "
            "0.77. It also says when a pod can go, which a latency does not"
        )
        yield AdvisedMetric("Pods", "kv_cache_utilization_ratio", "AverageValue", "700m", why)
    if minimum == 0:
        why = "Requests that found no pod: all else is unknown at zero. 1 to 100 of them ask for one pod"
        yield AdvisedMetric("Object", "requests_without_endpoint", "AverageValue", "100", why)
