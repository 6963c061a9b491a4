"""What autoscalers will ask, and which of their questions name something that does not exist.

An HPA shows such a mistake in its own conditions only, which are read late. Questions are asked here
as the HPA controller asks them, of the same provider, so that what is said is what it will be told.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from adapter.answering.provider import Provider
from adapter.api.paths import (
    ALL,
    EVERYTHING,
    NAMESPACES,
    CustomVersion,
    ExternalRequest,
    GroupResource,
    MetricRequest,
    ObjectRequest,
)
from adapter.errors import BadRequest, NotFound, Unavailable
from infscale.discovery.objects import POOL_GROUP
from infscale.endpoint import Autoscaler, DescribedObject, DiscoveryState, MetricForm, ObjectKey, ScaledMetric
from infscale.labels import Selector

MOST_OF_ONE = 3
MOST_AT_ONCE = 20
"""Lines of one round of checks; the rest is counted."""
MOST_FOUND = 5_000
"""Findings that are remembered from one round to the next."""

_POOLS = GroupResource("inferencepools", POOL_GROUP)
_PODS = GroupResource("pods")
_POOL_KIND = "InferencePool"
_NAMESPACE_KIND = "Namespace"


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of an autoscaler that cannot be answered as it is written."""

    autoscaler: ObjectKey
    metric: str
    problem: str


KEDA_LABEL = "scaledobject.keda.sh/name"
"""What the External metrics of KEDA's HPAs are selected by: KEDA answers them, and asks its scalers."""

Objects = Mapping[tuple[str, ObjectKey], DescribedObject]
"""Described objects by kind and key."""


def question(autoscaler: Autoscaler, metric: ScaledMetric, objects: Objects) -> MetricRequest | None:
    """The request the HPA controller makes for `metric`; None where it names an object that discovery does not know.

    Source: pkg/controller/podautoscaler/metrics/client.go of Kubernetes.
    """
    namespace = autoscaler.key.namespace
    if metric.form is MetricForm.EXTERNAL:
        return ExternalRequest(namespace, metric.name, metric.selector)
    if metric.form is MetricForm.PODS:
        target = objects.get((autoscaler.target.kind, ObjectKey(namespace, autoscaler.target.name)))
        if target is None or target.selector is None:
            return None
        return _asked(metric, _PODS, ObjectKey(namespace, ALL), target.selector)
    kind, name = metric.described or ("", "")
    if kind == _NAMESPACE_KIND:
        # The controller asks for the HPA's own namespace, whatever name is written.
        return _asked(metric, NAMESPACES, ObjectKey("", namespace))
    key = ObjectKey(namespace, name)
    if kind == _POOL_KIND:
        return _asked(metric, _POOLS, key)
    described = objects.get((kind, key))
    return None if described is None else _asked(metric, GroupResource(described.resource, described.group), key)


def _asked(
    metric: ScaledMetric, resource: GroupResource, key: ObjectKey, labels: Selector = EVERYTHING
) -> ObjectRequest:
    version = CustomVersion.V1BETA2
    return ObjectRequest(version, resource, key.namespace, key.name, metric.name, labels, metric.selector)


def is_keda_s(metric: ScaledMetric) -> bool:
    """Whether KEDA answers the metric."""
    return any(each.key == KEDA_LABEL for each in metric.selector.requirements)


@dataclass(frozen=True, slots=True)
class Asking:
    """What answers: `provider`, whose metrics have the names `own`, and another adapter.

    That is asked for the custom metrics that it `knows`: at once where infscale has none of the very name, else where
    infscale does not know the object.
    """

    provider: Provider
    knows: Callable[[str], bool]
    own: Collection[str]

    def is_of_others(self, asked: MetricRequest) -> bool:
        """Whether the other adapter is asked at once."""
        return isinstance(asked, ObjectRequest) and asked.metric not in self.own and self.knows(asked.metric)


def checked(asking: Asking, state: DiscoveryState, now: float) -> Iterator[Finding | None]:
    """Every metric that is refused for what it names; unknown values are no finding, they pass.

    There is one step for each metric that is looked at, None where nothing is found: the caller can let others in
    between.
    """
    objects = {(each.kind, each.key): each for each in state.objects}
    for autoscaler in state.autoscalers:
        if not autoscaler.is_whole:
            looked_at = f"it has too many metrics: the first {len(autoscaler.metrics)} of ours are looked at"
            yield Finding(autoscaler.key, "*", looked_at)
        for metric in dict.fromkeys(autoscaler.metrics):
            asked = question(autoscaler, metric, objects)
            if asked is None or is_keda_s(metric) or asking.is_of_others(asked):
                yield None
            else:
                yield _refused(asking, autoscaler, asked, now)


def _refused(asking: Asking, autoscaler: Autoscaler, asked: MetricRequest, now: float) -> Finding | None:
    try:
        if isinstance(asked, ObjectRequest):
            asking.provider.objects(asked, now)
        else:
            asking.provider.external(asked, now)
    except (NotFound, BadRequest) as error:
        forwarded = isinstance(error, NotFound) and isinstance(asked, ObjectRequest) and asking.knows(asked.metric)
        return None if forwarded else Finding(autoscaler.key, asked.metric, str(error))
    except Unavailable:
        pass
    return None


@dataclass(frozen=True, slots=True)
class Said:
    """What a round has to say: the findings that are told, and how many more there are."""

    told: tuple[Finding, ...]
    more: int


def news(found: Iterable[Finding], known: frozenset[Finding]) -> Said:
    """The findings that were not `known`, at most `MOST_OF_ONE` of an autoscaler and `MOST_AT_ONCE` in all."""
    told: list[Finding] = []
    of_one: Counter[ObjectKey] = Counter()
    more = 0
    for each in sorted(set(found) - known, key=str):
        of_one[each.autoscaler] += 1
        if len(told) < MOST_AT_ONCE and of_one[each.autoscaler] <= MOST_OF_ONE:
            told.append(each)
        else:
            more += 1
    return Said(tuple(told), more)
