"""By when a request has to go, and the order of the requests of one flow: what is due first goes first."""

from typing import Final

from infscale.documents.strict_document import seconds_of_duration
from picker.flow.waiting import Waiting
from picker.request import Headers

PATIENCE: Final = 20.0
"""A request that does not say by when it wants its first token wants it after so many times its own prefill."""
_LATEST: Final = 0.5
"""It wants it by this share of the time that it may wait, so that it is not refused for others that are shorter."""
TTL_HEADER: Final = "x-llm-d-inference-ttl"
"""How long a request wants to wait at most: a duration such as ``1500ms``."""


class EarliestDeadline:
    """What is due first goes first; an `Ordering`.

    As what says nothing is due after a multiple of what it takes alone, short prompts pass long ones, and none is
    passed for ever.
    """

    def key(self, waiting: Waiting) -> tuple[float, ...]:
        """See `Ordering`."""
        return (waiting.due_at,)


def due_at(arrived_at: float, wanted_seconds: float, prefill_seconds: float, most_seconds: float) -> float:
    """When a request is due that wants its first token after `wanted_seconds` (0: it does not say).

    Requests wait for `most_seconds` unless they ask for less: that makes none more urgent than others.
    """
    return arrived_at + (wanted_seconds or min(PATIENCE * prefill_seconds, _LATEST * most_seconds))


def asked_seconds(headers: Headers) -> float | None:
    """How long a request wants to wait at most; None where `headers` do not say it in a duration above 0."""
    text = headers.get(TTL_HEADER)
    return None if text is None else seconds_of_duration(text) or None


def patience_seconds(
    most_seconds: float, asked: float | None, wanted_seconds: float = 0.0, prefill_seconds: float = 0.0
) -> float:
    """How long a request may wait before it has to go.

    That is `most_seconds`, less if it asks for less, and no longer than its first token can still come within
    `wanted_seconds` (0: it does not say).
    """
    patience = most_seconds if asked is None else min(most_seconds, asked)
    return min(patience, max(0.0, wanted_seconds - prefill_seconds)) if wanted_seconds else patience
