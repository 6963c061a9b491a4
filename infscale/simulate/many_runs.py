"""All runs of an experiment: every policy on every seed, on as many processes as there are cores."""

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue, SimpleQueue

from infscale.errors import InfscaleError
from infscale.process.parents import die_with_parent
from infscale.simulate.policy import Policy
from infscale.simulate.run_result import RunResult
from infscale.simulate.scenario import Scenario
from infscale.simulate.simulation import simulate

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Experiment:
    """A scenario, the policies that are compared on it, and the seeds of the traffic."""

    scenario: Scenario
    policies: tuple[Policy, ...]
    seeds: tuple[int, ...]

    def runs(self) -> list[tuple[Policy, int]]:
        """Every run, those of one seed one after the other."""
        return [(policy, seed) for seed in self.seeds for policy in self.policies]


@dataclass(frozen=True, slots=True)
class Done:
    """How far an experiment is: runs that are over, of all, and requests that have ended."""

    runs: int
    of_runs: int
    requests: int


View = Callable[[Done], None]
"""Told how far it is, a few times a second; must be quick."""

_Told = int | tuple[int, RunResult | InfscaleError]
"""What a process tells: so many requests more have ended, or a run's number with what it gave."""


def play(experiment: Experiment, jobs: int | None, view: View) -> list[RunResult]:
    """Every run, in the order of `Experiment.runs`. Raises `InfscaleError`.

    `jobs` processes at once, None: one per core. When it is interrupted, nothing is left running.
    """
    count = len(experiment.runs())
    processes = min(count, jobs or len(os.sched_getaffinity(0)))
    if processes == 1:
        return _here(experiment, view)
    # Not a fork: the interpreter may have threads.
    context = multiprocessing.get_context("spawn")
    numbers: SimpleQueue[int | None] = context.SimpleQueue()
    told: Queue[_Told] = context.Queue()
    for number in range(count):
        numbers.put(number)
    workers: list[SpawnProcess] = []
    try:
        for _ in range(processes):
            numbers.put(None)
            worker = context.Process(target=_work, args=(experiment, numbers, told, os.getpid()))
            worker.start()
            workers.append(worker)
        return _gathered(count, told, workers, view)
    finally:
        for each in workers:
            each.terminate()
            each.join()


def _here(experiment: Experiment, view: View) -> list[RunResult]:
    """As `play`, in this process."""
    results: list[RunResult] = []
    runs = experiment.runs()
    before = 0

    def progress(ended: int) -> None:
        view(Done(len(results), len(runs), before + ended))

    for policy, seed in runs:
        results.append(simulate(experiment.scenario, policy, seed, progress))
        before += len(results[-1].requests)
        view(Done(len(results), len(runs), before))
    return results


def _gathered(count: int, told: "Queue[_Told]", workers: list[SpawnProcess], view: View) -> list[RunResult]:
    results: dict[int, RunResult] = {}
    requests = 0
    while len(results) < count:
        try:
            message = told.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            _check(workers)
            continue
        if isinstance(message, int):
            requests += message
        else:
            number, result = message
            if isinstance(result, InfscaleError):
                raise result
            results[number] = result
        view(Done(len(results), count, requests))
    return [results[number] for number in range(count)]


def _check(workers: list[SpawnProcess]) -> None:
    """Raise where a process ended that had more to do."""
    codes = [each.exitcode for each in workers]
    broken = next((code for code in codes if code), None)
    if broken is not None:
        raise InfscaleError(f"a process that simulated ended with code {broken}")


def _work(experiment: Experiment, numbers: "SimpleQueue[int | None]", told: "Queue[_Told]", parent: int) -> None:
    """Play runs until there are no more; in a process of its own, which `parent` has started."""
    # Ctrl-C is for the process that asked: it ends the others, which do not outlive it either.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != parent:
        # It was gone before.
        return
    runs = experiment.runs()
    while (number := numbers.get()) is not None:
        policy, seed = runs[number]
        try:
            told.put((number, simulate(experiment.scenario, policy, seed, _Counting(told).progress)))
        except InfscaleError as error:
            told.put((number, error))


class _Counting:
    """Tells how many requests have ended since it was last told."""

    def __init__(self, told: "Queue[_Told]") -> None:
        self._told = told
        self._before = 0

    def progress(self, ended: int) -> None:
        """See `Progress`."""
        self._told.put(ended - self._before)
        self._before = ended
