"""A tenant over its budget is held while others may go, and fails no more than others do."""

import pytest

from picker.directing.holding.pool_flow import FlowSettings
from picker.flow.tenant_budgets import TenantBudget
from picker.request import Reason
from tests.fakes.pools import POOL
from tests.picker.directing.holding.held_queue import LONG, Queue, of_tenant, order

SMALL = {"greedy": TenantBudget(0.05)}
"""Half a GPU-second saved up: one long prompt is more."""


def queue(budgets_bind: bool, **more: float) -> Queue:
    return Queue(1, FlowSettings(budgets=SMALL, budgets_bind=budgets_bind, **more))  # type: ignore[arg-type]


def over_budget(held: Queue) -> None:
    """The greedy tenant has had more than its budget; nothing is in flight."""
    asked = held.ask(LONG, of_tenant("greedy"))
    held.passes(2.0)
    held.ends(asked)
    held.passes(1.0)
    assert held.flow.flows[POOL].budgets.over("greedy", held.now)


@pytest.mark.parametrize("bind", [False, True])
def test_others_go_before_it_that_came_later(bind: bool) -> None:
    held = queue(bind)
    over_budget(held)
    first = held.ask(LONG, of_tenant("other"))
    greedy = held.ask(LONG, of_tenant("greedy"))
    others = [held.ask(LONG, of_tenant("other")) for _ in range(3)]
    for each in (first, *others):
        held.settle()
        assert greedy.waits
        assert not each.waits
        held.passes(1.5)
        held.ends(each)
    held.settle()
    assert greedy.waits is bind


def test_by_default_it_has_what_no_other_wants() -> None:
    """No GPU is idle while it waits."""
    held = queue(False)
    over_budget(held)
    assert not held.ask(LONG, of_tenant("greedy")).waits
    behind = held.ask(LONG, of_tenant("greedy"))
    assert behind.waits, "the endpoint has no room"


def test_where_budgets_bind_it_waits_until_it_is_within_its_own_again() -> None:
    held = queue(True, max_wait_seconds=600.0)
    over_budget(held)
    greedy = held.ask(100, of_tenant("greedy"))
    assert greedy.waits
    assert not held.ask(LONG, of_tenant("other")).waits, "there is room, and nothing that may go waits"
    wait = held.flow.flows[POOL].budgets.wait_seconds("greedy", held.now)
    assert 5.0 < wait < 60.0
    held.passes(wait - 1.0)
    assert greedy.waits
    held.passes(2.5)
    assert not greedy.waits
    record = greedy.decision.record
    assert record is not None
    assert record.waited_for == "its tenant's budget of GPU time"


def test_its_wait_ends_as_that_of_others_and_it_is_told_when_to_come_back() -> None:
    held = queue(True, max_wait_seconds=2.0)
    over_budget(held)
    greedy = held.ask(100, of_tenant("greedy"))
    held.passes(3.0)
    rejection = greedy.rejection
    assert (rejection.status, rejection.reason) == (429, Reason.WAITED)
    assert "budget" in rejection.message
    assert rejection.retry_after_seconds is not None
    assert rejection.retry_after_seconds > 2.0


def test_its_own_requests_do_not_pass_each_other() -> None:
    held = queue(False)
    over_budget(held)
    running = held.ask(LONG, of_tenant("greedy"))
    waiting = [held.ask(LONG, of_tenant("greedy")) for _ in range(3)]
    held.passes(2.0)
    held.ends(running)
    for each in waiting:
        held.settle()
        held.passes(2.0)
        held.ends(each)
    assert order(*waiting) == [0, 1, 2]


def test_a_request_that_is_let_go_counts_before_the_next_is_judged() -> None:
    """Ten that come at once are not all let go because none of them has had anything yet."""
    held = Queue(4, FlowSettings(budgets={"greedy": TenantBudget(0.05)}, budgets_bind=True))
    asked = [held.ask(LONG, of_tenant("greedy")) for _ in range(10)]
    assert sum(not each.waits for each in asked) == 1


def test_a_tenant_that_leaves_its_queue_leaves_nothing_behind() -> None:
    held = queue(True)
    over_budget(held)
    for each in [held.ask(100, of_tenant("greedy")) for _ in range(3)]:
        assert each.held is not None
        each.held.give_up()
    assert len(held.flow.flows[POOL].queue) == 0
    assert not held.ask(LONG, of_tenant("other")).waits
