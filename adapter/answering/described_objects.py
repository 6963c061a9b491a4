"""The described objects of discovery, as requests name them; remembered while discovery stays as it is."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from adapter.api.paths import NAMESPACES, GroupResource
from infscale.endpoint import DescribedObject, DiscoveryState

_Named = Mapping[str, DescribedObject]
_Objects = Mapping[GroupResource, Mapping[str, _Named]]
_NOTHING: _Named = MappingProxyType({})


class DescribedObjects:
    """The described objects by kind and namespace."""

    def __init__(self) -> None:
        self._indexed: tuple[DescribedObject, ...] = ()
        self._objects: _Objects = {}

    def of(self, state: DiscoveryState, resource: GroupResource, namespace: str) -> _Named:
        """Those of one kind in one namespace, by name."""
        return self._of_kind(state, resource).get(namespace, _NOTHING)

    def namespaces(self, state: DiscoveryState) -> Iterable[DescribedObject]:
        """The namespaces among them; each is in its own namespace."""
        return (each for found in self._of_kind(state, NAMESPACES).values() for each in found.values())

    def _of_kind(self, state: DiscoveryState, resource: GroupResource) -> Mapping[str, _Named]:
        if self._indexed is not state.objects:
            self._objects = _by_kind(state.objects)
            self._indexed = state.objects
        return self._objects.get(resource, {})


def _by_kind(objects: Iterable[DescribedObject]) -> _Objects:
    found: dict[GroupResource, dict[str, dict[str, DescribedObject]]] = {}
    for each in objects:
        of_kind = found.setdefault(GroupResource(each.resource, each.group), {})
        of_kind.setdefault(each.key.namespace, {})[each.key.name] = each
    return found
