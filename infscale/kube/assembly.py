"""From everything the watches have seen to one `DiscoveryState`, in an order that does not depend on events'."""

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, TypeVar

from infscale.discovery.objects import InferenceModel
from infscale.discovery.workloads import WorkloadKind
from infscale.endpoint import (
    Autoscaler,
    DescribedObject,
    DiscoveryState,
    Endpoint,
    Objective,
    ObjectKey,
    Phase,
    Pool,
    Rewrite,
    Rollout,
    Workload,
    authority,
)
from infscale.kube import watched_objects as objects
from infscale.kube.pods import endpoints_of, phase_of, ranked_ports, workload_of
from infscale.kube.watched_objects import Definition, PodRecord, Record
from infscale.sources.source_kind import ExporterPods

ValueT = TypeVar("ValueT")
Records = dict[ObjectKey, Record[ValueT]]

NO_EXPORTERS: Mapping[str, ExporterPods] = MappingProxyType({})

# Of two endpoints with one address and port, one is what is left of a pod whose address went to the other.
_LIVELIEST_FIRST = {Phase.READY: 0, Phase.STARTING: 1, Phase.DRAINING: 2}


def _read_by(definition: Definition[Any]) -> Mapping[str, Definition[Any]]:
    """Metadata of a field of `SeenObjects`: its objects are read by `definition`."""
    return {"definition": definition}


@dataclass(slots=True)
class SeenObjects:
    """The objects as the watches have seen them last, by kind; the watches write here."""

    pods: dict[ObjectKey, PodRecord] = field(default_factory=dict[ObjectKey, PodRecord])
    exporters: dict[ObjectKey, PodRecord] = field(default_factory=dict[ObjectKey, PodRecord])
    replica_sets: dict[ObjectKey, Workload | None] = field(default_factory=dict[ObjectKey, Workload | None])
    cordoned: dict[ObjectKey, bool] = field(default_factory=dict[ObjectKey, bool])
    """Of each node, whether it is cordoned."""
    pools: Records[Pool] = field(default_factory=dict, metadata=_read_by(objects.POOL))
    legacy_pools: Records[Pool] = field(default_factory=dict, metadata=_read_by(objects.LEGACY_POOL))
    objectives: Records[Objective] = field(default_factory=dict, metadata=_read_by(objects.OBJECTIVE))
    legacy_objectives: Records[Objective] = field(default_factory=dict, metadata=_read_by(objects.LEGACY_OBJECTIVE))
    rewrites: Records[Rewrite] = field(default_factory=dict, metadata=_read_by(objects.REWRITE))
    legacy_rewrites: Records[Rewrite] = field(default_factory=dict, metadata=_read_by(objects.LEGACY_REWRITE))
    models: Records[InferenceModel] = field(default_factory=dict, metadata=_read_by(objects.MODEL))
    rollouts: Records[Rollout] = field(default_factory=dict, metadata=_read_by(objects.ROLLOUT))
    workloads: dict[WorkloadKind, Records[DescribedObject]] = field(
        default_factory=dict[WorkloadKind, Records[DescribedObject]]
    )
    services: Records[DescribedObject] = field(default_factory=dict, metadata=_read_by(objects.SERVICE))
    autoscalers: Records[Autoscaler] = field(default_factory=dict, metadata=_read_by(objects.AUTOSCALER))
    namespaces: Records[DescribedObject] = field(default_factory=dict, metadata=_read_by(objects.NAMESPACE))
    configured_pools: tuple[Pool, ...] = ()
    """Pools that the configuration declares."""

    def by_definition(self) -> Iterator[tuple[Definition[Any], Records[Any]]]:
        """The kinds that are read by definition, and where their records are."""
        for each in fields(self):
            if "definition" in each.metadata:
                yield each.metadata["definition"], getattr(self, each.name)
        for kind, records in self.workloads.items():
            yield objects.described_by(kind), records

    def with_pods(self) -> tuple[tuple[str, Records[DescribedObject]], ...]:
        """The described objects that may declare a pool, by their kinds."""
        return (*((kind.kind, records) for kind, records in self.workloads.items()), ("Service", self.services))


@dataclass(frozen=True, slots=True)
class Assembly:
    """A state, and `notes` on what of the cluster is not in it although it could be, in words for people."""

    state: DiscoveryState
    notes: tuple[str, ...] = ()


def _values(records: Mapping[ObjectKey, Record[ValueT]]) -> tuple[ValueT, ...]:
    ordered = (records[key].value for key in sorted(records))
    return tuple(value for value in ordered if value is not None)


def of_newer_group(
    newer: Mapping[ObjectKey, Record[ValueT]], legacy: Mapping[ObjectKey, Record[ValueT]]
) -> Records[ValueT]:
    """The records of both API groups of one kind; where both have one of the same name, that of the newer group."""
    return {**legacy, **{key: record for key, record in newer.items() if record.value or key not in legacy}}


@dataclass(frozen=True, slots=True)
class Pools:
    """The pools there are, and `notes` on those that are left out."""

    records: Records[Pool]
    notes: tuple[str, ...]


def pools_in_use(seen: SeenObjects) -> Pools:
    """The pools of objects of their own, of the configuration and of annotations: of one name, the first in this order.

    Of annotated objects the oldest has the name.
    """
    found = of_newer_group(seen.pools, seen.legacy_pools)
    holders = {key: f"InferencePool {key}" for key in found}
    notes: list[str] = []
    declared = [(f"the pool {each.key} of the configuration", Record(each.key, each)) for each in seen.configured_pools]
    annotated: list[tuple[str, str, Record[Pool]]] = []
    for kind, records in seen.with_pods():
        for record in records.values():
            value = record.value
            if value is not None and value.pool_problem:
                notes.append(f"{kind} {record.key} is no pool: {value.pool_problem}")
            if value is not None and value.pool is not None:
                pool = replace(value.pool, own_ports=True)
                annotated.append((record.created, f"{kind} {record.key}", Record(pool.key, pool, record.created)))
    declared += [(holder, record) for _, holder, record in sorted(annotated, key=lambda each: each[:2])]
    for holder, made in declared:
        if made.key in found:
            notes.append(f"{holder} is left out as a pool: {holders[made.key]} is the pool {made.key}")
            continue
        found[made.key], holders[made.key] = made, holder
    return Pools(found, tuple(notes))


def models_in_use(models: Mapping[ObjectKey, Record[InferenceModel]]) -> dict[ObjectKey, ObjectKey]:
    """InferenceModels whose model name another one of their pool has taken, and which: the oldest keeps it."""
    holders: dict[tuple[str, str, str], ObjectKey] = {}
    beaten: dict[ObjectKey, ObjectKey] = {}
    for record in sorted(models.values(), key=lambda each: (each.created, each.key)):
        if record.value is None:
            continue
        holder = holders.setdefault((record.key.namespace, record.value.objective.pool, record.value.model), record.key)
        if holder != record.key:
            beaten[record.key] = holder
    return beaten


@dataclass(frozen=True, slots=True)
class _Made:
    """The endpoints of one pod and all they were made of."""

    pod: PodRecord
    pools: tuple[Pool, ...]
    workload: Workload | None
    endpoints: tuple[Endpoint, ...]
    problem: str | None = None
    """Why it has none."""

    @classmethod
    def of(cls, pod: PodRecord, pools: tuple[Pool, ...], workload: Workload | None) -> "_Made":
        """The endpoints of `pod`; what cannot be one is this pod's problem alone."""
        if pod.address and not _is_address(pod.address):
            return cls(pod, pools, workload, (), f"pod {pod.key} is left out: its address is none")
        try:
            return cls(pod, pools, workload, endpoints_of(pod, ranked_ports(pod, pools), workload))
        except ValueError as error:
            return cls(pod, pools, workload, (), f"pod {pod.key} is left out: {error}")

    def made_of(self, pod: PodRecord, pools: tuple[Pool, ...], workload: Workload | None) -> bool:
        """Whether the same endpoints would come out again."""
        return self.pod is pod and self.pools is pools and self.workload == workload


class Assembler:
    """Makes states; guards the endpoints it made, so that a change of one pod costs one pod."""

    def __init__(self, exporters: Mapping[str, ExporterPods] = NO_EXPORTERS) -> None:
        self._exporters = exporters
        self._pools: dict[str, tuple[Pool, ...]] = {}
        self._made: dict[ObjectKey, _Made] = {}

    def assemble(self, seen: SeenObjects) -> Assembly:
        """The state `seen` amounts to."""
        pools = pools_in_use(seen)
        beaten = models_in_use(seen.models)
        models = _values({key: record for key, record in seen.models.items() if key not in beaten})
        endpoints, notes = self._endpoints(seen, pools.records)
        objectives = _values(of_newer_group(seen.objectives, seen.legacy_objectives))
        rewrites = _values(of_newer_group(seen.rewrites, seen.legacy_rewrites))
        state = DiscoveryState(
            endpoints,
            _values(pools.records),
            objectives + tuple(each.objective for each in models),
            rewrites + tuple(each.rewrite for each in models if each.rewrite is not None),
            tuple(
                each
                for table in (*(records for _, records in seen.with_pods()), seen.namespaces)
                for each in _values(table)
            ),
            _values(seen.autoscalers),
            {key: _exporter_urls(wanted, seen) for key, wanted in self._exporters.items()},
            _values(seen.rollouts),
        )
        return Assembly(state, (*_notes(seen, beaten), *pools.notes, *notes))

    def _endpoints(self, seen: SeenObjects, pools: Records[Pool]) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
        self._follow(pools)
        made: dict[ObjectKey, _Made] = {}
        for key in sorted(each for each in seen.pods if each.namespace in self._pools):
            pod, chosen = seen.pods[key], self._pools[key.namespace]
            workload = workload_of(pod, seen.replica_sets)
            known = self._made.get(key)
            if known is None or not known.made_of(pod, chosen, workload):
                known = _Made.of(pod, chosen, workload)
            made[key] = known
        self._made = made
        leaving = _leaving(made.values(), {key.name for key, cordoned in seen.cordoned.items() if cordoned})
        found: list[Endpoint] = []
        for key, each in made.items():
            found += _drained(each.endpoints) if key in leaving else each.endpoints
        endpoints, notes = _one_per_address(found)
        problems = tuple(each.problem for each in made.values() if each.problem is not None)
        return endpoints, (*notes, *problems)

    def _follow(self, pools: Records[Pool]) -> None:
        """Keep the pools of each namespace, oldest first; the very same tuple as long as nothing changed."""
        found: dict[str, list[Pool]] = {}
        for record in sorted(pools.values(), key=lambda each: (each.created, each.key)):
            if record.value is not None:
                found.setdefault(record.key.namespace, []).append(record.value)
        known = self._pools
        now = {namespace: tuple(own) for namespace, own in found.items()}
        self._pools = {name: known[name] if known.get(name) == own else own for name, own in now.items()}


def _leaving(made: Iterable[_Made], cordoned: Collection[str]) -> Collection[ObjectKey]:
    """The pods that drain as their nodes are cordoned: those without which each of their pools has a Ready pod.

    A cordon says that a node is to be emptied, not that its pods do not serve: a pool that is nowhere else stays.
    """
    if not cordoned:
        return ()
    ready = [each for each in made if phase_of(each.pod) is Phase.READY]
    staying = [each for each in ready if each.pod.node not in cordoned]
    kept: dict[ObjectKey, bool] = {}
    found: set[ObjectKey] = set()
    for each in ready:
        pod = each.pod
        if pod.node not in cordoned:
            continue
        own = [pool for pool in each.pools if pool.chooses(pod.key.namespace, pod.labels)]
        for pool in own:
            if pool.key not in kept:
                kept[pool.key] = any(pool.chooses(one.pod.key.namespace, one.pod.labels) for one in staying)
        if all(kept[pool.key] for pool in own):
            found.add(pod.key)
    return found


def _drained(endpoints: Iterable[Endpoint]) -> Iterator[Endpoint]:
    return (replace(each, phase=Phase.DRAINING) for each in endpoints)


def _exporter_urls(wanted: ExporterPods, seen: SeenObjects) -> tuple[str, ...]:
    chosen = (
        pod
        for pod in seen.exporters.values()
        if pod.key.namespace == wanted.namespace
        and wanted.labels.items() <= pod.labels.items()
        and phase_of(pod) in {Phase.STARTING, Phase.READY}
        and _is_address(pod.address)
    )
    return tuple(sorted({f"{wanted.scheme}://{authority(pod.address, wanted.port)}/metrics" for pod in chosen}))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _one_per_address(endpoints: list[Endpoint]) -> tuple[tuple[Endpoint, ...], tuple[str, ...]]:
    """`endpoints` without those whose address and port another has, and notes on them."""
    holders: dict[tuple[str, int], Endpoint] = {}
    for endpoint in endpoints:
        holder = holders.setdefault((endpoint.address, endpoint.port), endpoint)
        if _LIVELIEST_FIRST[endpoint.phase] < _LIVELIEST_FIRST[holder.phase]:
            holders[endpoint.address, endpoint.port] = endpoint
    if len(holders) == len(endpoints):
        return tuple(endpoints), ()
    kept = tuple(each for each in endpoints if holders[each.address, each.port] is each)
    left_out = (each for each in endpoints if holders[each.address, each.port] is not each)
    notes = tuple(
        f"endpoint {each.key} is left out: {holders[each.address, each.port].key} has its address {each.authority}"
        for each in left_out
    )
    return kept, notes


def _notes(seen: SeenObjects, beaten: Mapping[ObjectKey, ObjectKey]) -> Iterable[str]:
    for kind, newer, legacy in (
        ("InferencePool", seen.pools, seen.legacy_pools),
        ("InferenceObjective", seen.objectives, seen.legacy_objectives),
        ("InferenceModelRewrite", seen.rewrites, seen.legacy_rewrites),
    ):
        for key in sorted(newer.keys() & legacy.keys()):
            yield f"{kind} {key} exists in both API groups: that of the newer group counts"
    for key, holder in sorted(beaten.items()):
        yield f"InferenceModel {key} is left out: the older InferenceModel {holder} has its model name"
