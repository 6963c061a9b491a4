"""The demo's scenarios in virtual time: replicas as planned, tenants and sessions as the gateway says, few seconds."""

from dataclasses import replace

import pytest

from bench.scenarios import LIMITS, Limit, broken
from infscale.demo.scenarios.contenders import OURS
from infscale.demo.scenarios.figures import figures
from infscale.demo.scenarios.scenario_plan import HEAVY, LIGHT, PLANS
from infscale.errors import ConfigError
from infscale.simulate.named_scenarios import contending_policy, named_plan, planned_scenario, served
from infscale.simulate.policy import named_policy
from infscale.simulate.scenario import PlannedScale
from infscale.simulate.simulation import Simulation, simulate
from tests.simulate.scenarios import SharedPrefixes, scenario


def ours(name: str, stretch: float = 0.5) -> Simulation:
    """The shortened scenario `name` with infscale's flow control, not yet played."""
    plan = named_plan(name, stretch)
    policy = next(contending_policy(each) for each in plan.contenders if each.name == OURS)
    return Simulation(planned_scenario(plan), policy, 1)


def test_sessions_move_once_at_most_in_a_restart_and_none_fails() -> None:
    run = ours("sessions", 1.0)
    result = run.run()
    found = figures(named_plan("sessions", 1.0), served(result.requests))
    assert found.answered == found.requests
    assert found.most_moves == 1
    # What clients see is what the picker counted.
    assert found.moves == result.counts["session_moves"] > 0
    assert [each.ended_at is not None for each in result.servers].count(True) == 6
    assert run.product is not None
    snapshot = run.product.store.snapshot(run.scenario.pool)
    assert snapshot is not None
    assert snapshot.in_flight_requests.sum() == 0


def test_no_request_fails_when_four_of_six_servers_leave_at_once() -> None:
    run = ours("drain", 1.0)
    result = run.run()
    found = figures(named_plan("drain", 1.0), served(result.requests))
    assert found.answered == found.requests
    assert found.most_moves <= 1
    assert [each.ended_at is not None for each in result.servers].count(True) == 4


def test_a_pool_that_is_overrun_and_then_dead_loses_what_runs_there_alone() -> None:
    run = ours("fallback", 1.0)
    result = run.run()
    found = figures(named_plan("fallback", 1.0), served(result.requests))
    assert set(found.failures) <= {"stream cut"}
    plan = named_plan("fallback", 1.0)
    cut = [each for each in served(result.requests) if each.failure is not None]
    assert all(each.at < plan.dead[0] + 1.0 for each in cut), "nothing that came when the pool was known to be dead"
    assert run.product is not None
    assert [len(each) for each in run.product.store.snapshots()] == [2, 2]
    assert all(each.in_flight_requests.sum() == 0 for each in run.product.store.snapshots())


def test_tenants_are_those_of_the_workload_and_a_newcomer_gets_its_half() -> None:
    result = ours("overload").run()
    assert result.requests.tenants == (HEAVY, LIGHT)
    found = figures(named_plan("overload", 0.5), served(result.requests))
    assert found.answered == found.requests
    assert found.slowdown is not None


def test_replicas_come_and_go_as_planned() -> None:
    scales = (PlannedScale(1.0, added=2, start_seconds=2.0), PlannedScale(5.0, oldest=1, newest=1))
    result = simulate(scenario(2, SharedPrefixes(requests=80), scales=scales), named_policy("infscale"), 1)
    assert result.requests.answered.all()
    assert [each.started_at for each in result.servers] == [-2.0, -2.0, 1.0, 1.0]
    assert [each.ended_at is not None and each.ended_at >= 5.0 for each in result.servers] == [True, False, False, True]
    # What is not ready gets nothing.
    assert (result.requests.arrived[result.requests.server >= 2] > 2.9).all()


@pytest.mark.parametrize("name", PLANS)
def test_each_scenario_has_limits(name: str) -> None:
    assert any(each.scenario == name for each in LIMITS)


def test_a_limit_does_not_hold_where_its_figure_is_above_it_or_unknown() -> None:
    found = {OURS: replace(figures(named_plan("surge"), []), most_moves=2)}
    moves = Limit("sessions", "moves", lambda each: float(each[OURS].most_moves), 1)
    unknown = Limit("sessions", "p90", lambda each: each[OURS].ttft_p90, 9)
    held = Limit("sessions", "requests", lambda each: float(each[OURS].requests), 0)
    assert broken("sessions", found, (moves, unknown, held)) == [
        "sessions: moves is 2, at most 1 is wanted",
        "sessions: p90 is unknown, at most 9 is wanted",
    ]
    assert broken("surge", found, (moves,)) == []


def test_a_scenario_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean overload"):
        named_plan("overlod")
