"""Why a session is not where it was."""

import enum

from infscale.endpoint import Phase
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from picker.sessions.placement import NOWHERE, Session


class MoveReason(enum.StrEnum):
    """Why a session moved; the label `reason` of what is counted."""

    DRAINING = "draining"
    GONE = "gone"
    """Its endpoint has left the pool."""
    NOT_READY = "not_ready"
    ASLEEP = "asleep"
    UNKNOWN_LOAD = "unknown_load"
    """Its endpoint is ready, and its metrics are missing or too old."""
    SATURATED = "saturated"
    FILTERED = "filtered"
    """The gateway's hint, a screener or another filter excluded its endpoint."""
    OUTSCORED = "outscored"
    """A scorer's preference for its endpoint was outweighed by others."""
    REROUTED = "rerouted"
    """The gateway could not reach its endpoint and went on to another."""


def why_moved(session: Session, snapshot: PoolSnapshot, rows: IntArray, now: float) -> MoveReason:
    """Why the choice among `rows`, what filters left, is another endpoint than the one that `session` was on."""
    row = session.row
    if row == NOWHERE:
        return MoveReason.GONE
    columns = snapshot.columns
    if snapshot.endpoints[row].phase is Phase.DRAINING:
        return MoveReason.DRAINING
    if not columns.ready[row]:
        return MoveReason.NOT_READY
    if columns.asleep[row]:
        return MoveReason.ASLEEP
    if row in rows:
        return MoveReason.OUTSCORED
    saturation = float(snapshot.saturation(now)[row])
    if saturation != saturation:
        return MoveReason.UNKNOWN_LOAD
    return MoveReason.SATURATED if saturation >= 1.0 else MoveReason.FILTERED
