"""Objects as an API server sends them, read into records of what discovery needs of them.

Fields that change without meaning anything here (resource versions, heartbeats, most of every status) are left out, so
that records of such versions are equal. An object that cannot be read is a record of its problem.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from infscale.discovery import objects as definitions
from infscale.discovery.rollout_objects import read_rollout
from infscale.discovery.workloads import (
    POOL_ANNOTATION,
    PORTS_ANNOTATION,
    Path,
    WorkloadKind,
    read_namespace,
    read_service,
)
from infscale.documents.strict_document import Field, from_plain
from infscale.endpoint import DRAINING_LABEL, DescribedObject, ObjectKey, Pool, Workload
from infscale.errors import ConfigError
from infscale.kube.api import resources
from infscale.kube.api.resources import Resource
from infscale.kube.autoscaler_specs import MAX_METRICS, read_autoscaler
from infscale.metrics.pages.dialects import ENGINE_LABELS

Object = Mapping[str, Any]

ACTIVE_PORTS = ("llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports")
"""Annotations that narrow the ports of a pod; the first one present counts."""

ENGINES = ENGINE_LABELS
"""Annotations that name the engine of a pod, which are called as the labels that do; the first one present counts."""

DRAINING = (DRAINING_LABEL,)
"""The label and annotation of a pod that is to get nothing new, with the value ``true``."""

MAX_VALUES = 5_000
"""Of one object's spec and labels that are read, nested ones included."""
_MAX_DEPTH = 32
# Of an annotation that is read: an object can have a quarter of a MiB of annotations.
_MAX_ANNOTATION = 1_024

ValueT = TypeVar("ValueT")

_NOTHING: Object = MappingProxyType({})
_DECLARING = (POOL_ANNOTATION, PORTS_ANNOTATION)


def key_of(item: Object) -> ObjectKey:
    """The identity of an object; one without a namespace belongs to the cluster and has ""."""
    metadata = item["metadata"]
    return ObjectKey(metadata.get("namespace", ""), metadata["name"])


def seconds_of(text: str | None) -> float | None:
    """Unix seconds of a Kubernetes time; most are whole seconds. None: not given."""
    return datetime.fromisoformat(text).timestamp() if text else None


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of an object's status; `last_transition_time` is RFC 3339 as written."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: str
    observed_generation: int | None = None


CONDITION_KEYS = ("type", "status", "reason", "message", "lastTransitionTime")
"""The keys of a condition's texts, in the order of `Condition`."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What writing an object's status needs to know: which version was seen, and what its status says now."""

    generation: int
    resource_version: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Record(Generic[ValueT]):
    """One object as last read.

    `value` is what it says; where its latest version cannot be read (`problem` says why), what it said before, and None
    where it never said anything usable. `created` sorts by age. `standing` is there for kinds whose status we write.
    """

    key: ObjectKey
    value: ValueT | None
    created: str = ""
    problem: str | None = None
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Definition(Generic[ValueT]):
    """How objects of one kind are read.

    `paths` lead to what the reader looks at, and `declaring` to what it looks at where an annotation declares a pool.
    With `has_standing` conditions are read, too. Objects of more than `MAX_VALUES` values are
    not read: one of them would keep everything else waiting.
    """

    resource: Resource
    reader: Callable[[Field], ValueT]
    paths: tuple[Path, ...] = (("spec",),)
    declaring: tuple[Path, ...] = ()
    has_standing: bool = False
    cut: Mapping[str, int] = field(default_factory=dict[str, int])
    """Lists of the spec of which only so many items are read."""

    def read(self, item: Object, before: Record[ValueT] | None = None) -> Record[ValueT]:
        """The record of `item`, after `before` of the same object."""
        key = key_of(item)
        metadata = item["metadata"]
        created = metadata.get("creationTimestamp") or ""
        standing = _standing(item) if self.has_standing else None
        try:
            relevant, place = self._relevant(item), f"{self.resource.kind} {key}"
            if _values_within(relevant, MAX_VALUES) < 0:
                raise ConfigError(place, "", f"it has more than {MAX_VALUES} values, which is more than is read")
            value = self.reader(from_plain(relevant, place, strict=False))
        except ConfigError as error:
            problem = f"{error.path}: {error.problem}" if error.path else error.problem
            known = before.value if before is not None and before.created == created else None
            return Record(key, known, created, problem, standing)
        return Record(key, value, created, None, standing)

    def _relevant(self, item: Object) -> dict[str, Any]:
        """The part of `item` that its reader looks at; items of lists do not say their kind themselves."""
        metadata = item["metadata"]
        kept = {key: metadata[key] for key in ("namespace", "name", "labels", "creationTimestamp") if key in metadata}
        annotations = metadata.get("annotations") or _NOTHING
        paths = self.paths
        if self.declaring and POOL_ANNOTATION in annotations:
            kept["annotations"] = {key: annotations[key] for key in _DECLARING if key in annotations}
            paths += self.declaring
        found: dict[str, Any] = {"apiVersion": self.resource.api_version, "kind": self.resource.kind, "metadata": kept}
        for path in paths:
            _copy(item, found, path)
        for key, most in self.cut.items():
            if isinstance(found["spec"].get(key), list):
                found["spec"] = {**found["spec"], key: found["spec"][key][:most]}
        return found


def _copy(item: Object, found: dict[str, Any], path: Path) -> None:
    """Copy what `item` has at `path`; its first part is there in any case."""
    found.setdefault(path[0], {})
    for key in path[:-1]:
        if item.get(key) is None:
            return
        item, found = item[key], found.setdefault(key, {})
    if item.get(path[-1]) is not None:
        found[path[-1]] = item[path[-1]]


def _values_within(value: object, most: int) -> int:
    """How many more values than `value` has fit into `most`; below 0: it has too many, or is nested too deeply."""
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting and most >= 0:
        one, depth = waiting.pop()
        parts: Collection[object] = ()
        if isinstance(one, dict):
            parts = one.values()
        elif isinstance(one, list):
            parts = one
        if parts and depth >= _MAX_DEPTH:
            return -1
        most -= len(parts)
        if most >= 0:
            waiting += ((each, depth + 1) for each in parts)
    return most


def _standing(item: Object) -> Standing:
    metadata = item["metadata"]
    conditions: Sequence[Object] = (item.get("status") or _NOTHING).get("conditions") or ()
    version = metadata.get("resourceVersion", "")
    return Standing(metadata.get("generation", 0), version, tuple(map(_condition, conditions)))


def _condition(said: Object) -> Condition:
    kind, status, reason, message, since = (said.get(key, "") for key in CONDITION_KEYS)
    return Condition(kind, status, reason, message, since, said.get("observedGeneration"))


def _with_own_ports(pool: Pool) -> Pool:
    """Endpoints are made from pods here, so the pool decides which of their ports are its own."""
    return replace(pool, own_ports=True)


def _written(resource: Resource, reader: Callable[[Field], ValueT]) -> Definition[ValueT]:
    """The definition of a kind whose status we write."""
    return Definition(resource, reader, has_standing=True)


def described_by(kind: WorkloadKind) -> Definition[DescribedObject]:
    """The definition of a kind that only has pods."""
    resource = Resource(kind.group, kind.version, kind.plural, True, kind.kind)
    return Definition(
        resource, kind.read, paths=(kind.selector,), declaring=tuple((*path, "containers") for path in kind.pods)
    )


POOL = Definition(resources.POOLS, lambda field: _with_own_ports(definitions.read_pool(field)))
LEGACY_POOL = Definition(resources.LEGACY_POOLS, lambda field: _with_own_ports(definitions.read_legacy_pool(field)))
OBJECTIVE = _written(resources.OBJECTIVES, definitions.read_objective)
LEGACY_OBJECTIVE = _written(resources.LEGACY_OBJECTIVES, definitions.read_objective)
REWRITE = _written(resources.REWRITES, definitions.read_rewrite)
LEGACY_REWRITE = _written(resources.LEGACY_REWRITES, definitions.read_rewrite)
MODEL = _written(resources.MODELS, definitions.read_model)
ROLLOUT = _written(resources.ROLLOUTS, read_rollout)
SERVICE = Definition(resources.SERVICES, read_service, paths=(("spec", "selector"),), declaring=(("spec", "ports"),))
NAMESPACE = Definition(resources.NAMESPACES, read_namespace, paths=())
AUTOSCALER = Definition(resources.AUTOSCALERS, read_autoscaler, cut={"metrics": MAX_METRICS + 1})


@dataclass(frozen=True, slots=True)
class Container:
    """One ordinary container of a pod: the ports it declares and when it last started, in Unix seconds.

    `load_seconds` is how long after that start the pod first became Ready. Kubernetes writes both times in whole
    seconds, so it is off by up to a second.
    """

    name: str
    ports: tuple[int, ...] = ()
    started_at: float | None = None
    load_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PodRecord:
    """What discovery needs of a pod.

    `address` is "" until it has one; `finished` is whether it has Succeeded or Failed; `active_ports` is the annotation
    that narrows its ports, `engine` the one that names its engine; `owner` is its controller. `draining`: a label or an
    annotation says so. `node` is where it runs, "" before it is scheduled. Init containers, sidecars among them, are
    left out: they are not what loads a model.
    """

    key: ObjectKey
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    active_ports: str | None = None
    address: str = ""
    finished: bool = False
    deleting: bool = False
    ready: bool = False
    containers: tuple[Container, ...] = ()
    owner: Workload | None = None
    engine: str | None = None
    draining: bool = False
    node: str = ""


def read_pod(item: Object) -> PodRecord:
    """The record of a `Pod`."""
    metadata, spec, status = item["metadata"], item.get("spec") or _NOTHING, item.get("status") or _NOTHING
    annotations, labels = metadata.get("annotations") or _NOTHING, metadata.get("labels") or _NOTHING
    condition = next((each for each in status.get("conditions") or () if each.get("type") == "Ready"), _NOTHING)
    ready = condition.get("status") == "True"
    ready_at = seconds_of(condition.get("lastTransitionTime")) if ready else None
    return PodRecord(
        key_of(item),
        metadata.get("uid", ""),
        MappingProxyType(dict(labels)),
        _annotation(annotations, ACTIVE_PORTS),
        _address(status),
        status.get("phase") in {"Succeeded", "Failed"},
        bool(metadata.get("deletionTimestamp")),
        ready,
        _containers(spec, status, ready_at),
        controller_of(item),
        _annotation(annotations, ENGINES),
        _annotation(labels, DRAINING) == "true" or _annotation(annotations, DRAINING) == "true",
        spec.get("nodeName") or "",
    )


def is_cordoned(item: Object) -> bool:
    """Whether a `Node` takes no new pods: it is about to be emptied."""
    return bool((item.get("spec") or _NOTHING).get("unschedulable"))


def _annotation(annotations: Object, names: Sequence[str]) -> str | None:
    """The first of `names` that is there, as far as it is read."""
    return next((annotations[each][:_MAX_ANNOTATION] for each in names if each in annotations), None)


def _address(status: Object) -> str:
    addresses: Sequence[Object] = status.get("podIPs") or ()
    first = addresses[0].get("ip") if addresses else None
    return status.get("podIP") or first or ""


def _containers(spec: Object, status: Object, ready_at: float | None) -> tuple[Container, ...]:
    running = {
        each["name"]: ((each.get("state") or _NOTHING).get("running") or _NOTHING).get("startedAt")
        for each in status.get("containerStatuses") or ()
    }
    return tuple(
        _container(each, seconds_of(running.get(each["name"])), ready_at) for each in spec.get("containers", ())
    )


def _container(item: Object, started_at: float | None, ready_at: float | None) -> Container:
    ports = tuple(each["containerPort"] for each in item.get("ports") or () if each.get("protocol", "TCP") == "TCP")
    load_seconds = None
    # A pod that became Ready before the container started was Ready with an earlier start of it.
    if started_at is not None and ready_at is not None and ready_at >= started_at:
        load_seconds = ready_at - started_at
    return Container(item["name"], ports, started_at, load_seconds)


def controller_of(item: Object) -> Workload | None:
    """What owns an object and is its controller."""
    references: Sequence[Object] = item["metadata"].get("ownerReferences") or ()
    return next((Workload(each["kind"], each["name"]) for each in references if each.get("controller")), None)
