"""The bill of whole runs adds up under aborts, evictions, restarts and scaling, and says how long engines worked."""

from dataclasses import replace
from pathlib import Path

import pytest

from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import Lengths, Shape
from infscale.sim.load.group_load import GroupLoad
from infscale.sim.load.mixed_load import MixedLoad
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.settings import Fault, FaultKind
from infscale.simulate.policy import named_policy
from infscale.simulate.scenario import PlannedFault, PlannedScale, Scenario, ServerKind
from infscale.simulate.simulation import Simulation
from picker.directing.billing.pool_bill import PoolBill
from picker.directing.reference.reference_flow_director import ReferenceFlowDirector
from tests.picker.directing.billing.billed_pool import billed
from tests.simulate.scenarios import SharedPrefixes, scenario

BUSY = SharedPrefixes(requests=300, rate=40.0, batch_ratio=0.4)
DISTURBED = {
    "untouched": scenario(traffic=BUSY),
    "gpus known": scenario(traffic=BUSY, known_gpus=True),
    "hanging": scenario(traffic=BUSY, faults=(PlannedFault(1.0, 1, Fault(FaultKind.HANG, 3.0)),)),
    "restarting": scenario(traffic=BUSY, faults=(PlannedFault(1.0, 1, Fault(FaultKind.SLOW_START, 2.0)),)),
    "failing": scenario(traffic=BUSY, faults=(PlannedFault(1.0, 1, Fault(FaultKind.ERROR, 3.0, ratio=0.5)),)),
    "dying": scenario(traffic=BUSY, faults=(PlannedFault(1.0, 1, Fault(FaultKind.DIE, 3.0, after_tokens=5)),)),
    "lying": scenario(traffic=BUSY, faults=(PlannedFault(1.0, 1, Fault(FaultKind.LIE, 3.0)),)),
    "scaling": scenario(traffic=BUSY, scales=(PlannedScale(2.0, 1, 1.0, 2, 0),)),
    "evicting": scenario(1, traffic=replace(BUSY, rate=60.0), priorities={"batch": -10}),
}
BY_REFERENCE = """
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- type: concurrency-detector
  parameters: {maxConcurrency: 4}
flowControl: {saturationDetector: {pluginRef: concurrency-detector}}
"""


def played(chosen: Scenario, policy: str, seed: int = 1) -> tuple[Simulation, PoolBill, float]:
    """A run that has ended, its bill, and for how long engines worked, in GPU-seconds."""
    run = Simulation(chosen, named_policy(policy), seed)
    run.run()
    return run, *of(run)


def of(run: Simulation) -> tuple[PoolBill, float]:
    """The bill of a run that has ended, and for how long engines worked, in GPU-seconds."""
    chosen = run.scenario
    assert run.picker is not None
    bills = run.picker.deciding.bills
    bills.settle(run.clock.now)
    bill = bills.bill(chosen.pool)
    assert bill is not None
    worked = sum(
        each.total_busy_seconds * (each.identity.kind.coefficients.gpus if chosen.known_gpus else 1)
        for each in run.fleet.everyone
    )
    return bill, worked


@pytest.mark.parametrize("policy", ["infscale", "infscale@unqueued", "reference"])
@pytest.mark.parametrize("disturbed", DISTURBED)
def test_the_bill_adds_up_whatever_happens(disturbed: str, policy: str) -> None:
    _, bill, worked = played(DISTURBED[disturbed], policy)
    assert billed(bill) == pytest.approx(bill.seconds, abs=1e-6)
    sums = bill.minutes.since(-(10**6))
    assert sums.idle + sums.recomputed + sum(sums.cells.values()) == pytest.approx(bill.seconds, abs=1e-6)
    assert sums.counted == pytest.approx(bill.seconds, abs=1e-6)
    assert bill.running == pytest.approx(0.0, abs=1e-6), "nothing is in flight"
    if disturbed in ("untouched", "gpus known"):
        assert bill.seconds - bill.idle == pytest.approx(worked, rel=0.02)


def test_it_adds_up_where_requests_wait_as_the_reference_has_it(tmp_path: Path) -> None:
    file = tmp_path / "picker.yaml"
    file.write_text(BY_REFERENCE)
    run, bill, worked = played(scenario(2, traffic=BUSY, known_gpus=True), str(file))
    assert run.picker is not None
    assert isinstance(run.picker.deciding.flow, ReferenceFlowDirector)
    assert billed(bill) == pytest.approx(bill.seconds, abs=1e-6)
    assert bill.running == pytest.approx(0.0, abs=1e-6)
    assert bill.seconds - bill.idle == pytest.approx(worked, rel=0.02)


def test_the_pool_s_time_is_that_of_its_servers_while_they_are_ready() -> None:
    """Four of one GPU, known before the first request, and none that comes or goes."""
    run, bill, _ = played(DISTURBED["gpus known"], "infscale")
    gpus = sum(each.identity.kind.coefficients.gpus for each in run.fleet.everyone)
    assert bill.seconds == pytest.approx(gpus * (run.clock.now - bill.since), abs=1e-6)
    assert bill.unknown_gpus == 0


def test_evicted_requests_are_wasted_and_no_other_pays_for_them() -> None:
    run, bill, _ = played(DISTURBED["evicting"], "infscale")
    assert run.picker is not None
    wasted = {row.key.priority: row.booked.get("evicted", 0.0) for row in bill.rows.all if row.booked}
    evictions = next(iter(run.picker.deciding.directors.stats().values())).outcomes.get("evicted", 0)
    assert evictions > 0
    assert wasted[-10] > 0.0
    assert wasted[0] == 0.0


def load(tenant: str, rate: float, prompt: float, answer: float) -> GroupLoad:
    target = LoadTarget(coefficient_set("llama-3.1-8b-h100").model, tenant=tenant)
    question, output = (Lengths(Shape.LOGNORMAL, mean, 0.5 * mean, most=4.0 * mean) for mean in (prompt, answer))
    return GroupLoad(target, Arrivals(40.0, (rate,)), question, output, users=1_000)


@pytest.mark.parametrize("policy", ["infscale", "reference"])
def test_tenants_pay_for_what_their_requests_take(policy: str) -> None:
    """One sends long prompts for short answers, the other short prompts for long answers, at the same server.

    What each takes is known of steps: a token of a prompt takes its part, and sequences share the rest of a step.
    """
    kind = ServerKind(coefficient_set("llama-3.1-8b-h100"))
    traffic = MixedLoad((load("prompts", 8.0, 4_000.0, 1.0), load("answers", 3.0, 50.0, 400.0)))
    run = Simulation(Scenario(traffic, (kind,), known_gpus=True), named_policy(policy), 1)
    table = run.run().requests
    bill, worked = of(run)
    had = {row.key.tenant: row.booked["used"] for row in bill.rows.all if row.booked}
    assert sum(had.values()) == pytest.approx(worked, rel=0.02)
    prompts = float(table.prompt_tokens[table.tenant == table.tenants.index("prompts")].sum())
    per_token = kind.coefficients.steps.coefficients[1]
    assert had["prompts"] / worked == pytest.approx(per_token * prompts / worked, abs=0.05)
