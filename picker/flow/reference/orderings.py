"""The reference's orders of the requests of one flow; of equals the one that came earlier leaves earlier."""

from dataclasses import dataclass

from picker.flow.waiting import Waiting


@dataclass(frozen=True, slots=True)
class FirstComeFirstServed:
    """In order of arrival (``fcfs-ordering-policy``)."""

    def key(self, waiting: Waiting) -> tuple[float, ...]:
        """When the request came."""
        return (waiting.arrived_at,)


@dataclass(frozen=True, slots=True)
class EarliestDeadline:
    """By the end of the time that a request may wait (``edf-ordering-policy``); one that may wait for ever is last."""

    def key(self, waiting: Waiting) -> tuple[float, ...]:
        """When the request's time is over."""
        return (waiting.expires_at,)


@dataclass(frozen=True, slots=True)
class SloDeadline:
    """By when the first token is wanted (``slo-deadline-ordering-policy``).

    Requests that do not say so come after all that do, so that a steady stream of these starves them, as it does in the
    reference.
    """

    def key(self, waiting: Waiting) -> tuple[float, ...]:
        """When the first token is due."""
        return (waiting.due_at,)
