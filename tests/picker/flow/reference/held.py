"""Requests that wait, made of what a test says of them."""

import math

from picker.flow.waiting import Waiting


def held(
    number: int,
    flow: str = "a",
    at: float = 0.0,
    *,
    priority: int = 0,
    expires_at: float = math.inf,
    due_at: float = math.inf,
) -> Waiting:
    """A request of 100 bytes and 10 tokens."""
    return Waiting(number, priority, flow, 100, 10.0, at, expires_at, due_at)
