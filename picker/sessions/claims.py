"""What a dispatched request claims of its sessions, until its response has begun."""

from typing import Literal

from infscale.frozen_values import value
from picker.sessions.session_settings import SessionSettings

Outcome = Literal["new", "kept", "moved"]
"""What became of a session by a request: it began, stayed, or is elsewhere now."""


@value
class SessionClaim:
    """A session of this kind and name that a request was placed with.

    `placed_at` is since when it is where the request went (Unix seconds), `renew` whether its client is to be told
    although it stayed there. `reason` is why it moved, or why a new one began although the client sent something:
    what that was not worth.
    """

    settings: SessionSettings
    name: bytes
    outcome: Outcome
    placed_at: int
    renew: bool = False
    reason: str | None = None
