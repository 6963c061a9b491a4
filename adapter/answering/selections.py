"""Which endpoints a request is about: found once, and remembered while discovery stays as it is."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np

from adapter.api.paths import GroupResource
from infscale.endpoint import DescribedObject, DiscoveryState, Endpoint, ObjectKey
from infscale.labels import Selector
from infscale.metrics.snapshot import BoolArray, PoolSnapshot

_REMEMBERED = 256
_REMEMBERED_POOLS = 4_096
_NAMESPACES = GroupResource("namespaces")

_Asked = tuple[str | None, Selector] | DescribedObject
_Named = Mapping[str, DescribedObject]
_Objects = Mapping[GroupResource, Mapping[str, _Named]]
_NOTHING: _Named = MappingProxyType({})


class Selections:
    """Rows of pools by pods and by described objects, and the described objects by kind and namespace."""

    def __init__(self) -> None:
        self._pools: dict[ObjectKey, tuple[tuple[Endpoint, ...], dict[_Asked, BoolArray]]] = {}
        self._indexed: tuple[DescribedObject, ...] = ()
        self._objects: _Objects = {}

    def of_pods(self, snapshot: PoolSnapshot, name: str | None, selector: Selector) -> BoolArray:
        """Rows of the pod `name` (None: of any) whose labels fulfil `selector`."""

        def picks(endpoint: Endpoint) -> bool:
            return name in {None, endpoint.key.name} and selector.matches(endpoint.labels)

        return self._rows(snapshot, (name, selector), picks)

    def of_object(self, snapshot: PoolSnapshot, described: DescribedObject) -> BoolArray:
        """Rows of the endpoints that `described` describes."""
        return self._rows(snapshot, described, described.describes)

    def objects(self, state: DiscoveryState, resource: GroupResource, namespace: str) -> _Named:
        """The described objects of one kind in one namespace, by name."""
        if self._indexed is not state.objects:
            self._objects = _by_kind(state.objects)
            self._indexed = state.objects
        return self._objects.get(resource, {}).get(namespace, _NOTHING)

    def namespaces(self, state: DiscoveryState) -> Iterable[DescribedObject]:
        """The namespaces among the described objects; each is in its own namespace."""
        self.objects(state, _NAMESPACES, "")
        return (each for found in self._objects.get(_NAMESPACES, {}).values() for each in found.values())

    def _rows(self, snapshot: PoolSnapshot, asked: _Asked, picks: Callable[[Endpoint], bool]) -> BoolArray:
        endpoints, picked = self._pools.get(snapshot.pool, ((), {}))
        if endpoints is not snapshot.endpoints or len(picked) >= _REMEMBERED:
            if len(self._pools) >= _REMEMBERED_POOLS:
                # No event tells of pools that are gone.
                self._pools.clear()
            picked = {}
            self._pools[snapshot.pool] = (snapshot.endpoints, picked)
        rows = picked.get(asked)
        if rows is None:
            rows = picked[asked] = np.array([picks(each) for each in snapshot.endpoints], dtype=np.bool_)
        return rows


def _by_kind(objects: Iterable[DescribedObject]) -> _Objects:
    found: dict[GroupResource, dict[str, dict[str, DescribedObject]]] = {}
    for each in objects:
        of_kind = found.setdefault(GroupResource(each.resource, each.group), {})
        of_kind.setdefault(each.key.namespace, {})[each.key.name] = each
    return found
