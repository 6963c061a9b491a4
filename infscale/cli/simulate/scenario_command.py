"""``infscale simulate --scenario``: the demo's scenarios in virtual time."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from infscale.cli.simulate.simulate_arguments import described, seeds_of
from infscale.demo.scenarios.compared_figures import text
from infscale.demo.scenarios.contenders import OURS
from infscale.demo.scenarios.figures import Figures
from infscale.demo.scenarios.scenario_plan import ScenarioPlan
from infscale.errors import ConfigError
from infscale.simulate.many_runs import Experiment, View, play
from infscale.simulate.named_scenarios import contending_policy, found_in, named_plan, planned_scenario

_KEPT = frozenset({"scenario", "seeds", "jobs", "json", "no_tty"})
"""What may be said beside a scenario: everything else is a part of it."""


def refuse_others(arguments: argparse.Namespace, usual: Mapping[str, object]) -> None:
    """Refuse what a scenario says itself; `usual` are the arguments of a command line that says nothing."""
    for name, value in usual.items():
        if name not in _KEPT and getattr(arguments, name) != value:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError("arguments", flag, f"is a part of the scenario {arguments.scenario}; leave it out")


def simulated(arguments: argparse.Namespace, view: View) -> tuple[Mapping[str, object], list[str]]:
    """Play the scenario that is asked for: the document of it, and what to print. Raises `InfscaleError`."""
    plan = named_plan(arguments.scenario)
    policies = tuple(contending_policy(each) for each in plan.contenders)
    chosen = Experiment(planned_scenario(plan), policies, seeds_of(arguments.seeds))
    found = found_in(plan, play(chosen, arguments.jobs, view))
    about = described(chosen, sys.argv[2:])
    document = {"simulated": about, "figures": {name: asdict(each) for name, each in found.items()}}
    return document, _lines(plan, found, chosen.seeds)


def _lines(plan: ScenarioPlan, found: Mapping[str, Figures], seeds: Sequence[int]) -> list[str]:
    requests = found[OURS].requests
    servers = f"{plan.servers} × {plan.coefficients} at first"
    many = "" if len(seeds) == 1 else f", means over {len(seeds)} seeds"
    return [f"{plan.name}: {plan.about}", f"{requests} requests, {servers}{many}", "", *text(plan.name, found, OURS)]
