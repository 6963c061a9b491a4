"""The reference's metrics of flow control, as they are read."""

import pytest
from prometheus_client import CollectorRegistry

from picker.flow.reference.flow_counts import FlowCounts, PoolGauges
from picker.flow.reference.program_aware import Program
from picker.flow.reference.queue_outcomes import QueueOutcome
from picker.flow.reference.revocation import Demand, InFlight, Reclamation
from picker.telemetry.reference_flow_metrics import ReferenceFlowCollector

NOW = "llm_d_epp_flow_control_"
BEFORE = "inference_extension_flow_control_"


def gauges(*, reclamation: Reclamation | None = None, index: float | None = None, **programs: Program) -> PoolGauges:
    stages = {"decode": 0.5, "effective": 0.75}
    bands = {0: (0.25, None), 5: (None, 0.5)}
    return PoolGauges(stages, "utilization-detector", 2, bands, (0.1, None), reclamation, programs, index)


def read(counts: FlowCounts, **pools: PoolGauges) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(ReferenceFlowCollector(counts, lambda: pools))
    return registry


@pytest.mark.parametrize("prefix", [NOW, BEFORE])
def test_requests_are_shown_under_both_names(prefix: str) -> None:
    counts = FlowCounts()
    labels = counts.labels("a", 3, "pool", "m", "t")
    counts.waits(labels, 100, 0.0002)
    counts.waits(labels, 50, 0.0002)
    counts.ended(labels, QueueOutcome.DISPATCHED, 100, 0.5)
    counts.turns.observe(0.003)
    found = read(counts)
    flow = {"fairness_id": "a", "priority": "3"}
    whole = {**flow, "inference_pool": "pool", "model_name": "m", "target_model_name": "t"}
    assert found.get_sample_value(f"{prefix}queue_size", whole) == 1
    assert found.get_sample_value(f"{prefix}queue_bytes", whole) == 50
    ended = {**whole, "outcome": "Dispatched"}
    assert found.get_sample_value(f"{prefix}request_queue_duration_seconds_sum", ended) == 0.5
    entered = {**flow, "outcome": "Dispatched"}
    assert found.get_sample_value(f"{prefix}request_enqueue_duration_seconds_count", entered) == 2
    assert found.get_sample_value(f"{prefix}dispatch_cycle_duration_seconds_count") == 1


def test_outcomes_are_shown_by_priority_and_pool() -> None:
    counts = FlowCounts()
    labels = counts.labels("a", -1, "pool", "m", "t")
    counts.refused(labels, QueueOutcome.REJECTED_CAPACITY, 0.0)
    of = {"outcome": "RejectedCapacity", "priority": "-1", "inference_pool": "pool"}
    assert read(counts).get_sample_value(f"{NOW}requests_total", of) == 1


def test_pools_are_shown_by_how_full_they_are() -> None:
    found = read(FlowCounts(), one=gauges(), two=gauges())
    one = {"inference_pool": "one"}
    assert found.get_sample_value(f"{NOW}pool_saturation", {**one, "stage": "decode"}) == 0.5
    assert found.get_sample_value(f"{NOW}pool_saturation", {**one, "stage": "effective"}) == 0.75
    assert found.get_sample_value(f"{BEFORE}pool_saturation", one) == 0.75
    assert found.get_sample_value(f"{NOW}stale_endpoints", {"detector": "utilization-detector"}) == 4


def test_only_what_has_a_limit_has_a_utilization() -> None:
    found = read(FlowCounts(), one=gauges())
    band = {"inference_pool": "one", "priority": "0"}
    assert found.get_sample_value(f"{NOW}capacity_utilization_requests", band) == 0.25
    assert found.get_sample_value(f"{NOW}capacity_utilization_bytes", band) is None
    band["priority"] = "5"
    assert found.get_sample_value(f"{NOW}capacity_utilization_bytes", band) == 0.5
    assert found.get_sample_value(f"{NOW}global_capacity_utilization_requests", {"inference_pool": "one"}) == 0.1
    assert found.get_sample_value(f"{NOW}global_capacity_utilization_bytes", {"inference_pool": "one"}) is None


def test_revocations_are_shown_where_requests_may_be_taken_back() -> None:
    reclamation = Reclamation(0.0)
    victims = [InFlight(number, -1, 0.0) for number in range(2)]
    taken = reclamation.take_back(1.0, Demand(5, 0.5), 2, victims, 1.0)
    assert len(taken) == 1
    found = read(FlowCounts(), one=gauges(reclamation=reclamation), two=gauges())
    one = {"inference_pool": "one"}
    assert found.get_sample_value(f"{NOW}revocations_issued_total", {**one, "priority": "5"}) == 1
    assert found.get_sample_value(f"{NOW}reclaim_target", one) == 0.5
    assert found.get_sample_value(f"{NOW}pending_reclaim", one) == 0.5
    assert found.get_sample_value(f"{NOW}reclaim_target", {"inference_pool": "two"}) is None
    reclamation.ended(taken[0].number, 1.2)
    found = read(FlowCounts(), one=gauges(reclamation=reclamation))
    assert found.get_sample_value(f"{NOW}revocations_total", {**one, "outcome": "confirmed"}) == 1
    assert found.get_sample_value(f"{NOW}revocations_total", {**one, "outcome": "timed_out"}) == 0
    total = found.get_sample_value(f"{NOW}revocation_confirmation_seconds_sum", one)
    assert total == pytest.approx(0.2)  # pyright: ignore[reportUnknownMemberType]


def test_programs_of_several_pools_are_shown_together() -> None:
    first, second = Program(0.0, 0.0, 10.0), Program(0.0, 0.0, 5.0)
    found = read(FlowCounts(), one=gauges(index=0.9, a=first), two=gauges(index=0.5, a=second))
    prefix = "llm_d_epp_program_aware_"
    assert found.get_sample_value(f"{prefix}jains_fairness_index") == 0.5
    assert found.get_sample_value(f"{prefix}attained_service_tokens", {"program_id": "a"}) == 15.0
    assert read(FlowCounts(), one=gauges()).get_sample_value(f"{prefix}jains_fairness_index") is None
