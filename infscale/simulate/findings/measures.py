"""The measures by which policies are compared: how each is read, written and spoken of."""

from collections.abc import Callable
from dataclasses import dataclass

from infscale.simulate.findings.summaries import ALL, RunSummary


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of a table.

    `read` gives its value of one class in one run, None where there is none. `more` and `less` are the words for a
    change; `more_is_better` None: neither is. A `headline` is spoken of first. `of_run`: it is of a run, not
    of a class.
    """

    key: str
    name: str
    read: Callable[[RunSummary, str], float | None]
    write: Callable[[float], str]
    more: str = "longer"
    less: str = "shorter"
    more_is_better: bool | None = False
    headline: bool = False
    of_run: bool = False


def seconds(value: float) -> str:
    """A time with three digits."""
    if value < 0.01:
        return f"{value * 1000:.2f} ms"
    if value < 1:
        return f"{value * 1000:.{1 if value < 0.1 else 0}f} ms"
    return f"{value:.{2 if value < 10 else 1}f} s"


def _rate(value: float) -> str:
    return f"{value:.{2 if value < 100 else 0}f}/s"


def _times(kind: str, name: str, headlines: tuple[str, ...]) -> list[Measure]:
    return [
        Measure(f"{kind}_{each}_seconds", f"{name} {each}", _quantile(kind, each), seconds, headline=each in headlines)
        for each in ("p50", "p90", "p99")
    ]


def _quantile(kind: str, quantile: str) -> Callable[[RunSummary, str], float | None]:
    def read(run: RunSummary, name: str) -> float | None:
        found: float | None = getattr(getattr(run.classes[name], kind), quantile)
        return found

    return read


MEASURES: tuple[Measure, ...] = (
    *_times("ttft", "first token", ("p90",)),
    *_times("tpot", "per token", ("p90",)),
    *_times("e2e", "whole answer", ()),
    Measure(
        "throughput_rps",
        "answers",
        lambda run, name: run.classes[name].throughput_rps,
        _rate,
        "more",
        "fewer",
        True,
        headline=True,
    ),
    Measure(
        "output_tokens_per_second",
        "output tokens",
        lambda run, name: run.classes[name].output_tokens_per_second,
        lambda value: f"{value:.0f}/s",
        "more",
        "fewer",
        True,
    ),
    Measure(
        "goodput_rps",
        "within the goal",
        lambda run, name: run.classes[name].goodput_rps,
        _rate,
        "more",
        "fewer",
        True,
        headline=True,
    ),
    Measure(
        "prefix_hit_ratio",
        "prefix hits",
        lambda run, name: run.classes[name].prefix_hit_ratio,
        "{:.1%}".format,
        "more",
        "fewer",
        True,
        headline=True,
    ),
    Measure("refused", "refused", lambda run, name: float(run.classes[name].refused), "{:.4g}".format, "more", "fewer"),
    Measure("failed", "failed", lambda run, name: float(run.classes[name].failed), "{:.4g}".format, "more", "fewer"),
    Measure(
        "utilization", "GPUs busy", lambda run, _: run.utilization, "{:.1%}".format, "more", "less", None, of_run=True
    ),
    Measure(
        "gpu_seconds", "GPU seconds", lambda run, _: run.gpu_seconds, "{:.0f}".format, "more", "fewer", of_run=True
    ),
    Measure(
        "preemptions",
        "preemptions",
        lambda run, _: float(run.preemptions),
        "{:.4g}".format,
        "more",
        "fewer",
        of_run=True,
    ),
    Measure(
        "most_replicas",
        "most replicas",
        lambda run, _: None if run.most_replicas is None else float(run.most_replicas),
        "{:.4g}".format,
        "more",
        "fewer",
        None,
        of_run=True,
    ),
)
"""Every measure, in the order of tables."""


def is_cost(measure: Measure) -> bool:
    """Whether the measure is what replicas cost."""
    return measure.key == "gpu_seconds"


def has_goal(measure: Measure) -> bool:
    """Whether the measure means something only beside a goal."""
    return measure.key == "goodput_rps"


def known_classes(runs: tuple[RunSummary, ...]) -> tuple[str, ...]:
    """The classes that every run has, `ALL` first."""
    common = set.intersection(*(set(run.classes) for run in runs))
    return (ALL, *sorted(common - {ALL}))
