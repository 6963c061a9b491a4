"""What a dispatched request claims of its sessions, until its response has begun."""

from dataclasses import dataclass
from typing import Literal

from picker.sessions.session_settings import SessionSettings

Outcome = Literal["new", "kept", "moved"]
"""What became of a session by a request: it began, stayed, or is elsewhere now."""


@dataclass(frozen=True, slots=True)
class SessionClaim:
    """A session of this kind and name that a request was placed with.

    `placed_at` is since when it is where the request went (Unix seconds), `renew` whether its client is to be told
    although it stayed there.
    """

    settings: SessionSettings
    name: bytes
    outcome: Outcome
    placed_at: int
    renew: bool = False
