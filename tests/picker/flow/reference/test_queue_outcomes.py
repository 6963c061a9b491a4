"""How a wait ends, and what a client is answered: the reference's table and its tests."""

from typing import Any

import pytest

from picker.flow.reference.queue_outcomes import Cause, QueueOutcome, refusal, revoked
from tests.reference_tables import TABLES

CAUSES = {"not running": Cause.SHUTTING_DOWN, "ttl": Cause.TTL, "cancelled": Cause.CANCELLED}
TABLE: list[dict[str, Any]] = TABLES["flow_control_outcome_to_http"]
MORE: list[dict[str, Any]] = [
    {"outcome": "RejectedCapacity", "status": 429, "reason": "rejected-saturated"},
    {"outcome": "RejectedNoEndpoints", "status": 503, "reason": "rejected-no-endpoints"},
    {"outcome": "EvictedTTL", "pool_empty": True, "status": 503, "reason": "rejected-no-endpoints"},
    {"outcome": "EvictedContextCancelled", "status": 503, "reason": "rejected-context-cancelled"},
    {"outcome": "RejectedOther", "err": "ttl", "pool_empty": True, "status": 503, "reason": "rejected-no-endpoints"},
    {"outcome": "RejectedOther", "err": "not running", "status": 503, "reason": "rejected-shutting-down"},
    {"outcome": "EvictedOther", "err": "unexpected", "status": 500},
]


@pytest.mark.parametrize("case", [*TABLE, *MORE], ids=lambda case: "-".join(map(str, case.values())))
def test_the_answer_to_each_outcome(case: dict[str, Any]) -> None:
    cause = CAUSES.get(case.get("err", ""), Cause.UNEXPECTED)
    empty = case.get("pool_empty", False)
    found = refusal(QueueOutcome(case["outcome"]), cause=cause, pool_empty=empty, retry_after_seconds=2.0)
    if found is None:
        assert case["want"] is None
        return
    assert (found.status, found.dropped_reason) == (case["status"], case.get("reason"))
    assert found.retry_after_seconds == (None if found.status == 500 else 2.0)


def test_every_outcome_but_one_is_a_refusal() -> None:
    assert [each for each in QueueOutcome if refusal(each) is None] == [QueueOutcome.DISPATCHED]


def test_a_request_that_was_taken_back_is_told_so() -> None:
    found = revoked(1.0)
    assert (found.status, found.dropped_reason, found.retry_after_seconds) == (429, "evicted", 1.0)
