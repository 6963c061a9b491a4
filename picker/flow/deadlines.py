"""The order of the requests of one flow: by when each has to have its first token."""

from typing import Final

from picker.flow.waiting import Waiting

PATIENCE: Final = 5.0
"""A request that does not say by when it wants its first token wants it after so many times its own prefill."""


class EarliestDeadline:
    """What is due first goes first; an `Ordering`.

    As what says nothing is due after a multiple of what it takes alone, short prompts pass long ones, and none is
    passed for ever.
    """

    def key(self, waiting: Waiting) -> tuple[float, ...]:
        """See `Ordering`."""
        return (waiting.due_at,)


def due_at(arrived_at: float, wanted_seconds: float, prefill_seconds: float) -> float:
    """When a request is due that wants its first token after `wanted_seconds` (0: it does not say)."""
    return arrived_at + (wanted_seconds or PATIENCE * prefill_seconds)
