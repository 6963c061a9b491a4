"""The endpoint that a copy goes to: one of the candidate's that has nothing better to do."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from infscale.metrics.snapshot import IntArray, PoolSnapshot
from picker.scheduling.by_endpoints import ByEndpoints, LabelledRows

Kept = Literal["busy", "no_endpoint"]


class CandidateRows:
    """Knows the rows of candidates by their labels."""

    def __init__(self) -> None:
        self._labelled: ByEndpoints[LabelledRows] = ByEndpoints(LabelledRows)

    def of(self, snapshot: PoolSnapshot, labels: Mapping[str, str], now: float) -> IntArray:
        """The rows that could get a request."""
        rows = snapshot.candidates(now)
        return self._labelled.of(snapshot).among(labels, rows) if labels and len(rows) else rows


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
