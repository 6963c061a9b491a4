"""The filter that keeps sessions where they are."""

from typing import Final

import numpy as np

from infscale.memo import MemoKey
from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext
from picker.sessions.placement import NOWHERE
from picker.sessions.session_settings import SessionSettings

FALLBACK: Final[MemoKey[int]] = MemoKey("the row that a session goes to if its endpoint cannot be reached")


class SessionAffinityFilter:
    """Leaves the endpoint of the request's session alone, or all candidates where it has none among them.

    `session_settings` is the kind of session. Filters before this one say which endpoints can serve the request at all:
    one of these is where a session goes that has to leave, and the fallback of the gateway.
    """

    def __init__(self, session_settings: SessionSettings) -> None:
        self.session_settings = session_settings

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The one row of the session, or all of them."""
        session = context.sessions.get(self.session_settings)
        if session is None:
            return rows
        snapshot, now = context.snapshot, context.now
        row = session.place(snapshot, rows, now)
        if row == NOWHERE:
            return rows
        fallback = session.fallback(snapshot, rows, row, now)
        if fallback != NOWHERE:
            context.derived.keep(FALLBACK, fallback)
        return np.array([row], dtype=np.intp)
