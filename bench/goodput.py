"""What flow control gets through at twice the load that a pool can bear, beside the best static limit.

Goodput is the requests of each second of the load that were answered within what they asked for: both the time to
their first token and the mean time per further token. Both follow from the engine's model, and so does what the pool
can bear, so that a setting which suits one engine does not suit another. The product has none. A static limit is the
reference's: at most so many requests in flight per endpoint (`concurrency-detector`), the others wait in order of
their deadlines for half of the time that they have; it is swept, and the best of each engine is compared with.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from bench.routing import Progress, scenario_of
from bench.wrong_models import Unknown, wrong_policy
from infscale.errors import InfscaleError
from infscale.sim.engine.coefficients import CoefficientSet, coefficient_set
from infscale.simulate.findings.summaries import ALL, RunSummary
from infscale.simulate.many_runs import Experiment, play
from infscale.simulate.policy import Policy, named_policy
from infscale.simulate.scenario import Goal, Scenario

ENGINES: Final = ("llama-3.1-8b-h100", "llama-3.1-8b-a100", "qwen3-32b-h100-tp2", "llama-3.3-70b-h100-tp4")
LIMITS: Final = (4, 8, 16, 32, 64, 128, 256)
SERVERS: Final = 4
OVERLOAD: Final = 2.0
PRODUCT: Final = "infscale@queued"
COLD: Final = "infscale@queued, steps unknown"

_PROMPT_TOKENS: Final = 1_230.0
_ANSWER_TOKENS: Final = 219.0
"""Means of the workload `conversation`."""
_FIRST_TOKEN: Final = 20.0
_EACH_TOKEN: Final = 3.0
"""Goals: a first token within so many times what a mean prompt takes alone, each further one within so many times the
base of a step."""
_STATIC: Final = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- type: marginal-cost-scorer
- type: approx-prefix-cache-producer
- {{type: concurrency-detector, parameters: {{maxConcurrency: {limit}}}}}
- type: slo-deadline-ordering-policy
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
  - {{pluginRef: marginal-cost-scorer}}
  - {{pluginRef: max-score-picker}}
flowControl:
  defaultRequestTTL: {patience}
  saturationDetector: {{pluginRef: concurrency-detector}}
  defaultPriorityBand: {{orderingPolicyRef: slo-deadline-ordering-policy}}
"""


@dataclass(frozen=True, slots=True)
class Bearable:
    """What one server bears within a goal: so many requests a second."""

    goal: Goal
    requests_per_second: float

    @classmethod
    def of(cls, engine: CoefficientSet) -> "Bearable":
        """By its model: answers end as fast as requests come, and a step computes prompts beside its batch."""
        base, prefill, kv, sequence = engine.steps.coefficients[:4]
        first, each = _FIRST_TOKEN * (base + prefill * _PROMPT_TOKENS), _EACH_TOKEN * base
        context = _PROMPT_TOKENS + 0.5 * _ANSWER_TOKENS
        # Sequences of a batch whose step takes as long as a token may: each adds itself, and its share of a prompt.
        of_one = sequence + kv * context + prefill * _PROMPT_TOKENS / _ANSWER_TOKENS
        batch = min((each - base) / of_one, engine.num_blocks * engine.block_size / context)
        return cls(Goal(ttft=first, tpot=each), batch / (_ANSWER_TOKENS * each))


def scenario(name: str, seconds: float) -> Scenario:
    """Twice what servers of one kind bear, for so many seconds. Raises `ConfigError`."""
    rate = asked(name)
    workload = f"conversation:rate={rate:.3g},requests={round(rate * seconds)}"
    goal = Bearable.of(coefficient_set(name)).goal
    return replace(scenario_of([workload], f"{SERVERS}x{name}"), goal=goal, goal_headers=True)


def asked(name: str) -> float:
    """Requests a second that servers of one kind are asked."""
    return OVERLOAD * SERVERS * Bearable.of(coefficient_set(name)).requests_per_second


def static_policy(limit: int, goal: Goal) -> Policy:
    """At most `limit` requests in flight per endpoint; the rest waits for half of the time that it has."""
    text = _STATIC.format(limit=limit, patience=f"{round(500 * (goal.ttft or 0.0))}ms")
    return Policy(f"at most {limit}", text, f"at most {limit}")


Table = Mapping[str, Mapping[str, float]]
"""Goodput by engine and policy, requests a second."""


def measured(engines: Sequence[str], seconds: float, seeds: Sequence[int], jobs: int | None) -> Table:
    """Play everything. Raises `InfscaleError`."""
    return {name: _of_engine(name, seconds, seeds, jobs) for name in engines}


def _of_engine(name: str, seconds: float, seeds: Sequence[int], jobs: int | None) -> Mapping[str, float]:
    played = scenario(name, seconds)
    policies = [named_policy(PRODUCT), replace(wrong_policy(PRODUCT, Unknown()), name=COLD)]
    policies += [static_policy(limit, played.goal) for limit in LIMITS]
    runs = play(Experiment(played, tuple(policies), tuple(seeds)), jobs, Progress(name))
    found = [RunSummary.of(each, played.goal) for each in runs]
    return {
        policy.name: asked(name) * fmean(each.classes[ALL].good_ratio for each in found if each.policy == policy.name)
        for policy in policies
    }


def best(of: Mapping[str, float]) -> str:
    """The static limit with the most goodput."""
    return max([name for name in of if name not in (PRODUCT, COLD)], key=of.__getitem__)


def markdown(table: Table) -> str:
    """The table as docs/benchmarks.md has it."""
    limits = [str(limit) for limit in LIMITS]
    lines = [
        "| engine | asked /s | goals | infscale | steps unknown | " + " | ".join(limits) + " | infscale ÷ best |",
        "|---|---|---|---|---|" + "---|" * (len(limits) + 1),
    ]
    for name, of in table.items():
        found = Bearable.of(coefficient_set(name))
        most, ours = best(of), of[PRODUCT]
        cells = [
            f"{asked(name):.3g}",
            f"{_ms(found.goal.ttft)}, {_ms(found.goal.tpot)}",
            f"{ours:.3g}",
            f"{of[COLD]:.3g}",
        ]
        cells += [_cell(of[each], best=each == most) for each in (f"at most {limit}" for limit in limits)]
        lines.append(f"| {name} | {' | '.join(cells)} | {ours / of[most]:.2f} |")
    return "\n".join(lines)


def _cell(goodput: float, *, best: bool) -> str:
    return f"**{goodput:.3g}**" if best else f"{goodput:.3g}"


def _ms(seconds: float | None) -> str:
    return f"{1000 * (seconds or 0.0):.0f} ms"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench.goodput", description="Goodput at twice the load, in virtual time.")
    parser.add_argument("--engines", nargs="+", default=ENGINES, metavar="SET", help="coefficient sets")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run (default 60)")
    parser.add_argument("--seeds", type=int, default=3, help="of each engine (default 3)")
    parser.add_argument("--jobs", type=int, help="processes at once (default: one per core)")
    given = parser.parse_args()
    try:
        table = measured(given.engines, given.seconds, range(1, given.seeds + 1), given.jobs)
    except InfscaleError as error:
        print(f"bench.goodput: {error}", file=sys.stderr)
        return 2
    print(markdown(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
