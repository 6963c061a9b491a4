"""The scorer that prefers the endpoint where a session is."""

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext
from picker.sessions.placement import NOWHERE
from picker.sessions.session_settings import SessionSettings


class SessionAffinityScorer:
    """1 for the endpoint of the request's session, 0 for others; without a session 0 for all.

    `session_settings` is the kind of session.
    """

    def __init__(self, session_settings: SessionSettings) -> None:
        self.session_settings = session_settings

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """1 where the session is."""
        session = context.sessions.get(self.session_settings)
        row = NOWHERE if session is None else session.place(context.snapshot, rows, context.now)
        scores: FloatArray = (rows == row).astype(np.float64)
        return scores
