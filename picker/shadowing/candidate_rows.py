"""The endpoint that a copy goes to: one of the candidate's that has nothing better to do."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.snapshot import BoolArray, IntArray, PoolSnapshot
from picker.scheduling.by_endpoints import ByEndpoints

Kept = Literal["busy", "no_endpoint"]


class _Labelled:
    """Which endpoints of a pool have which labels."""

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._endpoints = endpoints
        self._masks: dict[tuple[tuple[str, str], ...], BoolArray] = {}

    def mask(self, labels: Mapping[str, str]) -> BoolArray:
        """Those that have all of `labels`."""
        key = tuple(sorted(labels.items()))
        found = self._masks.get(key)
        if found is None:
            has = [labels.items() <= each.labels.items() for each in self._endpoints]
            found = self._masks[key] = np.array(has, dtype=np.bool_)
        return found


class CandidateRows:
    """Knows the rows of candidates by their labels."""

    def __init__(self) -> None:
        self._labelled: ByEndpoints[_Labelled] = ByEndpoints(_Labelled)

    def of(self, snapshot: PoolSnapshot, labels: Mapping[str, str], now: float) -> IntArray:
        """The rows that could get a request."""
        rows = snapshot.candidates(now)
        return rows[self._labelled.of(snapshot).mask(labels)[rows]] if labels and len(rows) else rows


def free_row(snapshot: PoolSnapshot, rows: IntArray, number: int, now: float) -> int | Kept:
    """The row among `rows` for a copy, the same for the same `number` as long as rows stay and it is free.

    Free is an endpoint that is not saturated and has nothing waiting; what is not known is not free. Where requests
    wait in the picker for the pool, nothing is: a copy would take the place of one of them.
    """
    if not len(rows):
        return "no_endpoint"
    queue = snapshot.queue
    if queue is not None and any(each.requests for each in queue.of(None)):
        return "busy"
    # Comparisons with NaN are false.
    free = (snapshot.columns.gauges.waiting[rows] == 0) & (snapshot.saturation(now)[rows] < 1)
    places = np.flatnonzero(free)
    if not len(places):
        return "busy"
    start = number % len(rows)
    place = places[int(np.searchsorted(places, start)) % len(places)]
    return int(rows[place])
