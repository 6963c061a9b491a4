"""What is counted and logged when a limit of the ext_proc port acts on a peer."""

import logging
from collections.abc import Mapping
from typing import Literal

Limit = Literal[
    "new_connections",
    "connections",
    "peer_connections",
    "silent_connection",
    "unfinished_frame",
    "stalled_body",
    "body_memory",
    "unread_answers",
    "loop_turn",
    "protocol_fault",
]

MEANINGS: Mapping[Limit, str] = {
    "new_connections": "too many connections whose peers have shown nothing yet: the eldest goes for a new one",
    "connections": "too many connections: an idle one goes, or the new one is refused",
    "peer_connections": "the same, of the connections from one address",
    "silent_connection": "a new connection whose peer did not speak HTTP/2 (over TLS, where wanted) in time",
    "unfinished_frame": "a connection on which a frame or header block did not come to its end in time",
    "stalled_body": "a request that stopped arriving",
    "body_memory": "a request that had to end because too much was held, or did not get on for it",
    "unread_answers": "an answer that its gateway did not take in time",
    "loop_turn": "a connection had to wait because it brought more work than one turn of the loop takes",
    "protocol_fault": "a connection whose peer broke HTTP/2",
}
"""What each limit did when it acted."""

_QUIET_SECONDS = 10.0

_LOG = logging.getLogger(__name__)


class LimitNotes:
    """Counts what limits do, and says it: a line for each limit in ten seconds, with how often it acted since the last.

    Of a peer its address is said and nothing else.
    """

    def __init__(self) -> None:
        self.counts: dict[Limit, int] = dict.fromkeys(MEANINGS, 0)
        """How often each limit acted since start."""
        self._said: dict[Limit, tuple[float, int]] = {}

    def acted(self, limit: Limit, peer: str, now: float, level: int = logging.WARNING) -> None:
        """A limit acted on a peer at `now`, in monotonic seconds."""
        counts = self.counts
        counts[limit] += 1
        at, count = self._said.get(limit, (-_QUIET_SECONDS, 0))
        if now - at >= _QUIET_SECONDS:
            self._said[limit] = now, counts[limit]
            fields = {"limit": limit, "peer": peer, "times": counts[limit] - count}
            _LOG.log(level, "a limit of the ext_proc port acted", extra={"fields": fields})
