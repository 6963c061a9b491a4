"""How often a rollout's test is wrong, and how soon it is right: ``python -m bench.rollouts``.

Simulated rollouts of 10,000 requests, or until the new version had 500: a share goes to the new version, latencies are
lognormal, and errors are independent. An equal version must be taken for worse at most once in twenty rollouts, and a
worse one in at least 95 of 100.
"""

import argparse
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from math import cos, log, pi
from typing import Final

from infscale.rollouts.sequential_test import RequestResult, SequentialTest

MOST_NEW: Final = 500


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of two versions.

    `share` goes to the new one; `sigma` is that of the logarithm of a latency. The new version fails `failing` times as
    often, and its latencies are `slower` times the old one's. With `session` requests of the same session follow each
    other, so many, whose latencies are alike: half of the variance of their logarithms is the session's. With `drift`
    all latencies rise to so many times and fall again, every 500 requests, and at half of the new version's requests
    its share becomes one half.
    """

    share: float = 0.1
    errors: float = 0.02
    sigma: float = 0.5
    failing: float = 1.0
    slower_first: float = 1.0
    slower_tokens: float = 1.0
    new_requests: int = MOST_NEW
    session: int = 1
    drift: float = 1.0


def _result(traffic: Traffic, rng: random.Random, shift: float, *, new: bool) -> RequestResult:
    times = traffic.failing if new else 1.0
    sigma = traffic.sigma if traffic.session == 1 else traffic.sigma * 0.5**0.5
    first, tokens = (rng.lognormvariate(shift, sigma) for _ in range(2))
    to_first = 0.2 * first * (traffic.slower_first if new else 1.0)
    each = 0.02 * tokens * (traffic.slower_tokens if new else 1.0)
    duration = to_first + each * rng.lognormvariate(4.5, 0.8)
    return RequestResult(rng.uniform(0.0, 1.0) < traffic.errors * times, to_first, each, duration)


def alarmed_after(traffic: Traffic, seed: int) -> int | None:
    """After how many of the new version's requests it is taken for worse; None: not within so many."""
    rng = random.Random(seed)
    test = SequentialTest()
    active: list[tuple[bool, float, int]] = []
    share = traffic.share
    for number in count():
        if test.requests["new"] >= traffic.new_requests:
            return None
        if traffic.drift > 1.0 and test.requests["new"] > traffic.new_requests / 2:
            share = 0.5
        if len(active) < 50:
            shift = rng.gauss(0.0, traffic.sigma * 0.5**0.5) if traffic.session > 1 else 0.0
            active.append((rng.uniform(0.0, 1.0) < share, shift, traffic.session))
        new, shift, left = active.pop(rng.randrange(len(active)))
        if left > 1:
            active.append((new, shift, left - 1))
        shift += log(traffic.drift) * (0.5 - 0.5 * cos(2.0 * pi * number / 500.0))
        test.add("new" if new else "old", _result(traffic, rng, shift, new=new))
        if test.alarm is not None:
            return test.requests["new"]
    return None


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table: `worse` says whether an alarm is right."""

    name: str
    traffic: Traffic
    worse: bool


EQUAL: Final = Traffic()
CASES: Final = (
    Case("equal, 10 % to the new one", EQUAL, False),
    Case("equal, 50 %", replace(EQUAL, share=0.5), False),
    Case("equal, 10 % errors", replace(EQUAL, errors=0.1), False),
    Case("equal, 3,000 requests of the new one", replace(EQUAL, new_requests=3_000), False),
    Case("equal, latencies triple and fall, 5 % then 50 %", replace(EQUAL, share=0.05, drift=3.0), False),
    Case("equal, sessions of 10 requests that are alike", replace(EQUAL, session=10), False),
    Case("errors 10 % -> 20 %, 10 % to the new one", replace(EQUAL, errors=0.1, failing=2.0), True),
    Case("errors 7 % -> 14 %, 10 %", replace(EQUAL, errors=0.07, failing=2.0), True),
    Case("errors 5 % -> 10 %, 10 %", replace(EQUAL, errors=0.05, failing=2.0), True),
    Case("errors 2 % -> 4 %, 10 %", replace(EQUAL, errors=0.02, failing=2.0), True),
    Case("errors 10 % -> 20 %, 50 %", replace(EQUAL, errors=0.1, failing=2.0, share=0.5), True),
    Case("first token 1.3 x, sigma 0.3, 10 %", replace(EQUAL, sigma=0.3, slower_first=1.3), True),
    Case("first token 1.3 x, sigma 0.5, 10 %", replace(EQUAL, slower_first=1.3), True),
    Case("first token 1.3 x, sigma 0.8, 10 %", replace(EQUAL, sigma=0.8, slower_first=1.3), True),
    Case("first token 1.3 x, sigma 1.0, 10 %", replace(EQUAL, sigma=1.0, slower_first=1.3), True),
    Case("first token 1.3 x, sigma 0.5, 50 %", replace(EQUAL, slower_first=1.3, share=0.5), True),
    Case("first token 1.3 x, sigma 0.8, 50 %", replace(EQUAL, sigma=0.8, slower_first=1.3, share=0.5), True),
    Case("output tokens 1.3 x, sigma 0.5, 10 %", replace(EQUAL, slower_tokens=1.3), True),
)


def rows(rollouts: int, cases: tuple[Case, ...] = CASES) -> Iterator[tuple[Case, int, int | None]]:
    """Of each case how many of so many rollouts had an alarm, and the median number of requests until then."""
    for case in cases:
        found = sorted(each for each in (alarmed_after(case.traffic, seed) for seed in range(rollouts)) if each)
        yield case, len(found), found[len(found) // 2] if found else None


def main(say: Callable[[str], None] = print) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench.rollouts", description="What the test of a rollout finds, and when.")
    parser.add_argument("--count", type=int, default=1_000, help="rollouts of each case (default %(default)s)")
    rollouts: int = parser.parse_args().count
    say(f"{'':<50} {'alarms':>7} {'wanted':>8} {'requests until then':>20}")
    for case, alarms, median in rows(rollouts):
        wanted = ">= 95 %" if case.worse else "<= 5 %"
        say(f"{case.name:<50} {alarms / rollouts:>7.1%} {wanted:>8} {median if median else '-':>20}")


if __name__ == "__main__":
    main()
