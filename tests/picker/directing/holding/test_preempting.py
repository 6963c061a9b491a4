"""Requests that are taken back for others: for which, what they are charged and told, and when the next go."""

import pytest

from infscale.endpoint import Phase
from picker.directing.holding.pool_flow import FlowSettings
from picker.flow.tenants import CostFairness
from picker.request import GpuCost, Outcome, Reason
from tests.fakes.pools import POOL
from tests.picker.directing.asked import Asked
from tests.picker.directing.holding.held_queue import LONG, Queue, as_class, of_tenant

BLOCKS = 64
"""1,024 tokens: six requests of 100 tokens, each with an answer of 100, are about as many as have room."""


def full(queue: Queue, count: int = 6) -> list[Asked]:
    """Batch that has begun to be answered."""
    batch = [queue.ask(100, as_class("batch") | of_tenant("batch")) for _ in range(count)]
    queue.passes(0.5)
    assert all(each.verdicts for each in batch)
    return batch


def taken_back(batch: list[Asked]) -> list[int]:
    return [place for place, each in enumerate(batch) if each.evicted]


def test_a_request_goes_at_once_in_the_room_of_one_that_can_be_shed() -> None:
    queue = Queue(blocks=BLOCKS)
    batch = full(queue)
    urgent = queue.ask(100)
    assert urgent.waits
    queue.passes(0.01)
    assert urgent.decision.record is not None
    assert len(taken_back(batch)) == 1
    (gone,) = [each for each in batch if each.evicted]
    assert (gone.evicted[0].status, gone.evicted[0].reason) == (429, Reason.EVICTED)
    assert gone.evicted[0].dropped_reason == "evicted"
    assert gone.evicted[0].retry_after_seconds is not None
    assert gone.decision.record is not None
    assert gone.decision.record.end is not None
    assert gone.decision.record.end.evicted_for == "request id of priority 0"
    assert queue.flow.flows[POOL].preemption.evictions == {(-10, "cache"): 1}
    assert queue.in_flight == 6


def test_tenants_pay_for_what_they_had_and_no_more() -> None:
    queue = Queue(blocks=BLOCKS)
    batch = full(queue)
    fairness = queue.flow.flows[POOL].queue.fairness(-10)
    assert isinstance(fairness, CostFairness)
    before = fairness.virtual_seconds("batch")
    queue.ask(100)
    queue.passes(0.01)
    (gone,) = [each for each in batch if each.evicted]
    cost = gone.decision.cost
    assert isinstance(cost, GpuCost)
    assert cost.spent_seconds is not None
    # Half a second of its share in a step, after a prompt of some milliseconds.
    assert 0.0 < cost.spent_seconds < cost.seconds
    assert fairness.virtual_seconds("batch") == pytest.approx(before - cost.seconds + cost.spent_seconds)
    assert fairness.outstanding_seconds("batch") > 0.0


@pytest.mark.parametrize("name", ["batch", ""])
def test_none_goes_for_what_can_be_shed_itself_and_none_that_cannot_be(name: str) -> None:
    queue = Queue(blocks=BLOCKS)
    running = [queue.ask(100, as_class(name) if name else {}) for _ in range(6)]
    queue.passes(0.5)
    waiting = queue.ask(100, as_class("batch" if name else "interactive"))
    queue.passes(0.3)
    assert waiting.waits
    assert not taken_back(running)


def test_none_goes_where_that_is_switched_off() -> None:
    queue = Queue(blocks=BLOCKS, flow=FlowSettings(preempts=False))
    batch = full(queue)
    urgent = queue.ask(100)
    queue.passes(0.3)
    assert urgent.waits
    assert not taken_back(batch)


def test_none_goes_while_its_cache_may_be_on_its_way() -> None:
    """An endpoint that does nothing but decode has the prompt's cache from another: some do not survive an abort."""
    queue = Queue(blocks=BLOCKS, role="decode")
    batch = full(queue)
    urgent = queue.ask(100)
    queue.passes(0.1)
    assert not taken_back(batch)
    for each in batch[:2]:
        recall = each.decision.recall
        assert recall is not None
        recall.begun = True
    queue.passes(0.1)
    assert taken_back(batch) in ([0], [1])
    assert urgent.decision


def test_the_next_go_when_a_step_has_passed_since_the_last_went() -> None:
    queue = Queue(blocks=BLOCKS)
    batch = full(queue)
    urgent = [queue.ask(100) for _ in range(3)]
    queue.passes(0.01)
    assert [each.waits for each in urgent] == [False, True, True]
    assert len(taken_back(batch)) == 1
    queue.passes(0.2)
    assert not any(each.waits for each in urgent)
    assert len(taken_back(batch)) == 3


def test_a_request_that_does_not_end_keeps_its_endpoint_for_some_time_only() -> None:
    """What carries it has not told that it has ended, so that its room is not shown either."""
    queue = Queue(blocks=BLOCKS)
    batch = full(queue)
    for each in batch:
        recall = each.decision.recall
        assert recall is not None
        recall.listen(each.evicted.append)
    urgent = queue.ask(100)
    queue.passes(9.0)
    assert len(taken_back(batch)) == 1
    queue.passes(2.0)
    assert len(taken_back(batch)) == 2
    for each in batch:
        queue.ends(each, Outcome("evicted" if each.evicted else "aborted"))
    queue.passes(0.1)
    assert urgent.decision


def test_prompts_that_are_not_computed_yet_go_for_one_that_would_be_late() -> None:
    queue = Queue()
    batch = queue.ask(LONG, as_class("batch"))
    urgent = queue.ask(100)
    queue.passes(0.02)
    assert batch.evicted
    assert urgent.decision
    assert queue.flow.flows[POOL].preemption.evictions == {(-10, "prompts"): 1}


def test_what_went_on_to_another_endpoint_is_taken_back_there() -> None:
    queue = Queue(endpoints=2, blocks=BLOCKS)
    batch = full(queue, 12)
    other = {"10.0.0.1:8000": "10.0.0.2:8000", "10.0.0.2:8000": "10.0.0.1:8000"}
    moved = batch[0]
    told = queue.flow.response_started(moved.decision, 200, other[moved.decision.destinations[0]], queue.now)
    moved.verdicts[:] = [told]
    assert told.recall is not None
    urgent = [queue.ask(100) for _ in batch]
    queue.passes(1.0)
    assert len(taken_back(batch)) == 12
    assert not any(each.waits for each in urgent)
    assert queue.in_flight == 12


def test_endpoints_that_drain_are_not_cleared_for_others() -> None:
    queue = Queue(blocks=BLOCKS)
    batch = full(queue)
    queue.state(1, Phase.DRAINING)
    queue.ask(100)
    queue.passes(0.1)
    assert not taken_back(batch)
