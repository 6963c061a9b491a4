"""Metrics of what waits: by pool and band, and back at 0 when nothing does."""

from picker.directing.holding.flow_stats import MOST_SHOWN
from picker.directing.holding.pool_flow import FlowSettings
from picker.flow.budgets import Budget
from picker.flow.tenant_budgets import TenantBudget
from picker.telemetry.flow_metrics import FlowCollector
from tests.picker.directing.holding.test_flow_director import LONG, Queue, as_class, of_tenant


def shown(queue: Queue) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels but the pool's."""
    return {
        (sample.name, *[value for name, value in sample.labels.items() if name != "pool"]): sample.value
        for family in FlowCollector(lambda: queue.flow.flows).collect()
        for sample in family.samples
    }


def test_what_waits_is_shown_by_band_and_is_gone_when_it_has_left() -> None:
    queue = Queue(flow=FlowSettings(budget=Budget(requests=2)))
    queue.ask()
    queue.ask(size=300)
    queue.ask(headers=as_class("batch"))
    queue.ask()
    found = shown(queue)
    assert found["infscale_flow_waiting_requests", "0"] == 1
    assert found["infscale_flow_waiting_requests", "-10"] == 1
    assert found["infscale_flow_waiting_bytes", "0"] == 300
    assert found["infscale_flow_waiting_prompt_tokens", "0"] == LONG
    assert found["infscale_flow_waiting_gpu_seconds", "0"] > 1.0
    assert found["infscale_flow_refusals_total", "0", "queue_full"] == 1
    assert found["infscale_flow_tenant_refused_total", "0", "unnamed"] == 1
    assert found["infscale_flow_wait_seconds_count", "0"] == 1, "the first did not wait"
    assert found["infscale_flow_wait_seconds_sum", "0"] == 0
    queue.passes(10.0)
    found = shown(queue)
    assert found["infscale_flow_waiting_requests", "0"] == found["infscale_flow_waiting_requests", "-10"] == 0
    assert found["infscale_flow_waiting_gpu_seconds", "0"] == 0
    assert found["infscale_flow_wait_seconds_count", "-10"] == 1


def test_a_client_that_leaves_is_counted() -> None:
    queue = Queue()
    queue.ask()
    held = queue.ask().held
    assert held is not None
    held.give_up()
    assert shown(queue)["infscale_flow_given_up_total",] == 1


def test_tenants_are_shown_with_what_waits_and_what_became_of_it() -> None:
    queue = Queue(flow=FlowSettings(budget=Budget(requests=2)))
    first = queue.ask(headers=of_tenant("a"))
    for name in ("a", "b", "b"):
        queue.ask(headers=of_tenant(name))
    found = shown(queue)
    assert found["infscale_flow_tenant_waiting_requests", "0", "a"] == 1
    assert found["infscale_flow_tenant_waiting_requests", "0", "b"] == 1
    assert found["infscale_flow_tenant_refused_total", "0", "b"] == 1
    assert found["infscale_flow_tenant_let_go_total", "0", "a"] == 1
    assert found["infscale_flow_tenant_gpu_seconds_total", "0", "a"] == 0
    queue.now += 0.1
    queue.ends(first)
    queue.passes(10.0)
    found = shown(queue)
    assert found["infscale_flow_tenant_gpu_seconds_total", "0", "a"] > 0.5
    assert found["infscale_flow_tenant_waiting_requests", "0", "b"] == 0
    assert found["infscale_flow_tenant_let_go_total", "0", "b"] == 1
    assert 0 < found["infscale_flow_tenant_wait_seconds_total", "0", "b"] < 10


def test_many_tenants_are_one_on_the_page() -> None:
    queue = Queue()
    for number in range(MOST_SHOWN + 20):
        queue.ask(headers=of_tenant(f"tenant-{number}"))
    found = shown(queue)
    names = {labels[2] for labels in found if labels[0] == "infscale_flow_tenant_waiting_requests"}
    assert len(names) <= MOST_SHOWN + 1
    waiting = [value for labels, value in found.items() if labels[0] == "infscale_flow_tenant_waiting_requests"]
    assert sum(waiting) == found["infscale_flow_waiting_requests", "0"] == MOST_SHOWN + 19
    assert found["infscale_flow_tenant_waiting_requests", "0", "other"] > 0
    queue.passes(300.0)
    found = shown(queue)
    assert found["infscale_flow_tenant_waiting_requests", "0", "other"] == 0
    assert len([labels for labels in found if labels[0] == "infscale_flow_tenant_let_go_total"]) <= MOST_SHOWN + 1


def test_tenants_with_budgets_are_shown_with_what_they_may_have() -> None:
    queue = Queue(flow=FlowSettings(budgets={"a": TenantBudget(0.1), "b": TenantBudget(0.5, of_pool=True)}))
    name = "infscale_flow_tenant_budget_credit_gpu_seconds"
    assert (shown(queue)[name, "a"], shown(queue)[name, "b"]) == (1.0, 5.0)
    queue.ask(headers=of_tenant("a"))
    assert shown(queue)[name, "a"] < 0.0
