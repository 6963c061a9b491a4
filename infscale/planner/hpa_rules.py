"""What bounds a proposed number of replicas: stabilization, scaling policies, minimum and maximum, Kubernetes v1.36.

Source: `pkg/controller/podautoscaler/horizontal.go` and KEP-853 (configurable scaling velocity). Times are seconds on
the caller's clock.
"""

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from infscale.planner.hpa_replicas import MAX_REPLICAS

_RETENTION_SECONDS = 3600.0
"""The longest stabilization window the API accepts; nothing older can matter."""

_DEFAULT_UP_FACTOR = 2
_DEFAULT_UP_MINIMUM = 4


class Reason(enum.StrEnum):
    """Reasons of the HPA's conditions, spelled as in its status."""

    DESIRED_WITHIN_RANGE = "DesiredWithinRange"
    TOO_MANY_REPLICAS = "TooManyReplicas"
    TOO_FEW_REPLICAS = "TooFewReplicas"
    SCALE_UP_LIMIT = "ScaleUpLimit"
    SCALE_DOWN_LIMIT = "ScaleDownLimit"
    READY_FOR_NEW_SCALE = "ReadyForNewScale"
    SCALE_UP_STABILIZED = "ScaleUpStabilized"
    SCALE_DOWN_STABILIZED = "ScaleDownStabilized"
    SCALING_DISABLED = "ScalingDisabled"
    FAILED_GET_PODS_METRIC = "FailedGetPodsMetric"
    FAILED_GET_RESOURCE_METRIC = "FailedGetResourceMetric"
    FAILED_GET_CONTAINER_RESOURCE_METRIC = "FailedGetContainerResourceMetric"
    FAILED_GET_OBJECT_METRIC = "FailedGetObjectMetric"
    FAILED_GET_EXTERNAL_METRIC = "FailedGetExternalMetric"


class PolicyType(enum.Enum):
    """Unit of a scaling policy's value."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(enum.Enum):
    """Which of several policies counts: the one allowing the largest change, the smallest, or no change at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """At most `value` pods, or percent of the replicas at the period's start, within `period_seconds`."""

    type: PolicyType
    value: int
    period_seconds: float

    def __post_init__(self) -> None:
        if self.value <= 0 or not 0 < self.period_seconds <= 1800:
            raise ValueError("a scaling policy has a value above 0 and a period of 1 to 1800 seconds")


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """`behavior.scaleUp` or `.scaleDown`. A window or tolerance of None leaves it to the controller's settings."""

    policies: tuple[ScalingPolicy, ...]
    select: SelectPolicy = SelectPolicy.MAX
    stabilization_window_seconds: float | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if not self.policies:
            raise ValueError("scaling rules have at least one policy")
        if not 0 <= (self.stabilization_window_seconds or 0) <= _RETENTION_SECONDS:
            raise ValueError("a stabilization window is 0 to 3600 seconds")
        if (self.tolerance or 0) < 0:
            raise ValueError("a tolerance is not negative")


DEFAULT_SCALE_UP = ScalingRules(
    (ScalingPolicy(PolicyType.PODS, 4, 15.0), ScalingPolicy(PolicyType.PERCENT, 100, 15.0)),
    stabilization_window_seconds=0.0,
)
"""What the API server fills in for a `behavior` without `scaleUp`."""

DEFAULT_SCALE_DOWN = ScalingRules((ScalingPolicy(PolicyType.PERCENT, 100, 15.0),))
"""What the API server fills in for a `behavior` without `scaleDown`."""


@dataclass(frozen=True, slots=True)
class Behavior:
    """An HPA's `spec.behavior` with the API server's defaults for a direction it leaves out."""

    scale_up: ScalingRules = DEFAULT_SCALE_UP
    scale_down: ScalingRules = DEFAULT_SCALE_DOWN


@dataclass(frozen=True, slots=True)
class Bounds:
    """An HPA's `minReplicas`, `maxReplicas` and `behavior` (None: the HPA has none, other defaults apply)."""

    max_replicas: int
    min_replicas: int = 1
    behavior: Behavior | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas or self.max_replicas < 1:
            raise ValueError("bounds need 0 <= min_replicas <= max_replicas and max_replicas >= 1")


@dataclass(frozen=True, slots=True)
class Event:
    """A number of replicas at a time: recommended, added or removed."""

    at: float
    replicas: int


@dataclass(frozen=True, slots=True)
class History:
    """What the controller remembers of one HPA: recommendations before stabilization, and changes it made.

    kube-controller-manager keeps this in memory only and starts empty. A change takes the place of one that no policy
    of its own direction reaches, even where one of the other direction still does (`storeScaleEvent`).
    """

    recommendations: tuple[Event, ...] = ()
    scale_ups: tuple[Event, ...] = ()
    scale_downs: tuple[Event, ...] = ()

    def recommended(self, now: float, replicas: int) -> "History":
        """With a recommendation made at `now`."""
        return replace(self, recommendations=_with_recent(self.recommendations, Event(now, replicas)))

    def scaled(self, now: float, before: int, after: int, behavior: Behavior | None) -> "History":
        """With a change from `before` to `after` replicas carried out at `now`; only policies of a behavior read it."""
        if behavior is None or after == before:
            return self
        if after > before:
            return replace(self, scale_ups=_stored(self.scale_ups, Event(now, after - before), behavior.scale_up))
        return replace(self, scale_downs=_stored(self.scale_downs, Event(now, before - after), behavior.scale_down))


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of replicas after a rule, the condition reason, and the rule in plain words ("" where none bit)."""

    replicas: int
    reason: Reason
    message: str = ""


def stabilize(
    current: int, desired: int, bounds: Bounds, history: History, now: float, default_down_seconds: float
) -> Limit:
    """`desired` held within what was recommended lately: the highest for going down, the lowest for going up.

    `stabilizeRecommendation` without `behavior`, `stabilizeRecommendationWithBehaviors` with it.
    """
    if bounds.behavior is None:
        window = default_down_seconds
        recent = [each.replicas for each in history.recommendations if each.at >= now - window]
        stable = max([desired, *recent])
        reason = Reason.SCALE_DOWN_STABILIZED
    else:
        up = bounds.behavior.scale_up.stabilization_window_seconds or 0.0
        down = bounds.behavior.scale_down.stabilization_window_seconds
        down = default_down_seconds if down is None else down
        lowest = min([desired, *(each.replicas for each in history.recommendations if each.at > now - up)])
        highest = max([desired, *(each.replicas for each in history.recommendations if each.at > now - down)])
        stable = min(max(current, lowest), highest)
        rising = desired >= current
        reason = Reason.SCALE_UP_STABILIZED if rising else Reason.SCALE_DOWN_STABILIZED
        window = up if rising else down
    if stable == desired:
        return Limit(desired, Reason.READY_FOR_NEW_SCALE)
    extreme = "lowest" if reason is Reason.SCALE_UP_STABILIZED else "highest"
    return Limit(stable, reason, f"held at the {extreme} recommendation of the last {window:g} s")


def limit_rate(current: int, desired: int, bounds: Bounds, history: History, now: float) -> Limit:
    """`desired` within scaling policies, minimum and maximum.

    `convertDesiredReplicasWithBehaviorRate`; without `behavior` `convertDesiredReplicasWithRules`, which lets a sync at
    most double the replicas, or reach 4.
    """
    behavior = bounds.behavior
    if behavior is None:
        if desired < bounds.min_replicas:
            return _too_few(bounds)
        fastest = max(_DEFAULT_UP_FACTOR * current, _DEFAULT_UP_MINIMUM)
        return _at_most(desired, fastest, bounds, "at most double, or 4, per sync")
    if desired > current:
        fastest = max(current, scale_up_limit(current, behavior.scale_up, history, now))
        return _at_most(desired, fastest, bounds, _policy_words(behavior.scale_up))
    if desired < current:
        lowest = min(current, scale_down_limit(current, behavior.scale_down, history, now))
        if desired < lowest and lowest > bounds.min_replicas:
            return Limit(lowest, Reason.SCALE_DOWN_LIMIT, f"slowed to {lowest}: {_policy_words(behavior.scale_down)}")
        if desired < bounds.min_replicas:
            return _too_few(bounds)
    return Limit(desired, Reason.DESIRED_WITHIN_RANGE)


def scale_up_limit(current: int, rules: ScalingRules, history: History, now: float) -> int:
    """Most replicas the policies allow now (`calculateScaleUpLimitWithScalingRules`)."""
    if rules.select is SelectPolicy.DISABLED:
        return current
    limits = [_raised(policy, _period_start(current, policy, history, now)) for policy in rules.policies]
    return min(limits) if rules.select is SelectPolicy.MIN else max(limits)


def scale_down_limit(current: int, rules: ScalingRules, history: History, now: float) -> int:
    """Fewest replicas the policies allow now (`calculateScaleDownLimitWithBehaviors`); may be negative."""
    if rules.select is SelectPolicy.DISABLED:
        return current
    limits = [_lowered(policy, _period_start(current, policy, history, now)) for policy in rules.policies]
    return max(limits) if rules.select is SelectPolicy.MIN else min(limits)


def _period_start(current: int, policy: ScalingPolicy, history: History, now: float) -> int:
    cutoff = now - policy.period_seconds
    added = sum(each.replicas for each in history.scale_ups if each.at > cutoff)
    removed = sum(each.replicas for each in history.scale_downs if each.at > cutoff)
    return current - added + removed


def _raised(policy: ScalingPolicy, start: int) -> int:
    if policy.type is PolicyType.PODS:
        return min(MAX_REPLICAS, start + policy.value)
    # Rounded up, or a small percentage of few replicas could never scale up.
    return min(MAX_REPLICAS, math.ceil(float(start) * (1 + float(policy.value) / 100)))


def _lowered(policy: ScalingPolicy, start: int) -> int:
    if policy.type is PolicyType.PODS:
        return start - policy.value
    return math.trunc(float(start) * (1 - float(policy.value) / 100))


def _at_most(desired: int, fastest: int, bounds: Bounds, words: str) -> Limit:
    if desired > fastest and fastest < bounds.max_replicas:
        return Limit(fastest, Reason.SCALE_UP_LIMIT, f"slowed to {fastest}: {words}")
    if desired > bounds.max_replicas:
        return Limit(bounds.max_replicas, Reason.TOO_MANY_REPLICAS, f"capped at maxReplicas {bounds.max_replicas}")
    return Limit(desired, Reason.DESIRED_WITHIN_RANGE)


def _too_few(bounds: Bounds) -> Limit:
    return Limit(bounds.min_replicas, Reason.TOO_FEW_REPLICAS, f"raised to minReplicas {bounds.min_replicas}")


def _policy_words(rules: ScalingRules) -> str:
    if rules.select is SelectPolicy.DISABLED:
        return "scaling in this direction is disabled"
    units = {PolicyType.PODS: " pods", PolicyType.PERCENT: " %"}
    listed = (f"{each.value}{units[each.type]} per {each.period_seconds:g} s" for each in rules.policies)
    return (" and " if rules.select is SelectPolicy.MIN else " or ").join(listed)


def _with_recent(events: Iterable[Event], event: Event) -> tuple[Event, ...]:
    return (*(each for each in events if each.at >= event.at - _RETENTION_SECONDS), event)


def _stored(events: tuple[Event, ...], event: Event, rules: ScalingRules) -> tuple[Event, ...]:
    """`event` in the place of the last one that is older than the longest period of its rules, or added."""
    oldest = event.at - max(each.period_seconds for each in rules.policies)
    outdated = [index for index, each in enumerate(events) if each.at < oldest]
    if not outdated:
        return (*events, event)
    return (*events[: outdated[-1]], event, *events[outdated[-1] + 1 :])
