"""Discovery from a cluster: watches of every kind that matters, assembled into whole states."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from infscale.discovery.objects import LEGACY_GROUP, LLM_D_GROUP, POOL_GROUP
from infscale.discovery.workloads import WORKLOADS, WorkloadKind
from infscale.endpoint import DescribedObject, DiscoveryState, ObjectKey, OnlyPool, Pool
from infscale.errors import ConfigError, StartError
from infscale.kube import watched_objects as objects
from infscale.kube.api import resources
from infscale.kube.api.errors import Forbidden, KubeError
from infscale.kube.api.resources import Resource
from infscale.kube.api.verbs import Follows, Patches
from infscale.kube.assembly import NO_EXPORTERS, Assembler, SeenObjects
from infscale.kube.conditions import Words, judge
from infscale.kube.reflector import Reflector
from infscale.kube.rights import Right, rights
from infscale.kube.status import StatusWriter
from infscale.kube.tables import Refusals, Table, read_node, read_pod_again, read_replica_set
from infscale.kube.watched_objects import Object, Record
from infscale.kube.watching import ReflectorSettings
from infscale.labels import Selector
from infscale.process.tasks import running
from infscale.sources.source_kind import ExporterPods

if TYPE_CHECKING:
    import random

_LOG = logging.getLogger(__name__)

RecordT = TypeVar("RecordT")

_ROUTING = frozenset({POOL_GROUP, LEGACY_GROUP, LLM_D_GROUP, resources.ROLLOUTS.group})
"""The groups of the kinds that decide where requests go."""

# A cluster may lack them, and rights that were given before they were known.
_OPTIONAL_GROUPS = frozenset(
    {kind.group for kind in WORKLOADS} - {resources.REPLICA_SETS.group} | {resources.ROLLOUTS.group}
)


class Cluster(Follows, Patches, Protocol):
    """The part of the API server's client that discovery takes: lists, watches, and patches of statuses."""


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """What of a cluster is followed, and how.

    Objects of `namespaces` are (none: of all); exporters are found by `exporters`, for each kind by its key. With
    `write_status` conditions are written back. Within `sync_timeout_seconds` everything must have been listed once.
    Changes are waited for `settle_seconds` before a state is made of them, so that many make one. With `only` nothing
    is followed but that pool's namespace, and in it pods, pools, and as far as the rights go what decides about single
    requests. `pools` are there beside those of the cluster, and `workloads` are kinds beside those that are known. With
    `drain_cordoned` pods of cordoned nodes drain, as far as nodes may be seen: with `namespaces` they are not.
    """

    namespaces: tuple[str, ...] = ()
    exporters: Mapping[str, ExporterPods] = field(default_factory=lambda: NO_EXPORTERS, hash=False)
    write_status: bool = True
    sync_timeout_seconds: float = 30.0
    settle_seconds: float = 0.025
    only: OnlyPool | None = None
    pools: tuple[Pool, ...] = ()
    workloads: tuple[WorkloadKind, ...] = ()
    drain_cordoned: bool = True


class KubernetesDiscovery:
    """States from a cluster; guards what its watches have seen. An async context manager that owns the watches.

    It is meant for one consumer of `states`.
    """

    def __init__(
        self, client: Cluster, settings: FollowSettings, clock: Callable[[], float], rng: "random.Random"
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._seen = SeenObjects(
            namespaces=_given_namespaces(settings.namespaces),
            workloads={kind: {} for kind in (*WORKLOADS, *settings.workloads)},
            configured_pools=settings.pools,
        )
        self._refusals = Refusals()
        self._assembler = Assembler(settings.exporters)
        self._notes: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._status = StatusWriter(client, clock, rng)
        self._unknown_load: frozenset[ObjectKey] = frozenset()
        self._progress: Mapping[ObjectKey, Words] = {}
        self._optional: set[str] = set()
        self._watches = dict(self._all_watches() if settings.only is None else self._pool_watches(settings.only))
        self._stack = AsyncExitStack()

    def needs(self) -> frozenset[Right]:
        """What it takes to follow the cluster so, and to write conditions."""
        found: set[Right] = set()
        for watch in self._watches.values():
            found |= rights(("list", "watch"), watch.resource.group, watch.resource.plural, namespace=watch.namespace)
        for definition, _ in self._seen.by_definition():
            if self._settings.write_status and definition.has_standing:
                found |= rights(("patch",), definition.resource.group, f"{definition.resource.plural}/status")
        return frozenset(found)

    async def __aenter__(self) -> "KubernetesDiscovery":
        runs = [watch.run() for watch in self._watches.values()]
        if self._settings.write_status:
            runs.append(self._status.run())
        await self._stack.enter_async_context(running(*runs))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def refusals(self) -> int:
        """How many versions of objects could not be read since the start."""
        return self._refusals.count

    @property
    def problem(self) -> ConfigError | None:
        """Why one of the objects as they are now is not in the state in use; None while all are."""
        return next(iter(self._problems()), None)

    def load_is_unknown(self, pools: frozenset[ObjectKey]) -> None:
        """Say of `pools`, in conditions, that the load of none of their endpoints is known; of all others it is."""
        self._unknown_load = pools
        if self._settings.write_status:
            self._status.sync(judge(self._seen, pools, self._progress))

    def rollouts_are(self, progress: Mapping[ObjectKey, Words]) -> None:
        """Say in conditions how far rollouts are."""
        self._progress = progress
        if self._settings.write_status:
            self._status.sync(judge(self._seen, self._unknown_load, progress))

    def disconnected_seconds(self) -> Mapping[str, float]:
        """How long each watch has not been connected to the API server, by its name; 0 while it is."""
        now = self._clock()
        followed = {name: watch for name, watch in self._watches.items() if not self._done_without(name)}
        return {name: watch.disconnected_seconds(now) for name, watch in followed.items()}

    async def states(self) -> AsyncIterator[DiscoveryState]:
        """Yield the first state once everything was listed, then another whenever something changed.

        Raises `StartError` where it cannot all be listed in time, saying what is missing.
        """
        await self._synced()
        state = self._state()
        yield state
        while True:
            await self._changed.wait()
            await asyncio.sleep(self._settings.settle_seconds)
            new = self._state()
            if new != state:
                state = new
                yield state

    def _state(self) -> DiscoveryState:
        """The state of this moment; says what is new of what is left out, and follows with conditions."""
        self._changed.clear()
        assembly = self._assembler.assemble(self._seen)
        for note in assembly.notes:
            if note not in self._notes:
                _LOG.warning("%s", note)
        self._notes = frozenset(assembly.notes)
        if self._settings.write_status:
            self._status.sync(judge(self._seen, self._unknown_load, self._progress))
        return assembly.state

    async def _synced(self) -> None:
        limit = self._settings.sync_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                for name, watch in self._watches.items():
                    await (watch.answered if name in self._optional else watch.synced).wait()
        except TimeoutError:
            raise StartError(_missing(self._watches, limit)) from None

    def _done_without(self, name: str) -> bool:
        """Whether that watch is of a kind that may be missing, and this identity may not see it."""
        watch = self._watches[name]
        return name in self._optional and not watch.synced.is_set() and isinstance(watch.problem, Forbidden)

    def _problems(self) -> Iterator[ConfigError]:
        for definition, records in self._seen.by_definition():
            for key, record in records.items():
                if record.problem is not None:
                    yield ConfigError(f"{definition.resource.kind} {key}", "", record.problem)

    # Watches

    def _all_watches(self) -> Iterator[tuple[str, Reflector]]:
        seen = self._seen
        for namespace in self._settings.namespaces or (None,):
            yield self._watch(resources.PODS, namespace, self._table(seen.pods, read_pod_again))
            yield self._watch(resources.REPLICA_SETS, namespace, self._table(seen.replica_sets, read_replica_set))
            for definition, records in seen.by_definition():
                if definition.resource.namespaced:
                    table = self._table(records, self._refusals.reading(definition))
                    name, watch = self._watch(definition.resource, namespace, table)
                    if definition.resource.group in _OPTIONAL_GROUPS:
                        self._optional.add(name)
                    yield name, watch
        if not self._settings.namespaces:
            table = self._table(seen.namespaces, self._refusals.reading(objects.NAMESPACE))
            yield self._watch(resources.NAMESPACES, None, table)
            if self._settings.drain_cordoned:
                name, watch = self._watch(resources.NODES, None, self._table(seen.cordoned, read_node))
                # Rights that were given before nodes were looked at.
                self._optional.add(name)
                yield name, watch
        for namespace in sorted({wanted.namespace for wanted in self._settings.exporters.values()}):
            exporters = self._table(seen.exporters, read_pod_again)
            name, watch = self._watch(resources.PODS, namespace, exporters)
            yield f"exporters {name}", watch

    def _pool_watches(self, only: OnlyPool) -> Iterator[tuple[str, Reflector]]:
        """What routing to one pool takes. Rights on pods and pools are enough for it."""
        namespace = only.key.namespace
        yield self._watch(resources.PODS, namespace, self._table(self._seen.pods, read_pod_again))
        if only.made is not None:
            self._seen.pools[only.key] = Record(only.key, only.made)
        for definition, records in self._seen.by_definition():
            resource = definition.resource
            is_pool = resource.plural == resources.POOLS.plural
            if resource.group not in _ROUTING or (is_pool and (only.made is not None or resource.group != only.group)):
                continue
            name, watch = self._watch(resource, namespace, self._table(records, self._refusals.reading(definition)))
            if not is_pool:
                self._optional.add(name)
            yield name, watch

    def _table(
        self, records: dict[ObjectKey, RecordT], read: Callable[[Object, RecordT | None], RecordT]
    ) -> Table[RecordT]:
        return Table(records, read, self._changed.set)

    def _watch(self, resource: Resource, namespace: str | None, table: Table[Any]) -> tuple[str, Reflector]:
        name = resource.name if namespace is None else f"{namespace}/{resource.name}"
        return name, Reflector(
            self._client, resource, table, self._clock, self._rng, ReflectorSettings(namespace=namespace)
        )


def _given_namespaces(names: Iterable[str]) -> dict[ObjectKey, Record[DescribedObject]]:
    """Namespaces as described objects where the configuration names them: seeing their labels takes cluster rights."""
    keys = [ObjectKey(name, name) for name in names]
    return {key: Record(key, DescribedObject("", "v1", "Namespace", "namespaces", key, Selector())) for key in keys}


def _missing(watches: Mapping[str, Reflector], seconds: float) -> str:
    """What could not be listed within `seconds` and why, with the rights that would help; each cause once."""
    causes: dict[str, list[str]] = {}
    denied: dict[str, KubeError] = {}
    for name, watch in watches.items():
        if watch.synced.is_set():
            continue
        if isinstance(watch.problem, Forbidden):
            denied[name] = watch.problem
        else:
            causes.setdefault(str(watch.problem or "no answer yet"), []).append(name)
    told = [f"{', '.join(names)}: {cause}" for cause, names in causes.items()]
    if denied:
        first = next(iter(denied.values()))
        told.append(f"{first}; allow this identity the verbs list and watch on {', '.join(denied)}")
    return f"the cluster could not be read within {seconds:g} s: {'; '.join(told)}"
