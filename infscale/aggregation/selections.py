"""Which endpoints of which pools are meant: found once, and remembered while discovery stays as it is."""

from collections.abc import Callable, Iterable

import numpy as np

from infscale.aggregation.across_pools import Part, distinct, part_of
from infscale.endpoint import DescribedObject, Endpoint, ObjectKey
from infscale.labels import Selector
from infscale.metrics.snapshot import BoolArray, PoolSnapshot

_REMEMBERED = 256
_REMEMBERED_POOLS = 4_096

_Asked = tuple[str | None, Selector] | DescribedObject


class Selections:
    """Parts of pools by pods and by described objects; an endpoint of several pools is in one part of an answer."""

    def __init__(self) -> None:
        self._pools: dict[ObjectKey, tuple[tuple[Endpoint, ...], dict[_Asked, BoolArray]]] = {}

    def of_pods(self, snapshots: Iterable[PoolSnapshot], name: str | None, selector: Selector) -> tuple[Part, ...]:
        """The pod `name` (None: any) where its labels fulfil `selector`."""

        def picks(endpoint: Endpoint) -> bool:
            return name in {None, endpoint.key.name} and selector.matches(endpoint.labels)

        return distinct(part_of(each, self._rows(each, (name, selector), picks)) for each in snapshots)

    def of_object(self, snapshots: Iterable[PoolSnapshot], described: DescribedObject) -> tuple[Part, ...]:
        """The endpoints that `described` describes."""
        return distinct(part_of(each, self._rows(each, described, described.describes)) for each in snapshots)

    def _rows(self, snapshot: PoolSnapshot, asked: _Asked, picks: Callable[[Endpoint], bool]) -> BoolArray:
        endpoints, picked = self._pools.get(snapshot.pool, ((), {}))
        if endpoints is not snapshot.endpoints or len(picked) >= _REMEMBERED:
            if len(self._pools) >= _REMEMBERED_POOLS:
                # No event says that a pool is gone.
                self._pools.clear()
            picked = {}
            self._pools[snapshot.pool] = (snapshot.endpoints, picked)
        rows = picked.get(asked)
        if rows is None:
            rows = picked[asked] = np.array([picks(each) for each in snapshot.endpoints], dtype=np.bool_)
        return rows
