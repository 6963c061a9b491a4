"""An inference gateway against a plain Service: what is claimed of it on four servers, 100 to 1,000 requests a second.

The claims: throughput within 1–2 %; above 500 requests a second up to 30 % less p90 latency per token; up to 15 % more
utilisation. `python -m bench.claims` plays ShareGPT-like lengths in virtual time (`infscale.simulate`) and says of each
whether it holds.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.routing import Progress, scenario_of
from infscale.errors import InfscaleError
from infscale.simulate.findings.estimates import Change, Estimate
from infscale.simulate.many_runs import Experiment, play
from infscale.simulate.policy import named_policy
from infscale.simulate.run_result import Floats, RequestTable

SERVICE: Final = "random"
"""How kube-proxy spreads the connections of a Service."""
PICKERS: Final = ("least-request", "legacy-v0.3@50ms", "infscale", "infscale@50ms")
"""A gateway that counts requests, the picker of the time when the claims were made, and ours."""
RATES: Final = (100, 300, 500, 700, 900, 1000)
SERVERS: Final = "4xllama-3.1-8b-h100@4.5"
"""An 8B model on an H100, by the published fit, is full at 55 requests a second; 4.5 times as fast, four at 1,000."""

_WARM: Final = 1 / 3
"""Share of the time of arrivals that is left out: until as many requests end as begin, and engines are known."""
_PARITY: Final = 0.02
_LATENCY: Final = 0.30
_BUSY: Final = 0.15
_NEAR: Final = 1 / 6
"""A gain within this share of the claimed one is as claimed."""


@dataclass(frozen=True, slots=True)
class Steady:
    """One run while requests arrive, after its beginning.

    `throughput` is answers per second. p90 in seconds: `tpot` per token after the first, `per_token` the whole answer's
    time by its tokens, which counts waiting, too. `busy` is the share of the servers' time with a request under way.
    """

    throughput: float
    tpot: float
    per_token: float
    busy: float

    @classmethod
    def of(cls, table: RequestTable, servers: int) -> "Steady":
        """What `table` says of `servers` servers."""
        end = float(table.arrived.max())
        begin = end * _WARM
        counts = table.answered & (table.arrived >= begin)
        ended = table.answered & (table.ended >= begin) & (table.ended < end)
        tpot = table.tpot[counts]
        return cls(
            int(np.count_nonzero(ended)) / (end - begin),
            float(np.quantile(tpot[~np.isnan(tpot)], 0.9)),
            float(np.quantile(table.e2e[counts] / table.output_tokens[counts], 0.9)),
            _busy(table, servers, begin, end),
        )


def _busy(table: RequestTable, servers: int, begin: float, end: float) -> float:
    seconds = 0.0
    for server in range(servers):
        rows = table.server == server
        seconds += covered(table.arrived[rows].clip(begin, end), table.ended[rows].clip(begin, end))
    return seconds / (servers * (end - begin))


def covered(starts: Floats, ends: Floats) -> float:
    """Seconds in which at least one of the spans lies; `starts` ascend."""
    if not len(starts):
        return 0.0
    until = np.maximum.accumulate(ends)
    gaps = (starts[1:] - until[:-1]).clip(0.0)
    return float(until[-1] - starts[0] - gaps.sum())


Runs = Mapping[int, Mapping[str, Sequence[Steady]]]
"""By rate and policy, one per seed."""
MEASURES: Final = ("throughput", "tpot", "per_token", "busy")


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is played: `seconds` of arrivals to `servers` at each rate, with so many seeds."""

    rates: Sequence[int] = RATES
    servers: str = SERVERS
    seconds: float = 7.5
    seeds: int = 5


def measured(extent: Extent, policies: Sequence[str], jobs: int | None) -> Runs:
    """Play everything. Raises `InfscaleError`."""
    found: dict[int, dict[str, list[Steady]]] = {}
    for rate in extent.rates:
        scenario = scenario_of([f"sharegpt:rate={rate},requests={int(rate * extent.seconds)}"], extent.servers)
        named = tuple(named_policy(each) for each in policies)
        results = play(Experiment(scenario, named, tuple(range(1, extent.seeds + 1))), jobs, Progress(f"{rate}/s"))
        found[rate] = {name: [] for name in policies}
        for each in results:
            found[rate][each.policy].append(Steady.of(each.requests, len(each.servers)))
    return found


def _values(runs: Sequence[Steady], measure: str) -> list[float]:
    return [float(getattr(each, measure)) for each in runs]


def change(runs: Runs, rate: int, picker: str, measure: str) -> Change | None:
    """How much more `picker` has than the Service at `rate`, seed by seed."""
    return Change.of(_values(runs[rate][picker], measure), _values(runs[rate][SERVICE], measure))


def markdown(runs: Runs) -> str:
    """A row for each rate and policy: the Service's means, and what others have more or less; 95 % intervals."""
    titles = ("answers/s", "per token p90", "answer ÷ tokens p90", "GPUs busy")
    lines = ["| requests/s | policy | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(titles)]
    for rate, of in runs.items():
        for policy in of:
            cells = [_mean(of[policy], each) if policy == SERVICE else _changed(runs, rate, policy, each)
                     for each in MEASURES]  # fmt: skip
            lines.append(f"| {rate} | `{policy}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(runs: Sequence[Steady], measure: str) -> str:
    found = Estimate.of(_values(runs, measure))
    factor, unit = {"throughput": (1.0, ""), "busy": (100.0, " %")}.get(measure, (1e3, " ms"))
    around = "" if found.half_width is None else f" ± {found.half_width * factor:.2g}"
    return f"{found.mean * factor:.4g}{around}{unit}"


def _changed(runs: Runs, rate: int, picker: str, measure: str) -> str:
    found = change(runs, rate, picker, measure)
    if found is None:
        return "–"
    words = f"{_percent(found.ratio)} %"
    if found.low is None or found.high is None:
        return words
    return f"{words} ({_percent(found.low)} to {_percent(found.high)})"


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f}"


def verdicts(runs: Runs, picker: str) -> list[str]:
    """Of each claim, whether it holds of `picker`: reproduced, surpassed, in part or refuted."""
    lines = ["throughput within 2 %: " + _parity(runs, picker)]
    for measure, name in (("tpot", "time per token"), ("per_token", "answer's time by its tokens")):
        lines.append(f"p90 {name} up to 30 % less above 500/s: " + _best(runs, picker, measure, _LATENCY, 500))
    lines.append("utilisation up to 15 % more: " + _best(runs, picker, "busy", _BUSY, 0))
    return lines


def _parity(runs: Runs, picker: str) -> str:
    """A difference counts where chance does not explain it."""
    found = [(each, rate) for rate in runs if (each := change(runs, rate, picker, "throughput"))]
    far = [each for each in found if each[0].certain and abs(each[0].ratio - 1) > _PARITY]
    furthest, rate = max(far or found, key=lambda each: abs(each[0].ratio - 1))
    words = "reproduced" if not far else "surpassed" if furthest.ratio > 1 else "refuted"
    return f"{words} ({_percent(furthest.ratio)} % at {rate}/s, the furthest)"


def _best(runs: Runs, picker: str, measure: str, claimed: float, above: int) -> str:
    """The greatest gain that chance does not explain, and what it says of the one that is claimed."""
    sign = 1 if measure == "busy" else -1
    gains = [
        (sign * (found.ratio - 1), rate)
        for rate in runs
        if rate > above and (found := change(runs, rate, picker, measure)) is not None and found.certain
    ]
    gain, rate = max(gains, default=(0.0, 0))
    if gain <= 0:
        return "refuted (no gain beyond chance)"
    words = (
        "surpassed" if gain > claimed * (1 + _NEAR) else "reproduced" if gain >= claimed * (1 - _NEAR) else "in part"
    )
    return f"{words} ({gain:.1%} at {rate}/s)"


def main() -> int:
    """Print the table and the verdicts."""
    parser = argparse.ArgumentParser(prog="bench.claims", description="The claims of a gateway, in virtual time.")
    usual = Extent()
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of arrivals in each run (default 7.5)")
    parser.add_argument("--seeds", type=int, default=usual.seeds, help="of each rate (default 5)")
    parser.add_argument("--rates", type=int, nargs="+", default=usual.rates, help="requests a second in all")
    parser.add_argument(
        "--servers", default=usual.servers, help=f"as `infscale simulate` names them (default {usual.servers})"
    )
    parser.add_argument("--jobs", type=int, help="processes at once (default: one per core)")
    given = parser.parse_args()
    extent = Extent(tuple(given.rates), given.servers, given.seconds, given.seeds)
    try:
        runs = measured(extent, (SERVICE, *PICKERS), given.jobs)
    except InfscaleError as error:
        print(f"bench.claims: {error}", file=sys.stderr)
        return 2
    print(markdown(runs))
    for picker in PICKERS:
        print(f"\n{picker}:")
        print("\n".join(f"* {each}" for each in verdicts(runs, picker)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
