"""What one watch has seen, kept as records among those of other watches of the same kind."""

import logging
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from infscale.endpoint import ObjectKey, Workload
from infscale.kube.pods import remembering
from infscale.kube.watched_objects import (
    Definition,
    Object,
    PodRecord,
    Record,
    controller_of,
    is_cordoned,
    key_of,
    read_pod,
)

_LOG = logging.getLogger(__name__)

RecordT = TypeVar("RecordT")
ValueT = TypeVar("ValueT")


@dataclass(slots=True, eq=False)
class Table(Generic[RecordT]):
    """The cache of one watch; guards which records are its own.

    A new version whose record equals the last one changes nothing: the record stays the very same and `changed` is not
    called.
    """

    records: dict[ObjectKey, RecordT]
    read: Callable[[Object, RecordT | None], RecordT]
    changed: Callable[[], None]
    _own: set[ObjectKey] = field(default_factory=set[ObjectKey], init=False)

    def retain(self, keys: Set[ObjectKey]) -> None:
        """Hold no other objects than these: a list was made."""
        for key in self._own - keys:
            self._remove(key)

    def put(self, item: Object) -> None:
        """Hold `item`, new or in a new version."""
        key = key_of(item)
        before = self.records.get(key)
        record = self.read(item, before)
        if key not in self._own or record != before:
            self._own.add(key)
            self.records[key] = record
            self.changed()

    def remove(self, item: Object) -> None:
        """Hold `item` no longer."""
        self._remove(key_of(item))

    def _remove(self, key: ObjectKey) -> None:
        if key in self._own:
            self._own.discard(key)
            del self.records[key]
            self.changed()


class Refusals:
    """Versions of objects that could not be read; counts them and says each once."""

    def __init__(self) -> None:
        self.count = 0

    def reading(self, definition: Definition[ValueT]) -> Callable[[Object, Record[ValueT] | None], Record[ValueT]]:
        """How objects of `definition` are read, with refusals noted."""

        def read(item: Object, before: Record[ValueT] | None) -> Record[ValueT]:
            record = definition.read(item, before)
            if record.problem is not None and (before is None or before.problem != record.problem):
                self.count += 1
                kept = "what it said before stays" if record.value is not None else "it is as if it were not there"
                _LOG.error("%s %s cannot be used, %s: %s", definition.resource.kind, record.key, kept, record.problem)
            return record

        return read


def read_pod_again(item: Object, before: PodRecord | None) -> PodRecord:
    """The record of a pod that may have been seen before."""
    return remembering(before, read_pod(item))


def read_replica_set(item: Object, _: Workload | None) -> Workload | None:
    """What owns a `ReplicaSet`."""
    return controller_of(item)


def read_node(item: Object, _: bool | None) -> bool:
    """Whether a `Node` is cordoned; its heartbeats change nothing."""
    return is_cordoned(item)
