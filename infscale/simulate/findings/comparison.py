"""Policies beside one another on the same seeds: estimates, changes, and the difference in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infscale.simulate.findings.estimates import Change, Estimate
from infscale.simulate.findings.measures import MEASURES, Measure, has_goal, is_cost, known_classes
from infscale.simulate.findings.summaries import ALL, RunSummary

_LITTLE = 0.005
"""A relative change that is not worth a word."""
_TWICE = 2.0


@dataclass(frozen=True, slots=True)
class Findings:
    """The summaries of all runs: policies in the order in which they were given, each with one run per seed."""

    runs: Mapping[str, tuple[RunSummary, ...]]
    goal_is_set: bool = False

    @property
    def policies(self) -> tuple[str, ...]:
        """Their names; the first is what the others are compared with."""
        return tuple(self.runs)

    @property
    def classes(self) -> tuple[str, ...]:
        """The request classes that there are in every run, `ALL` first."""
        return known_classes(tuple(run for runs in self.runs.values() for run in runs))

    @property
    def scaled(self) -> bool:
        """Whether replicas came and went, so that what they cost differs."""
        return any(run.most_replicas is not None for runs in self.runs.values() for run in runs)

    def measures(self, name: str = ALL) -> list[Measure]:
        """Those that mean something here, of the class `name`."""
        found = [
            each for each in MEASURES if (self.goal_is_set or not has_goal(each)) and (name == ALL or not each.of_run)
        ]
        return [each for each in found if any(self._values(policy, each, name) for policy in self.runs)]

    def estimate(self, policy: str, measure: Measure, name: str = ALL) -> Estimate | None:
        """Over the seeds that have a value; None where none has."""
        values = self._values(policy, measure, name)
        return Estimate.of(list(values.values())) if values else None

    def change(self, policy: str, other: str, measure: Measure, name: str = ALL) -> Change | None:
        """How much more `policy` has than `other`, seed by seed; None where that cannot be said."""
        ours, theirs = self._values(policy, measure, name), self._values(other, measure, name)
        seeds = [seed for seed in ours if seed in theirs]
        return Change.of([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds])

    def _values(self, policy: str, measure: Measure, name: str) -> dict[int, float]:
        read = ((run.seed, measure.read(run, name)) for run in self.runs[policy])
        return {seed: value for seed, value in read if value is not None}


def spoken(change: Change, measure: Measure) -> str:
    """``23 % shorter (18 to 28 %)``; factors where a value is more than twice the other."""
    if change.low is None or change.high is None:
        return _amount(change.ratio, measure) if abs(change.ratio - 1) >= _LITTLE else "the same"
    if change.certain:
        ends = sorted((change.low, change.high), key=lambda each: abs(each - 1))
        if change.ratio > _TWICE:
            return f"{_amount(change.ratio, measure)} ({ends[0]:.1f} to {ends[1]:.1f} ×)"
        first, last = (abs(each - 1) * 100 for each in ends)
        return f"{_amount(change.ratio, measure)} ({first:.0f} to {last:.0f} %)"
    if max(change.high - 1, 1 - change.low) < 2 * _LITTLE:
        return "the same"
    return f"no certain difference ({(change.low - 1) * 100:+.0f} to {(change.high - 1) * 100:+.0f} %)"


def _amount(ratio: float, measure: Measure) -> str:
    """How much more or less, in words."""
    if ratio > _TWICE:
        return f"{ratio:.1f} × {measure.more}"
    percent = abs(ratio - 1) * 100
    return f"{percent:.{0 if percent >= 10 else 1}f} % {measure.more if ratio > 1 else measure.less}"


def verdict(findings: Findings, policy: str, other: str) -> str:
    """The difference between two policies in a sentence."""
    better: list[str] = []
    worse: list[str] = []
    headlines = [each for each in findings.measures() if each.headline or (findings.scaled and is_cost(each))]
    for measure in headlines:
        change = findings.change(policy, other, measure)
        if change is None or abs(change.ratio - 1) < _LITTLE or (not change.certain and change.low is not None):
            continue
        gained = (change.ratio > 1) == measure.more_is_better
        (better if gained else worse).append(_phrase(change, measure))
    lost = [text for each in ("refused", "failed") if (text := _more_of(findings, policy, other, each))]
    parts = [
        *(["better: " + ", ".join(better)] if better else []),
        *(["worse: " + ", ".join([*worse, *lost])] if worse or lost else []),
    ]
    if not parts:
        return f"{policy} and {other} do not differ beyond chance in what matters most"
    return f"{policy} against {other} is " + "; ".join(parts)


def _phrase(change: Change, measure: Measure) -> str:
    return f"{measure.name} {_amount(change.ratio, measure)}"


def _more_of(findings: Findings, policy: str, other: str, key: str) -> str:
    measure = next(each for each in MEASURES if each.key == key)
    ours, theirs = findings.estimate(policy, measure), findings.estimate(other, measure)
    if ours is None or theirs is None or ours.mean <= theirs.mean:
        return ""
    return f"{ours.mean - theirs.mean:.4g} more requests {key}"


def compared(findings: Findings) -> Sequence[tuple[str, str]]:
    """Each other policy with the first."""
    first, *others = findings.policies
    return [(each, first) for each in others]
