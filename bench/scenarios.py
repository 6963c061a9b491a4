"""The demo's scenarios in virtual time, and whether what infscale promises of them holds.

`python -m bench.scenarios` plays each, with the reference's flow control and infscale's, and prints the figures; with
``--gate`` it fails where one of the limits does not hold.
"""

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.routing import Progress
from infscale.demo.scenarios.compared_figures import text
from infscale.demo.scenarios.contenders import ALONE, AT_ONCE, OURS, REFERENCE
from infscale.demo.scenarios.figures import Figures
from infscale.demo.scenarios.scenario_plan import PLANS
from infscale.errors import InfscaleError
from infscale.simulate.many_runs import Experiment, play
from infscale.simulate.named_scenarios import contending_policy, found_in, named_plan, planned_scenario

_STRETCH: Final = 2.0
_SEEDS: Final = (1, 2)
_SHORT_SEEDS: Final = (1, 2, 3, 4, 5, 6)
"""Of a scenario that is so short that chance would decide."""

Found = Mapping[str, Figures]
"""By contender."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What must hold of a scenario: a number of its figures is `most` at most. None, or no number, does not hold."""

    scenario: str
    name: str
    read: Callable[[Found], float | None]
    most: float

    def broken(self, found: Found) -> str | None:
        """What does not hold, None where it does."""
        value = self.read(found)
        if value is not None and value <= self.most:
            return None
        said = "unknown" if value is None else f"{value:.3g}"
        return f"{self.scenario}: {self.name} is {said}, at most {self.most:g} is wanted"


def _ratio(
    read: Callable[[Figures], float | None], other: str, *, less: bool = True
) -> Callable[[Found], float | None]:
    """Ours ÷ the other's, or the other way round where more is better."""

    def ratio(found: Found) -> float | None:
        over, under = read(found[OURS if less else other]), read(found[other if less else OURS])
        return None if over is None or not under else over / under

    return ratio


def _not_answered(found: Found) -> float:
    return float(found[OURS].requests - found[OURS].answered)


def _slowest_wake(found: Found) -> float | None:
    return max((math.inf if each is None else each for each in found[OURS].first_answers), default=None)


LIMITS: Final = (
    Limit("overload", "requests not answered", _not_answered, 0),
    Limit("overload", "interactive p90 ÷ alone", lambda found: found[OURS].slowdown, 1.2),
    Limit("overload", "interactive p90 ÷ the reference's", _ratio(lambda one: one.interactive_p90, REFERENCE), 0.2),
    Limit("overload", "newcomer's distance from its half", lambda found: found[OURS].share_error, 0.05),
    Limit("overload", "the reference's output ÷ ours", _ratio(lambda one: one.tokens_per_second, REFERENCE, less=False),
          1.9),
    Limit("scale-from-zero", "requests not answered", _not_answered, 0),
    Limit("scale-from-zero", "seconds to the first answer", _slowest_wake, 6.0),
    Limit("sessions", "requests not answered", _not_answered, 0),
    Limit("sessions", "moves of a session in the restart", lambda found: float(found[OURS].most_moves), 1),
    Limit("sessions", "moves ÷ the reference's", _ratio(lambda one: float(one.moves), REFERENCE), 1.0),
    Limit("sessions", "the reference's prefix hits ÷ ours", _ratio(lambda one: one.hit_ratio, REFERENCE, less=False),
          1.1),
    Limit("drain", "requests not answered", _not_answered, 0),
    Limit("drain", "moves of a session as servers leave", lambda found: float(found[OURS].most_moves), 1),
    Limit("fallback", "not answered ÷ without", _ratio(lambda one: float(one.requests - one.answered), ALONE), 0.3),
    # Without, what waited for longest is not in it: it was not answered.
    Limit("fallback", "p90 ÷ without", _ratio(lambda one: one.ttft_p90, ALONE), 1.0),
    Limit("surge", "requests not answered", _not_answered, 0),
    Limit("surge", "p90 ÷ sent at once", _ratio(lambda one: one.ttft_p90, AT_ONCE), 0.5),
)  # fmt: skip
"""Looser than what was measured: few seeds are played."""


def played(name: str, stretch: float, seeds: Sequence[int], jobs: int | None) -> Found:
    """The figures of each contender. Raises `InfscaleError`."""
    plan = named_plan(name, stretch)
    policies = tuple(contending_policy(each) for each in plan.contenders)
    return found_in(plan, play(Experiment(planned_scenario(plan), policies, tuple(seeds)), jobs, Progress(name)))


def broken(name: str, found: Found, limits: Sequence[Limit] = LIMITS) -> list[str]:
    """Which limits of the scenario do not hold."""
    said = [each.broken(found) for each in limits if each.scenario == name]
    return [each for each in said if each is not None]


def main() -> int:
    """Print the figures; 1 where the gate is asked for and does not hold."""
    parser = argparse.ArgumentParser(prog="bench.scenarios", description="The demo's scenarios in virtual time.")
    parser.add_argument("--gate", action="store_true", help="fail where a limit does not hold")
    parser.add_argument("--stretch", type=float, default=_STRETCH, help="so many times as long as the demo's")
    parser.add_argument("--only", choices=[*PLANS], help="this one alone")
    parser.add_argument("--jobs", type=int, help="processes at once (default: one per core)")
    given = parser.parse_args()
    problems: list[str] = []
    for name in [given.only] if given.only else PLANS:
        try:
            found = played(name, given.stretch, _SHORT_SEEDS if name == "surge" else _SEEDS, given.jobs)
        except InfscaleError as error:
            print(f"bench.scenarios: {error}", file=sys.stderr)
            return 2
        print(name, *text(name, found, OURS), "", sep="\n", flush=True)
        problems += broken(name, found) if given.gate else []
    for each in problems:
        print(f"not held: {each}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
