"""`python -m bench.tenant_shares`: what two tenants get of a full pool, minute by minute, one asking ten times as much.

Counted are tokens as the simulated engines compute them: those of a prompt that were not cached, when its first token
is there, and those of an answer as they come. Both tenants ask for the same kinds of prompts and answers, so that
tokens stand for GPU time. One is there from the beginning, the other comes after a minute.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import Lengths, Shape
from infscale.sim.load.group_load import GroupLoad
from infscale.sim.load.mixed_load import MixedLoad
from infscale.sim.load.traffic import LoadTarget
from infscale.simulate.policy import named_policy
from infscale.simulate.run_result import Floats, RequestTable
from infscale.simulate.scenario import Scenario, ServerKind
from infscale.simulate.simulation import simulate

WINDOW_SECONDS: Final = 60.0
MOST_OFF: Final = 0.05
"""How far a share may be from that of the tenant's weight, of the whole."""
GREEDY: Final = "greedy"
NEWCOMER: Final = "newcomer"
_DEMAND_RATIO: Final = 10.0


@dataclass(frozen=True, slots=True)
class Setting:
    """A pool, and the rate per second at which the newcomer asks, which alone is more than its share."""

    rate: float
    servers: int = 1
    speed: float = 1.0
    windows: int = 3
    output_tokens: float = 250.0

    def scenario(self, weights: Mapping[str, float]) -> Scenario:
        """Both tenants in one band."""
        kind = ServerKind(coefficient_set("llama-3.1-8b-h100"), self.speed)
        parts = tuple(
            self._load(kind.coefficients.model, one, rate)
            for one, rate in ((GREEDY, self._greedy()), (NEWCOMER, self._newcomer()))
        )
        return Scenario(
            MixedLoad(parts),
            (kind,) * self.servers,
            weights=weights,
        )

    def _greedy(self) -> tuple[float, ...]:
        return (_DEMAND_RATIO * self.rate,) * (self.windows + 1)

    def _newcomer(self) -> tuple[float, ...]:
        return 0.0, *(self.rate,) * self.windows

    def _load(self, model: str, tenant: str, rates: tuple[float, ...]) -> GroupLoad:
        arrivals = Arrivals(WINDOW_SECONDS * (self.windows + 1), rates)
        target = LoadTarget(model, tenant=tenant)
        question = Lengths(Shape.LOGNORMAL, 1_500.0, 800.0, most=6_000.0)
        output = Lengths(Shape.LOGNORMAL, self.output_tokens, 0.5 * self.output_tokens, most=4.0 * self.output_tokens)
        return GroupLoad(target, arrivals, question, output, users=1_000)


def shares(requests: RequestTable, windows: int) -> list[float]:
    """Of the tokens of each window from the newcomer's arrival on, its share."""
    found: list[float] = []
    newcomer = requests.tenant == requests.tenants.index(NEWCOMER)
    for number in range(windows):
        begin = WINDOW_SECONDS * (number + 1)
        tokens = tokens_within(requests, begin, begin + WINDOW_SECONDS)
        found.append(float(tokens[newcomer].sum() / tokens.sum()))
    return found


def tokens_within(requests: RequestTable, begin: float, end: float) -> Floats:
    """What engines computed of each request between two seconds of the run."""
    first = np.where(np.isnan(requests.first), np.inf, requests.first)
    prompts = (requests.prompt_tokens - requests.cached_tokens) * ((first >= begin) & (first < end))
    took = np.maximum(requests.ended - first, 1e-9)
    within = np.clip(np.minimum(requests.ended, end) - np.maximum(first, begin), 0.0, took)
    tokens: Floats = np.where(np.isfinite(first), prompts + requests.output_tokens * within / took, 0.0)
    return tokens


def rows(
    setting: Setting, seeds: Sequence[int], policy: str = "infscale@queued"
) -> Iterator[tuple[str, float, list[float]]]:
    """For equal weights and for 2:1, seed by seed: a label, the share by weight, and the shares of the windows."""
    for label, weight in (("1:1", 1.0), ("2:1", 2.0)):
        for seed in seeds:
            result = simulate(setting.scenario({NEWCOMER: weight, GREEDY: 1.0}), named_policy(policy), seed)
            yield f"{label}, seed {seed}", weight / (weight + 1.0), shares(result.requests, setting.windows)


def main() -> int:
    """Print the table; 1 where a share is further off than it may be."""
    parser = argparse.ArgumentParser(prog="bench.tenant_shares", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rate", type=float, default=18.0, help="requests per second of the newcomer")
    parser.add_argument("--policy", default="infscale@queued")
    given = parser.parse_args()
    setting, off = Setting(given.rate), 0.0
    print("| weights | by weight | " + " | ".join(f"minute {number + 1}" for number in range(setting.windows)) + " |")
    print("|---|---|" + "---|" * setting.windows)
    for label, wanted, found in rows(setting, range(1, given.seeds + 1), given.policy):
        off = max(off, *(abs(each - wanted) for each in found))
        print(f"| {label} | {wanted:.3f} | " + " | ".join(f"{each:.3f}" for each in found) + " |", flush=True)
    print(f"\nFurthest off: {off:.3f} of the whole")
    return int(off > MOST_OFF)


if __name__ == "__main__":
    sys.exit(main())
