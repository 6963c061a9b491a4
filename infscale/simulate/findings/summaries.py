"""One run in numbers, whole and by request class."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infscale.demo.report import Quantiles
from infscale.simulate.run_result import Floats, RequestTable, RunResult
from infscale.simulate.scenario import Goal

ALL = "all"
"""The name of all classes together."""


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """Requests of one class, or of all, in one run.

    Rates are over the seconds from the first second that counts to the last end. `prefix_hit_ratio` is what engines
    had cached of the prompts that were answered, None without any. `good` are those that were answered within the
    goal; where there is none, all that were answered.
    """

    requests: int
    answered: int
    refused: int
    failed: int
    good: int
    throughput_rps: float
    goodput_rps: float
    output_tokens_per_second: float
    prefix_hit_ratio: float | None
    ttft: Quantiles
    tpot: Quantiles
    e2e: Quantiles

    @property
    def good_ratio(self) -> float:
        """Share of the requests that were answered within the goal."""
        return self.good / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run: by class, `ALL` among them, and what its servers did; `most_replicas` is None without an HPA."""

    policy: str
    seed: int
    seconds: float
    classes: Mapping[str, ClassSummary]
    failures: Mapping[str, int]
    utilization: float
    gpu_seconds: float
    preemptions: int
    most_replicas: int | None

    @classmethod
    def of(cls, result: RunResult, goal: Goal, warmup_seconds: float = 0.0) -> "RunSummary":
        """The summary of `result`."""
        table = result.requests
        seconds = float(table.ended.max()) - warmup_seconds if len(table) else 0.0
        everything = np.ones(len(table), dtype=np.bool_)
        classes = {ALL: _class(table, everything, goal, seconds)}
        if len(table.classes) > 1:
            for place, name in enumerate(table.classes):
                classes[name] = _class(table, table.request_class == place, goal, seconds)
        counted = {name: int(np.count_nonzero(table.failure == place)) for place, name in enumerate(table.failures)}
        return cls(
            result.policy,
            result.seed,
            seconds,
            classes,
            counted,
            result.utilization(),
            result.gpu_seconds(),
            sum(each.preemptions for each in result.servers),
            max((each.after for each in result.scaling), default=None),
        )


def _class(table: RequestTable, rows: NDArray[np.bool_], goal: Goal, seconds: float) -> ClassSummary:
    answered = rows & table.answered
    good = int(np.count_nonzero(answered & _within(table.ttft, goal.ttft) & _within(table.tpot, goal.tpot)
                                & _within(table.e2e, goal.e2e)))  # fmt: skip
    prompt = int(table.prompt_tokens[answered].sum())
    count, refused = int(np.count_nonzero(answered)), int(np.count_nonzero(rows & table.refused))
    requests = int(np.count_nonzero(rows))
    per_second = 1.0 / seconds if seconds > 0 else 0.0
    return ClassSummary(
        requests,
        count,
        refused,
        requests - count - refused,
        good,
        count * per_second,
        good * per_second,
        int(table.output_tokens[answered].sum()) * per_second,
        int(table.cached_tokens[answered].sum()) / prompt if prompt else None,
        _quantiles(table.ttft[answered]),
        _quantiles(table.tpot[answered]),
        _quantiles(table.e2e[answered]),
    )


def _quantiles(seconds: Floats) -> Quantiles:
    return Quantiles.of(seconds[~np.isnan(seconds)].tolist())


def _within(seconds: Floats, goal: float | None) -> NDArray[np.bool_]:
    """Those within `goal`; where nothing was to be measured, nothing was too late."""
    if goal is None:
        return np.ones(len(seconds), dtype=np.bool_)
    return np.isnan(seconds) | (seconds <= goal)
