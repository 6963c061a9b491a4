"""How a request's wait ends, in the reference's words, and what its client is answered."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from picker.recall import EVICTED
from picker.request import Reason, Rejection, RejectionCode


class QueueOutcome(enum.StrEnum):
    """How a wait ended; the label `outcome` of what is counted."""

    DISPATCHED = "Dispatched"
    REJECTED_CAPACITY = "RejectedCapacity"
    """There was no room in the queue."""
    REJECTED_NO_ENDPOINTS = "RejectedNoEndpoints"
    """There was no room in the queue, and no endpoint."""
    REJECTED_OTHER = "RejectedOther"
    """Something else ended it before it waited."""
    EVICTED_TTL = "EvictedTTL"
    """It waited for as long as it may."""
    EVICTED_NO_ENDPOINTS = "EvictedNoEndpoints"
    """It waited for as long as it may, and there was no endpoint."""
    EVICTED_CONTEXT_CANCELLED = "EvictedContextCancelled"
    """Its client has left."""
    EVICTED_OTHER = "EvictedOther"
    """Something else ended it while it waited."""


class Cause(enum.Enum):
    """What ended a wait that has one of the outcomes for everything else."""

    TTL = "its time was over"
    CANCELLED = "its client has left"
    SHUTTING_DOWN = "the picker is shutting down"
    UNEXPECTED = "an internal error"


REJECTED_TTL_EXPIRED: Final = "rejected-ttl-expired"
REJECTED_CONTEXT_CANCELLED: Final = "rejected-context-cancelled"
REJECTED_SHUTTING_DOWN: Final = "rejected-shutting-down"
"""What ``x-llm-d-request-dropped-reason`` says beside what shedding does, and ``evicted`` of what was taken back."""

_SATURATED, _NO_ENDPOINTS = "rejected-saturated", "rejected-no-endpoints"


@dataclass(frozen=True, slots=True)
class _Answer:
    code: RejectionCode
    message: str
    reason: Reason
    dropped: str | None = None


_FULL = _Answer("ResourceExhausted", "the queue is full", Reason.QUEUE_FULL, _SATURATED)
_NONE_THERE = _Answer(
    "ServiceUnavailable", "no endpoints available: the queue is full", Reason.NO_ENDPOINTS, _NO_ENDPOINTS
)
_LATE = _Answer("ResourceExhausted", "request timed out in queue", Reason.WAITED, REJECTED_TTL_EXPIRED)
_LATE_AND_NONE = _Answer(
    "ServiceUnavailable",
    "request timed out in queue and no endpoints are available",
    Reason.NO_ENDPOINTS,
    _NO_ENDPOINTS,
)
_LEFT = _Answer("ServiceUnavailable", "client disconnected", Reason.INTERNAL, REJECTED_CONTEXT_CANCELLED)
_ENDING = _Answer("ServiceUnavailable", "flow controller shutting down", Reason.SHUTTING_DOWN, REJECTED_SHUTTING_DOWN)
_FAILED = _Answer("Internal", "internal flow control error", Reason.INTERNAL)

_ANSWERS: Mapping[QueueOutcome, _Answer] = {
    QueueOutcome.REJECTED_CAPACITY: _FULL,
    QueueOutcome.REJECTED_NO_ENDPOINTS: _NONE_THERE,
    QueueOutcome.EVICTED_TTL: _LATE,
    QueueOutcome.EVICTED_NO_ENDPOINTS: _LATE_AND_NONE,
    QueueOutcome.EVICTED_CONTEXT_CANCELLED: _LEFT,
}
_CAUSES: Mapping[Cause, _Answer] = {
    Cause.TTL: _LATE,
    Cause.CANCELLED: _LEFT,
    Cause.SHUTTING_DOWN: _ENDING,
    Cause.UNEXPECTED: _FAILED,
}


def refusal(
    outcome: QueueOutcome,
    *,
    cause: Cause = Cause.UNEXPECTED,
    pool_empty: bool = False,
    retry_after_seconds: float | None = None,
) -> Rejection | None:
    """The answer to a request whose wait ended so; None: it goes on to scheduling.

    429: there are endpoints, and others want them; 503: there are none. So a request whose time is over is told the one
    or the other by `pool_empty`. `cause` says more of the outcomes for everything else.
    """
    if outcome is QueueOutcome.DISPATCHED:
        return None
    answer = _ANSWERS.get(outcome) or _CAUSES[cause]
    if answer is _LATE and pool_empty:
        answer = _LATE_AND_NONE
    retry_after = None if answer is _FAILED else retry_after_seconds
    return Rejection(answer.code, answer.message, answer.reason, answer.dropped, retry_after)


def revoked(retry_after_seconds: float | None = None) -> Rejection:
    """The answer to a request that was taken back in flight."""
    message = "request evicted to make room for higher priorities"
    return Rejection("ResourceExhausted", message, Reason.EVICTED, EVICTED, retry_after_seconds)
