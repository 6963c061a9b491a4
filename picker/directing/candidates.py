"""Which endpoints may get a request: those whose load is known; where there are none, those that are ready.

Of an endpoint whose load is unknown two things are certain: that it is ready, and what this picker has in flight there.
So it is judged by a snapshot in which nothing was observed: what engines said before is too old to be used.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.sample import LoraState
from infscale.metrics.snapshot import Columns, IntArray, PoolSnapshot, frozen
from picker.directing.director_books import UnknownLoad
from picker.request import Reason
from picker.scheduling.subset import named_rows

NOBODY: Final[IntArray] = frozen(np.zeros(0, dtype=np.intp))
"""No row at all."""
_NONE: Final[frozenset[str]] = frozenset()
_DEAD_AFTER: Final = 2
"""So many scrapes in a row that failed are no chance any more."""


def hinted(subset: tuple[str, ...] | None, snapshot: PoolSnapshot, allowed: IntArray) -> IntArray:
    """The allowed rows the gateway's subset hint names, all allowed rows without a hint; ascending."""
    if subset is None:
        return allowed
    return np.intersect1d(named_rows(snapshot, subset), allowed, assume_unique=True)


def ready(snapshot: PoolSnapshot) -> IntArray:
    """Rows that are ready and do not say that they sleep, whatever is known of their load."""
    columns = snapshot.columns
    return (columns.ready & ~columns.asleep).nonzero()[0]


def of_unknown_load(subset: tuple[str, ...] | None, snapshot: PoolSnapshot, now: float) -> IntArray:
    """The ready rows whose load is not known at `now`, as far as the gateway's hint names them."""
    awake = ready(snapshot)
    if not len(awake):
        return NOBODY
    return hinted(subset, snapshot, np.setdiff1d(awake, snapshot.candidates(now), assume_unique=True))


class Unseen:
    """Snapshots in which nothing was observed; keeps their columns as long as the pool has the same endpoints."""

    def __init__(self) -> None:
        self._endpoints: tuple[Endpoint, ...] = ()
        self._columns = Columns.unknown(())

    def of(self, snapshot: PoolSnapshot) -> PoolSnapshot:
        """`snapshot` with what is in flight, and what servers say of themselves over gRPC, which ages by itself.

        Nothing else is in it that may have changed since it was last looked at.
        """
        state = snapshot.state
        if self._endpoints is not state.endpoints:
            self._endpoints = state.endpoints
            self._columns = Columns.unknown(state.endpoints)
        said = state.columns.health
        columns = replace(
            self._columns,
            settled=state.columns.settled,
            lives=state.columns.lives,
            health=said,
            lora=[None if each is None else LoraState(_NONE, _NONE, None, each.names) for each in said],
        )
        return PoolSnapshot(
            state.observed(columns),
            snapshot.store_id,
            snapshot.number,
            snapshot.in_flight_requests,
            snapshot.in_flight_tokens,
            snapshot.in_flight_by_model,
        )


def alive(subset: tuple[str, ...] | None, snapshot: PoolSnapshot, now: float, unknown_load: UnknownLoad) -> IntArray:
    """The rows that may be served and whose page was read, one failure in between aside.

    One that has never shown a page counts, too: it may have none, or a port that is closed to others.
    """
    rows = hinted(subset, snapshot, ready(snapshot))
    if unknown_load == "refuse":
        rows = np.intersect1d(rows, snapshot.candidates(now), assume_unique=True)
    columns = snapshot.columns
    failures, observed_at = columns.failures, columns.observed_at
    found: list[int] = []
    for row in rows.tolist():
        failure = failures[row]
        if failure is None or failure.consecutive < _DEAD_AFTER or not np.isfinite(observed_at[row]):
            found.append(row)
    return rows if len(found) == len(rows) else np.array(found, dtype=np.intp)


def takes_requests(snapshot: PoolSnapshot, now: float, unknown_load: UnknownLoad) -> bool:
    """Whether the pool has an endpoint for a request at `now`; unknown load counts once it is known to be unknown."""
    if len(snapshot.candidates(now)):
        return True
    return unknown_load == "serve" and bool(snapshot.columns.settled[ready(snapshot)].any())


def why_none(subset: tuple[str, ...] | None, snapshot: PoolSnapshot, now: float) -> tuple[Reason, str] | None:
    """Why no endpoint may get a request although there are ready ones; None where there is none that is ready."""
    columns = snapshot.columns
    rows = hinted(subset, snapshot, columns.ready.nonzero()[0])
    if not len(rows):
        return None
    awake = rows[~columns.asleep[rows]]
    if not len(awake):
        return Reason.ASLEEP, f"all of {len(rows)} ready endpoints say that they are asleep"
    age = now - float(np.maximum.reduce(columns.observed_at[awake]))
    limit = snapshot.state.settings.staleness_limit_seconds
    last = f"the latest report is {age:.1f} s old" if np.isfinite(age) else "none has reported yet"
    if age <= limit:
        last = "reports give neither a queue nor a KV-cache utilisation"
    causes = dict.fromkeys(failure.cause for row in awake.tolist() if (failure := columns.failures[row]) is not None)
    if causes:
        last += f"; scraping failed: {next(iter(causes))}" + (" and for other reasons" if len(causes) > 1 else "")
    text = f"none of {len(awake)} ready endpoints has reported its load within {limit:g} s ({last})"
    return Reason.UNKNOWN_LOAD, text
