"""The demo's scenarios in virtual time: as a simulation has them, and what its results say in their figures."""

import math
from collections.abc import Callable, Sequence

from infscale.demo.scenarios.contenders import Contender
from infscale.demo.scenarios.figures import Figures, figures, mean_figures
from infscale.demo.scenarios.scenario_plan import PLANS, PRIORITIES, ScenarioPlan
from infscale.demo.scenarios.served import Served
from infscale.documents.suggestions import did_you_mean
from infscale.errors import ConfigError
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.engine.steps import EngineSettings
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.settings import Fault, FaultKind
from infscale.simulate.policy import Policy
from infscale.simulate.run_result import RequestTable, RunResult
from infscale.simulate.scenario import PlannedFault, PlannedScale, Scenario, ServerKind

STRETCH = 4.0
"""How many times as long as in the demo a scenario is played."""


def named_plan(name: str, stretch: float | None = None) -> ScenarioPlan:
    """The scenario that a user names, `STRETCH` times as long as in the demo unless said. Raises `ConfigError`."""
    make: Callable[[float], ScenarioPlan] | None = PLANS.get(name)
    if make is None:
        raise ConfigError("", "--scenario", f"expected one of {', '.join(PLANS)}{did_you_mean(name, list(PLANS))}")
    return make(STRETCH if stretch is None else stretch)


def planned_scenario(plan: ScenarioPlan) -> Scenario:
    """`plan` for virtual time."""
    chosen = coefficient_set(plan.coefficients)
    engine = EngineSettings(chosen.num_blocks, chosen.block_size)
    if plan.batch_requests is not None:
        engine = EngineSettings(chosen.num_blocks, chosen.block_size, plan.batch_requests)
    kind = ServerKind(chosen, engine=engine)
    scales = tuple(
        PlannedScale(each.at_seconds, each.added, plan.start_seconds, each.oldest, each.newest) for each in plan.steps
    )
    return Scenario(
        plan.traffic(LoadTarget(chosen.model, kind.settings(0.0).capacity_tokens)),
        (kind,) * max(1, plan.servers),
        # A gateway for which endpoints come and go takes one.
        destinations=1,
        priorities=dict(PRIORITIES),
        known_gpus=True,
        at_first=plan.servers,
        scales=scales,
        scaling=plan.scaling,
        no_endpoint_seconds=_cold_seconds(plan),
        standby=plan.standby,
        fallback_seconds=plan.fallback_seconds,
        faults=_deaths(plan),
    )


def _deaths(plan: ScenarioPlan) -> tuple[PlannedFault, ...]:
    """All servers but those that stand by refuse connections for a while."""
    begin, end = plan.dead
    if begin == math.inf:
        return ()
    refuse = Fault(FaultKind.REFUSE, end - begin)
    return tuple(PlannedFault(begin, number, refuse) for number in range(plan.servers - plan.standby))


def _cold_seconds(plan: ScenarioPlan) -> float | None:
    """How long requests wait for the first endpoint, where that is said beside the `EndpointPickerConfig`."""
    said = [each.flow_control.get("no_endpoint_seconds") for each in plan.contenders]
    return next((each for each in said if isinstance(each, float)), None)


def contending_policy(contender: Contender) -> Policy:
    """`contender` as a policy of the simulator."""
    enabled = contender.flow_control.get("enabled")
    return Policy(
        contender.name,
        contender.text,
        f"scenario's {contender.name}",
        contender.scrape_seconds,
        enabled if isinstance(enabled, bool) else None,
        falls_back=contender.falls_back,
    )


def found_in(plan: ScenarioPlan, results: Sequence[RunResult]) -> dict[str, Figures]:
    """The figures of each contender, all its requests of all runs together.

    Of several runs each has its own conversations, and its own end.
    """
    found: dict[str, Figures] = {}
    for contender in plan.contenders:
        own = [figures(plan, served(each.requests)) for each in results if each.policy == contender.name]
        found[contender.name] = mean_figures(own)
    return found


def served(table: RequestTable) -> list[Served]:
    """The requests of a run, as scenarios are measured."""
    return [_row(table, number) for number in range(len(table))]


def _row(table: RequestTable, number: int) -> Served:
    first, server = float(table.first[number]), int(table.server[number])
    failure, tenant, session = int(table.failure[number]), int(table.tenant[number]), int(table.session[number])
    return Served(
        float(table.arrived[number]),
        table.classes[int(table.request_class[number])],
        first if first == first else None,
        float(table.ended[number]),
        table.tenants[tenant] if tenant >= 0 else None,
        session if session >= 0 else None,
        table.failures[failure] if failure >= 0 else None,
        bool(table.refused[number]),
        "" if server < 0 else f"server-{server}",
        int(table.prompt_tokens[number]),
        int(table.cached_tokens[number]),
        int(table.output_tokens[number]),
    )
