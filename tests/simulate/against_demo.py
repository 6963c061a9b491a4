"""The same traffic in virtual time and in the demo: ``python -m tests.simulate.against_demo [--trace FILE]``.

The demo plays it in real time, with processes, sockets and a real Envoy; it takes a minute and a half, and a machine
that has nothing else to do. Both should agree within 10 % in p50 and p90.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from infscale.cli.demos.demo import play
from infscale.demo.plan import DemoOptions, DemoPlan, make_plan
from infscale.demo.report import PhaseSummary
from infscale.demo.view import PlainView
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.http.completions import CompletionCall, parse_call
from infscale.sim.load.load_requests import LoadRequest
from infscale.sim.load.virtual_request import OpenStream, RequestClass, RequestStream, VirtualRequest
from infscale.simulate.findings.summaries import ALL, RunSummary
from infscale.simulate.policy import named_policy
from infscale.simulate.scenario import Goal, Scenario, ServerKind
from infscale.simulate.simulation import simulate
from picker.parsing import ParserTable, parse_body
from picker.parsing.table import DEFAULT_TYPES

POLICIES = {"round robin": "round-robin", "reference": "reference", "infscale": "infscale"}
MOST = 0.1
"""How far a ratio may be from 1."""


class SentRequest:
    """A request of the demo as a virtual one: what is read of its body is read from its body."""

    def __init__(self, number: int, sent: LoadRequest, parsers: ParserTable) -> None:
        route = parsers.route(sent.path)
        if route is None:
            raise ValueError(f"no parser takes {sent.path}")
        self._parsed = parsed = parse_body(route, sent.body)
        self._call: CompletionCall = parse_call(sent.body, "chat" in sent.path)
        self.number = number
        self.at_seconds = sent.at_seconds
        self.path = sent.path
        self.api = parsed.api
        self.model = parsed.model
        self.lora = None
        self.request_class = RequestClass.INTERACTIVE
        self.prompt_tokens = parsed.prompt_tokens
        self.max_output_tokens = parsed.max_output_tokens
        self.output_tokens = self._call.output_tokens(1)
        self.engine_prompt_tokens = self._call.prompt_tokens

    def prompt(self) -> bytes:
        return self._parsed.prompt

    def block_hashes(self, block_tokens: int) -> tuple[int, ...]:
        return self._call.block_hashes(block_tokens, "")


@dataclass(frozen=True)
class SentTraffic:
    """The demo's traffic."""

    requests: tuple[LoadRequest, ...]

    def description(self) -> Mapping[str, object]:
        return {"kind": "a demo's"}

    def stream(self, rng: random.Random) -> RequestStream:
        return OpenStream(self._requests())

    def _requests(self) -> Iterator[VirtualRequest]:
        parsers = ParserTable.of(DEFAULT_TYPES)
        for number, sent in enumerate(self.requests):
            # It has all that is asked of a virtual request here.
            yield cast("VirtualRequest", SentRequest(number, sent, parsers))


def simulated(plan: DemoPlan, policy: str) -> RunSummary:
    """What virtual time makes of the demo's traffic, on its servers and with its settings."""
    servers = (ServerKind(coefficient_set(plan.coefficients)),) * len(plan.names)
    scenario = Scenario(
        SentTraffic(plan.requests), servers, scrape_seconds=0.25, destinations=2, patience_seconds=180.0
    )
    return RunSummary.of(simulate(scenario, named_policy(policy), plan.seed), Goal())


def main(arguments: Sequence[str]) -> int:
    """Play both and print them beside one another; 1 where they differ by more than that."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    plan = make_plan(DemoOptions(Path("unused.json"), given.seconds, None, None, given.seed, given.trace))
    with PlainView(print) as view:
        report = asyncio.run(play(plan, view))
    worst = 0.0
    for name, policy in POLICIES.items():
        real, virtual = PhaseSummary.of(report.phases[name].outcomes), simulated(plan, policy).classes[ALL]
        print(f"\n{name}: {real.failed} failed, sent up to {real.lag.p99 or 0:.3f} s late (p99)")
        for kind in ("ttft", "tpot"):
            there, here = getattr(real, kind), getattr(virtual, kind)
            for each in ("p50", "p90"):
                demo, mine = getattr(there, each), getattr(here, each)
                worst = max(worst, abs(mine / demo - 1))
                print(f"  {kind} {each}  demo {demo:.4f} s  simulate {mine:.4f} s  ratio {mine / demo:.3f}")
        print(f"  prefix hits  demo {real.prefix_hit_ratio or 0:.3f}  simulate {virtual.prefix_hit_ratio or 0:.3f}")
    print(f"\nthe largest difference is {worst:.1%}")
    return 1 if worst > MOST else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
