"""`python -m bench.engine_fidelity FILE`: what simulated engines make of measurements in a closed loop.

FILE is what `bench.step_priors` reads. Each group of measurements gets the step model that is fitted to it. An engine
with these steps then answers as many clients as were measured, with the same lengths, and its times are compared with
the measured ones.
"""

import argparse
import csv
import statistics
import sys
from collections.abc import Sequence
from heapq import heappop, heappush
from pathlib import Path
from random import Random

from bench.step_priors import groups_of
from infscale.latency.closed_loop import ClosedLoopPoint, fitted
from infscale.latency.step_model import StepModel
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import Recorder
from infscale.sim.engine.steps import EngineRequest, EngineSettings, FinishedRequest
from infscale.sim.engine.virtual_engine import VirtualEngine

BATCHED_TOKENS = 8192
"""The prompt tokens of one step at most, which the measurements do not say: vLLM's default for servers."""
_ROUNDS = 2


def simulated(model: StepModel, point: ClosedLoopPoint, rng: Random | None) -> tuple[float, float]:
    """Mean times to the first token and per output token of an engine in the same closed loop, in seconds.

    Clients begin at random within the time of one answer; without `rng` all at once, and then go on in waves. What is
    answered first is left out: meanwhile fewer than all of them ask.
    """
    clients, prompt, output = int(point.concurrency), int(point.input_tokens), int(point.output_tokens)
    settings = EngineSettings(
        num_blocks=2 * clients * -(-(prompt + output) // 16),
        max_num_seqs=clients,
        max_num_batched_tokens=max(BATCHED_TOKENS, clients),
    )
    subject = VirtualEngine(Engine(settings, model), Recorder(prompt + output))
    spread = output * model.seconds(*point.step)
    starts: list[float] = []
    for _ in range(clients):
        heappush(starts, 0.0 if rng is None else rng.uniform(0.0, spread))
    asked = clients
    finished: list[FinishedRequest] = []
    while len(finished) < (_ROUNDS + 1) * clients:
        now = min(subject.wake_at, starts[0]) if starts else subject.wake_at
        done = subject.advance(now).finished
        finished += done
        while starts and starts[0] <= now:
            subject.submit(EngineRequest(len(starts), prompt, output), heappop(starts))
        for _ in done:
            subject.submit(EngineRequest(asked + 1, prompt, output), now)
            asked += 1
    kept = finished[clients:]
    first = [each.first_token_at - each.arrived_at for each in kept]
    rest = [(each.finished_at - each.first_token_at) / max(1, output - 1) for each in kept]
    return statistics.fmean(first), statistics.fmean(rest)


def errors(points: Sequence[ClosedLoopPoint], rng: Random | None) -> list[tuple[float, float]]:
    """Of each point, by the model that is fitted to all of them: relative errors of TTFT and TPOT."""
    model = fitted(points)
    found: list[tuple[float, float]] = []
    for point in points:
        first, rest = simulated(model, point, rng)
        found.append((first / point.ttft_seconds - 1.0, rest / point.tpot_seconds - 1.0))
    return found


def main() -> int:
    """Print a line for each group, and the errors over all of them."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.engine_fidelity", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("file", type=Path, help="CSV of measurements")
    parser.add_argument("--at-once", action="store_true", help="all clients begin at the same time")
    arguments = parser.parse_args()
    try:
        with arguments.file.open(encoding="utf-8", newline="") as file:
            groups = groups_of(csv.DictReader(file))
    except (OSError, KeyError, ValueError) as error:
        print(f"the measurements cannot be read: {error!r}", file=sys.stderr)
        return 1
    if not groups:
        print("no group of measurements has enough points", file=sys.stderr)
        return 1
    all_first: list[float] = []
    all_rest: list[float] = []
    medians: list[float] = []
    for key, points in groups.items():
        found = errors(points, None if arguments.at_once else Random(0))
        rest = [abs(each) for _, each in found]
        all_first += [each for each, _ in found]
        all_rest += rest
        medians.append(statistics.median(rest))
        print(
            f"{medians[-1]:6.1%} of TPOT at the median of {len(points):3} points: {' '.join(filter(None, key))}",
            flush=True,
        )
    print(f"{len(groups)} groups, {len(all_rest)} points")
    for name, values in (("TPOT, medians of groups", medians), ("TPOT", all_rest)):
        tenth = statistics.quantiles(values, n=10, method="inclusive")
        print(f"{name}: median {statistics.median(values):.1%}, p90 {tenth[-1]:.1%}")
    off = statistics.median([abs(each) for each in all_first])
    print(f"TTFT: median {off:.1%}, with its sign {statistics.median(all_first):+.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
