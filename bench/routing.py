"""How well requests are routed: presets side by side on the same traffic, in virtual time.

The product that serves decides, on simulated engines (`infscale.simulate`). `python -m bench.routing` prints the table
of docs/benchmarks.md; with ``--gate`` it plays fewer and shorter runs and fails where the main result does not hold.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Final

from bench import oracle
from bench.wrong_models import ERRORS, wrong_policy
from infscale.cli.simulate.simulate_arguments import server_kinds, trace_text
from infscale.errors import InfscaleError
from infscale.sim.load.named.workload_choice import choose_workload
from infscale.sim.load.traffic import LoadTarget
from infscale.simulate.findings.summaries import ALL, RunSummary
from infscale.simulate.many_runs import Done, Experiment, play
from infscale.simulate.policy import Policy, named_policy
from infscale.simulate.scenario import Scenario

OURS: Final = "infscale"
REFERENCE: Final = "reference@50ms"
"""The reference scrapes ten times as often as infscale does."""
OTHERS: Final = ("sticky-until-saturated@50ms", "lmetric@50ms", "in-flight-tokens")
"""What ours is compared with one by one, beside the reference and a gateway without a picker."""
WITHOUT: Final = "round-robin"
WRONG: Final = {policy.name: policy for policy in [wrong_policy(OURS, errors) for errors in ERRORS]}
"""Ours with latency models that are wrong."""

_LONGEST_CONTEXT: Final = 131_072
_HALF_SLOW: Final = "4,4@0.4545"


@dataclass(frozen=True, slots=True)
class Load:
    """Traffic and the servers that it is played to, as `infscale simulate` names them; `unequal`: half are slow."""

    name: str
    workload: str
    servers: str = "8"

    @property
    def unequal(self) -> bool:
        """Whether servers differ."""
        return self.servers == _HALF_SLOW


LOADS: Final = (
    Load("bursts", "conversation:rate=36,cv=3,requests={n}"),
    Load("bursts, half of the servers 2.2 × slower", "conversation:rate=24,cv=2,requests={n}", _HALF_SLOW),
    Load("chats", "chats:rate=26,requests={n}"),
    Load("long conversations", "long-conversations:rate=4,requests={n}"),
    Load("long conversations, half 2.2 × slower", "long-conversations:rate=2.4,requests={n}", _HALF_SLOW),
)
GATED: Final = LOADS[:3]
"""Those that take seconds a run."""


def with_traces(folder: Path) -> tuple[Load, ...]:
    """The loads by the public traces in `folder` (az_conv.csv, mc_conv.jsonl) instead of what is made like them."""
    azure, mooncake = folder / "az_conv.csv", folder / "mc_conv.jsonl"
    return (
        replace(LOADS[0], name="Azure's lengths in bursts", workload=f"azure:file={azure},rate=36,cv=3,requests={{n}}"),
        replace(LOADS[1], workload=f"azure:file={azure},rate=24,cv=2,requests={{n}}"),
        LOADS[2],
        replace(LOADS[3], name="Mooncake", workload=f"mooncake:file={mooncake},rate=5.6,requests={{n}}"),
        replace(
            LOADS[4], name="Mooncake, half 2.2 × slower", workload=f"mooncake:file={mooncake},rate=3,requests={{n}}"
        ),
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """One policy on one load: means over seeds of TTFT p90 and TPOT p90 in seconds, and of the prefix hit ratio."""

    ttft: float
    tpot: float
    hits: float


Table = Mapping[str, Mapping[str, Figures]]
"""By load and policy."""


def measured(loads: Sequence[Load], policies: Sequence[str], requests: int, seeds: int, jobs: int | None) -> Table:
    """Play everything. Raises `InfscaleError`."""
    return {each.name: _of_load(each, policies, requests, seeds, jobs) for each in loads}


def scenario_of(workloads: Sequence[str], servers: str) -> Scenario:
    """Workloads side by side on servers, both as `infscale simulate` names them. Raises `ConfigError`."""
    chosen = choose_workload(workloads)
    kinds = server_kinds(servers, chosen.fleet.coefficients)
    room = min(each.settings(0.0).capacity_tokens for each in kinds)
    target = LoadTarget(kinds[0].coefficients.model, min(room, _LONGEST_CONTEXT))
    return Scenario(chosen.traffic(target, trace_text), kinds, destinations=2)


def _of_load(load: Load, policies: Sequence[str], requests: int, seeds: int, jobs: int | None) -> Mapping[str, Figures]:
    scenario = scenario_of([load.workload.format(n=requests)], load.servers)
    experiment = Experiment(scenario, tuple(map(_policy, policies)), tuple(range(1, seeds + 1)))
    runs = [RunSummary.of(each, scenario.goal) for each in play(experiment, jobs, Progress(load.name))]
    return {policy: _figures([each for each in runs if each.policy == policy]) for policy in policies}


def _policy(name: str) -> Policy:
    if name == oracle.NAME:
        return oracle.oracle_policy()
    return WRONG.get(name) or named_policy(name)


class Progress:
    """Says on standard error how far a load is, where that is a terminal."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, done: Done) -> None:
        if sys.stderr.isatty():
            print(f"\r{self._name}: {done.runs} of {done.of_runs} runs ", end="", file=sys.stderr, flush=True)


def _figures(runs: Sequence[RunSummary]) -> Figures:
    found = [each.classes[ALL] for each in runs]
    return Figures(
        fmean(each.ttft.p90 or math.nan for each in found),
        fmean(each.tpot.p90 or math.nan for each in found),
        fmean(each.prefix_hit_ratio or 0.0 for each in found),
    )


def markdown(table: Table) -> str:
    """The table as docs/benchmarks.md has it: TTFT p90, then TPOT p90 and the prefix hit ratio."""
    policies = list(next(iter(table.values())))
    lines = ["| load | " + " | ".join(policies) + " |", "|---|" + "---|" * len(policies)]
    for load, of in table.items():
        best = min(each.ttft for each in of.values())
        cells = []
        for policy in policies:
            figures = of[policy]
            first = f"{figures.ttft:.3g} s"
            hits = f" / {figures.hits:.0%}" if figures.hits >= 0.005 else ""
            cells.append((f"**{first}**" if figures.ttft == best else first) + f" / {figures.tpot * 1e3:.3g} ms{hits}")
        lines.append(f"| {load} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours against the others: geometric means over loads of ratios of p90, below 1 where ours is shorter.

    `best` is against the best of `OTHERS` and, of the worst load, of all; `unequal` on unequal servers alone.
    """

    ttft_reference: float
    ttft_best: float
    ttft_worst: float
    tpot_reference: float
    tpot_unequal: float

    @classmethod
    def of(cls, table: Table, loads: Sequence[Load]) -> "Comparison":
        """What `table` says of ours."""
        ours = {name: of[OURS] for name, of in table.items()}
        reference = {name: of[REFERENCE] for name, of in table.items()}
        best = {name: min(of[each].ttft for each in OTHERS) for name, of in table.items()}
        of_all = {name: min(best[name], reference[name].ttft) for name in table}
        unequal = [each.name for each in loads if each.unequal]
        return cls(
            _geometric(ours[name].ttft / reference[name].ttft for name in table),
            _geometric(ours[name].ttft / best[name] for name in table),
            max(ours[name].ttft / of_all[name] for name in table),
            _geometric(ours[name].tpot / reference[name].tpot for name in table),
            _geometric(ours[name].tpot / reference[name].tpot for name in unequal),
        )

    def lines(self) -> str:
        """In words."""
        return "\n".join(
            (
                f"TTFT p90 to the reference's: {self.ttft_reference:.2f}",
                f"TTFT p90 to the best of {', '.join(OTHERS)}: {self.ttft_best:.2f}",
                f"TTFT p90 to the best of all, where ours does worst: {self.ttft_worst:.2f}",
                f"TPOT p90 to the reference's: {self.tpot_reference:.2f}; on unequal servers {self.tpot_unequal:.2f}",
            )
        )


def beside_oracle(table: Table) -> str:
    """Ours relative to the oracle, load by load."""
    lines = ["| load | TTFT p90, ours ÷ oracle | TPOT p90, ours ÷ oracle |", "|---|---|---|"]
    for load, of in table.items():
        ours, best = of[OURS], of[oracle.NAME]
        lines.append(f"| {load} | {ours.ttft / best.ttft:.3f} | {ours.tpot / best.tpot:.3f} |")
    return "\n".join(lines)


def beside_wrong(table: Table) -> str:
    """TTFT p90 of ours with wrong models relative to the best of the others, load by load."""
    lines = ["| load | " + " | ".join(WRONG) + " | best of the others |", "|---|" + "---|" * (len(WRONG) + 1)]
    for load, of in table.items():
        best = min((REFERENCE, *OTHERS), key=lambda each: of[each].ttft)
        cells = [f"{of[each].ttft / of[best].ttft:.3f}" for each in WRONG]
        lines.append(f"| {load} | " + " | ".join(cells) + f" | {best} |")
    return "\n".join(lines)


def _geometric(ratios: Iterable[float]) -> float:
    return math.exp(fmean(math.log(each) for each in ratios))


LIMITS: Final = Comparison(0.65, 0.95, 1.10, 1.05, 1.0)
"""What the gate asks for at most: looser than what long runs give, because it plays few."""


def broken(found: Comparison, limits: Comparison = LIMITS) -> list[str]:
    """Which of the limits do not hold."""
    names = ("ttft_reference", "ttft_best", "ttft_worst", "tpot_reference", "tpot_unequal")
    return [
        f"{name} is {getattr(found, name):.3f}, at most {getattr(limits, name):.2f} is wanted"
        for name in names
        # What is not a number does not hold either.
        if not getattr(found, name) <= getattr(limits, name)
    ]


def main() -> int:
    """Print the table; 1 where the gate is asked for and does not hold."""
    parser = argparse.ArgumentParser(prog="bench.routing", description="Routing compared in virtual time.")
    parser.add_argument("--gate", action="store_true", help="few and short runs, and fail where the result is not held")
    parser.add_argument("--oracle", action="store_true", help="beside what the score does with exact engine states")
    parser.add_argument("--wrong", action="store_true", help="beside ours with latency models wrong by 60 %%")
    parser.add_argument("--traces", type=Path, metavar="FOLDER", help="az_conv.csv and mc_conv.jsonl are there")
    parser.add_argument("--requests", type=int, help="of each run (default 5000; of the gate 1500)")
    parser.add_argument("--seeds", type=int, help="of each load (default 5; of the gate 3)")
    parser.add_argument("--jobs", type=int, help="processes at once (default: one per core)")
    given = parser.parse_args()
    loads = GATED if given.gate else LOADS if given.traces is None else with_traces(given.traces)
    policies = [OURS, REFERENCE, *OTHERS, *(() if given.gate else (WITHOUT,))]
    policies += [oracle.NAME] if given.oracle else []
    policies += WRONG if given.wrong else []
    requests, seeds = given.requests or (1500 if given.gate else 5000), given.seeds or (3 if given.gate else 5)
    try:
        table = measured(loads, policies, requests, seeds, given.jobs)
    except InfscaleError as error:
        print(f"bench.routing: {error}", file=sys.stderr)
        return 2
    found = Comparison.of(table, loads)
    print(f"{markdown(table)}\n\n{found.lines()}")
    if given.oracle:
        print(f"\n{beside_oracle(table)}")
    if given.wrong:
        print(f"\n{beside_wrong(table)}")
    problems = broken(found) if given.gate else []
    for each in problems:
        print(f"not held: {each}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
