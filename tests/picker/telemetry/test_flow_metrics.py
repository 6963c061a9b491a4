"""Metrics of what waits: by pool and band, and back at 0 when nothing does."""

from picker.directing.holding.pool_flow import FlowSettings
from picker.flow.budgets import Budget
from picker.telemetry.flow_metrics import FlowCollector
from tests.picker.directing.holding.test_flow_director import LONG, Queue, as_class


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
