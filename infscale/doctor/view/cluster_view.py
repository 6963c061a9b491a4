"""Everything that was seen of a cluster at one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from adapter.registering.ownership import CUSTOM_V1BETA1, CUSTOM_V1BETA2, EXTERNAL_V1BETA1
from infscale.doctor.view.seen_apis import RESOURCE_METRICS, Answer, SeenApiService, SeenRight
from infscale.doctor.view.seen_routing import (
    SeenPool,
    SeenPoolUser,
    SeenRoute,
    SeenService,
    SeenText,
    SeenTlsPolicy,
)
from infscale.doctor.view.seen_scalers import ObjectRef, SeenAutoscaler, SeenMetric, SeenOther, SeenScaledObject
from infscale.doctor.view.seen_workloads import SeenPod, SeenScale, SeenWorkload
from infscale.endpoint import ObjectKey
from infscale.labels import Selector


@dataclass(frozen=True, slots=True)
class SeenInfscale:
    """infscale itself. `service` leads to its adapter; `account` is that of its pods, as RBAC writes it.

    The rest is of its configuration, None where that was not seen. `metrics` are the names of its formulas and queries,
    and of what rules of a prometheus-adapter make, as far as their file shows that.
    """

    service: ObjectKey
    installed: bool = False
    account: str = ""
    workload: ObjectKey | None = None
    config_map: str | None = None
    metrics: tuple[str, ...] = ()
    interval_seconds: float | None = None
    staleness_seconds: float | None = None
    destinations: int | None = None
    forwards: bool | None = None
    holds: bool | None = None
    """Whether requests wait in the picker."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What rules read. `seen` are the kinds that could be listed: of others nothing is known, not even absence.

    `now` is in Unix seconds, `minor` the cluster's Kubernetes 1.x. `kinds` are the kinds that the API server has, with
    the versions of each group. `scales` and `answers` are by the HPA they are for, answers also by the metric's index;
    a scale of None: there is no such object. `preferred` is the version of the custom metrics that an HPA asks.
    """

    now: float
    minor: int | None = None
    seen: frozenset[str] = frozenset()
    unseen: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    infscale: SeenInfscale = field(default_factory=lambda: SeenInfscale(ObjectKey("", "")))
    autoscalers: tuple[SeenAutoscaler, ...] = ()
    scaled_objects: tuple[SeenScaledObject, ...] = ()
    others: tuple[SeenOther, ...] = ()
    workloads: tuple[SeenWorkload, ...] = ()
    other_workloads: tuple[ObjectKey, ...] = ()
    """Of other kinds, such as LeaderWorkerSets: that they are there."""
    pods: tuple[SeenPod, ...] = ()
    pools: tuple[SeenPool, ...] = ()
    declared: tuple[SeenPool, ...] = ()
    """Pools that are no InferencePool, but of infscale's configuration or of an annotation."""
    pool_users: tuple[SeenPoolUser, ...] = ()
    services: tuple[SeenService, ...] = ()
    routes: tuple[SeenRoute, ...] = ()
    controllers: Mapping[ObjectKey, str] = field(default_factory=dict[ObjectKey, str], hash=False)
    """The controller of each Gateway, by its class."""
    tls_policies: tuple[SeenTlsPolicy, ...] = ()
    texts: tuple[SeenText, ...] = ()
    api_services: tuple[SeenApiService, ...] = ()
    rights: tuple[SeenRight, ...] = ()
    kinds: frozenset[tuple[str, str]] = frozenset()
    """Kinds that the API server has, with their group and version: ``("apps/v1", "Deployment")``."""
    scales: Mapping[ObjectKey, SeenScale | None] = field(default_factory=dict[ObjectKey, SeenScale | None], hash=False)
    answers: Mapping[tuple[ObjectKey, int], Answer] = field(
        default_factory=dict[tuple[ObjectKey, int], Answer], hash=False
    )
    listed: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]], hash=False)
    """The names that the APIs of metrics list, by the form of the metrics that ask them."""

    index: "Index" = field(init=False, repr=False, compare=False)
    """What rules look up again and again."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", Index.of(self))

    @property
    def every_pool(self) -> tuple[SeenPool, ...]:
        """The pools that infscale knows: InferencePools, and those that are declared otherwise."""
        return (*self.pools, *self.declared)

    def workload(self, namespace: str, target: ObjectRef) -> SeenWorkload | None:
        """The workload that `target` refers to."""
        return self.index.workloads.get((target.kind, ObjectKey(namespace, target.name)))

    def selector_of(self, autoscaler: SeenAutoscaler) -> Selector | None:
        """The selector of an HPA's target, None where it has none or one that selects nothing in particular."""
        scale = self.scales.get(autoscaler.key)
        return None if scale is None else scale.chooses

    def pods_of(self, autoscaler: SeenAutoscaler) -> tuple[SeenPod, ...]:
        """The pods that the controller counts for an HPA: those that its target's selector matches."""
        return self.index.counted.get(autoscaler.key, ())

    def rival(self, autoscaler: SeenAutoscaler) -> SeenAutoscaler | None:
        """Another HPA whose selector matches pods of this one: the controller then scales neither."""
        own = {each.key for each in self.pods_of(autoscaler)}
        others = self.index.autoscalers.get(autoscaler.key.namespace, ())
        shared = (
            each for each in others if each.key != autoscaler.key and any(pod.key in own for pod in self.pods_of(each))
        )
        return next(shared, None)

    def pools_of(self, workload: SeenWorkload) -> tuple[SeenPool, ...]:
        """The pools that select the pods of a workload, those of today's group first."""
        there = self.index.pools.get(workload.key.namespace, ())
        chosen = [each for each in there if each.chooses(workload.key.namespace, workload.pod_labels)]
        return tuple(sorted(chosen, key=lambda each: each.version != "v1"))

    def pool_of(self, autoscaler: SeenAutoscaler) -> SeenPool | None:
        """The pool that an HPA scales, where there is one."""
        workload = self.workload(autoscaler.key.namespace, autoscaler.target)
        if workload is not None:
            return next(iter(self.pools_of(workload)), None)
        pods = self.pods_of(autoscaler)
        there = self.index.pools.get(autoscaler.key.namespace, ())
        return next((pool for pool in there if any(pool.chooses(*_place(pod)) for pod in pods)), None)

    def members(self, pool: SeenPool) -> tuple[SeenPod, ...]:
        """The pods that a pool selects and that have not ended."""
        return tuple(
            each
            for each in self.index.pods.get(pool.key.namespace, ())
            if each.phase not in ("Succeeded", "Failed") and pool.chooses(*_place(each))
        )

    def model_servers(self) -> tuple[SeenWorkload, ...]:
        """The workloads that a pool selects."""
        return tuple(each for each in self.workloads if self.pools_of(each))

    def answer(self, autoscaler: SeenAutoscaler, metric: SeenMetric) -> Answer | None:
        """What was answered to a metric; None where it was not asked."""
        return self.answers.get((autoscaler.key, metric.index))

    def service(self, namespace: str, name: str) -> SeenService | None:
        """The Service of that name."""
        return next((each for each in self.services if each.key == ObjectKey(namespace, name)), None)

    def custom_service(self) -> SeenApiService | None:
        """The APIService that an HPA asks for custom metrics: the one of the highest priority."""
        found = [each for each in self.api_services if each.name in (CUSTOM_V1BETA1, CUSTOM_V1BETA2)]
        return max(found, key=lambda each: (each.priority, each.name), default=None)

    def external_service(self) -> SeenApiService | None:
        """The APIService that an HPA asks for external metrics."""
        return next((each for each in self.api_services if each.name == EXTERNAL_V1BETA1), None)

    def resource_service(self) -> SeenApiService | None:
        """The APIService that an HPA asks for CPU and memory."""
        return next((each for each in self.api_services if each.name == RESOURCE_METRICS), None)

    def metrics(self) -> Iterable[tuple[SeenAutoscaler, SeenMetric]]:
        """Every metric of every HPA that a person wrote: those that KEDA makes follow its ScaledObject."""
        for autoscaler in self.written():
            for metric in autoscaler.metrics:
                yield autoscaler, metric

    def written(self) -> tuple[SeenAutoscaler, ...]:
        """The HPAs that no ScaledObject made."""
        return tuple(each for each in self.autoscalers if each.owner is None or each.owner[0] != "ScaledObject")


NamespacedT = TypeVar("NamespacedT", SeenPod, SeenPool, SeenAutoscaler)


@dataclass(frozen=True, slots=True)
class Index:
    """Pods, pools and HPAs by namespace, workloads by kind and key, and the pods that each HPA counts."""

    pods: Mapping[str, tuple[SeenPod, ...]]
    pools: Mapping[str, tuple[SeenPool, ...]]
    autoscalers: Mapping[str, tuple[SeenAutoscaler, ...]]
    workloads: Mapping[tuple[str, ObjectKey], SeenWorkload]
    counted: Mapping[ObjectKey, tuple[SeenPod, ...]]

    @classmethod
    def of(cls, view: ClusterView) -> "Index":
        """The index of a view."""
        pods = _by_namespace(view.pods)
        counted: dict[ObjectKey, tuple[SeenPod, ...]] = {}
        for each in view.autoscalers:
            selector = view.selector_of(each)
            there = pods.get(each.key.namespace, ()) if selector is not None else ()
            counted[each.key] = tuple(pod for pod in there if selector is not None and selector.matches(pod.labels))
        workloads = {(each.kind, each.key): each for each in view.workloads}
        return cls(pods, _by_namespace(view.every_pool), _by_namespace(view.autoscalers), workloads, counted)


def _by_namespace(items: Iterable[NamespacedT]) -> Mapping[str, tuple[NamespacedT, ...]]:
    found: dict[str, list[NamespacedT]] = {}
    for each in items:
        found.setdefault(each.key.namespace, []).append(each)
    return {namespace: tuple(there) for namespace, there in found.items()}


def kinds_of(api_version: str) -> str:
    """What the kinds of an API group and version are called in `ClusterView.unseen`."""
    return f"kinds of {api_version}"


def _place(pod: SeenPod) -> tuple[str, Mapping[str, str]]:
    return pod.key.namespace, pod.labels
