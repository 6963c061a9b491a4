"""Findings for people: the difference in words, then the numbers, in lines of at most 80 columns."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from infscale.simulate.findings.comparison import Findings, compared, spoken, verdict
from infscale.simulate.findings.estimates import Estimate
from infscale.simulate.findings.measures import Measure
from infscale.simulate.findings.summaries import ALL

WIDTH = 80
_NAMES = 17
_SIDE_BY_SIDE = 4


def lines(findings: Findings) -> Iterator[str]:
    """Everything there is to say."""
    for policy, other in compared(findings):
        yield from wrap(f"{verdict(findings, policy, other)}.", WIDTH, break_long_words=False)
        yield from _changes(findings, policy, other)
        yield ""
    for name in findings.classes:
        for first in range(0, len(findings.policies), _SIDE_BY_SIDE):
            yield from _table(findings, findings.policies[first : first + _SIDE_BY_SIDE], name)
            yield ""
    seeds = len(next(iter(findings.runs.values())))
    chance = "± is the 95 % interval of the mean over seeds" if seeds > 1 else "one seed: nothing is known of chance"
    yield f"{seeds} seed{'s' * (seeds > 1)}; {chance}"
    yield from _failures(findings)


def _changes(findings: Findings, policy: str, other: str) -> Iterator[str]:
    for measure in findings.measures():
        change = findings.change(policy, other, measure)
        ours, theirs = findings.estimate(policy, measure), findings.estimate(other, measure)
        if change is None or ours is None or theirs is None or measure.more_is_better is None:
            continue
        values = f"{measure.write(ours.mean)}, not {measure.write(theirs.mean)}"
        yield f"  {measure.name:<{_NAMES}}{spoken(change, measure):<39}{values:>22}"


def _table(findings: Findings, policies: Sequence[str], name: str) -> Iterator[str]:
    width = (WIDTH - _NAMES) // max(2, len(policies))
    heads = [wrap(each, width - 2, break_on_hyphens=True) for each in policies]
    title = "" if name == ALL else name
    for place in range(max(map(len, heads))):
        cells = [head[place] if place < len(head) else "" for head in heads]
        yield f"{title if place == 0 else '':<{_NAMES}}" + "".join(f"{cell:>{width}}" for cell in cells)
    for measure in findings.measures(name):
        cells = [_cell(findings.estimate(policy, measure, name), measure) for policy in policies]
        yield f"{measure.name:<{_NAMES}}" + "".join(f"{cell:>{width}}" for cell in cells)


def _cell(estimate: Estimate | None, measure: Measure) -> str:
    if estimate is None:
        return "–"
    text = measure.write(estimate.mean)
    if not estimate.half_width:
        return text
    share = estimate.half_width / abs(estimate.mean) if estimate.mean else 0.0
    return f"{text} ±{share * 100:.0f} %"


def _failures(findings: Findings) -> Iterator[str]:
    for policy, runs in findings.runs.items():
        causes: dict[str, int] = {}
        for run in runs:
            for cause, count in run.failures.items():
                causes[cause] = causes.get(cause, 0) + count
        if causes:
            words = ", ".join(
                f"{count} × {cause}" for cause, count in sorted(causes.items(), key=lambda each: -each[1])
            )
            yield from wrap(f"not answered by {policy}, all seeds: {words}", WIDTH)
