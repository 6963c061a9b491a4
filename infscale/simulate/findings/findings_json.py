"""Findings as one document: what was simulated, each run, the estimates, the changes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from infscale.simulate.findings.comparison import Findings, compared, verdict
from infscale.simulate.findings.measures import MEASURES
from infscale.simulate.findings.summaries import RunSummary
from infscale.simulate.run_result import RunResult


def document(about: Mapping[str, object], findings: Findings, results: Sequence[RunResult]) -> dict[str, object]:
    """The document; `about` is what was simulated. Unknown numbers are null."""
    summaries = {(run.policy, run.seed): run for runs in findings.runs.values() for run in runs}
    return {
        "simulated": dict(about),
        "estimates": {policy: _estimates(findings, policy) for policy in findings.policies},
        "changes": [
            {
                "policy": policy,
                "compared_with": other,
                "in_words": verdict(findings, policy, other),
                "measures": _changes(findings, policy, other),
            }
            for policy, other in compared(findings)
        ],
        "runs": [_run(each, summaries[each.policy, each.seed]) for each in results],
    }


def _estimates(findings: Findings, policy: str) -> dict[str, object]:
    return {
        name: {
            measure.key: None if found is None else asdict(found)
            for measure in findings.measures(name)
            for found in (findings.estimate(policy, measure, name),)
        }
        for name in findings.classes
    }


def _changes(findings: Findings, policy: str, other: str) -> dict[str, object]:
    return {
        name: {
            measure.key: None if found is None else {**asdict(found), "certain": found.certain}
            for measure in findings.measures(name)
            for found in (findings.change(policy, other, measure, name),)
        }
        for name in findings.classes
    }


def _run(result: RunResult, summary: RunSummary) -> dict[str, object]:
    classes = {
        name: {each.key: _rounded(each.read(summary, name)) for each in MEASURES if name == "all" or not each.of_run}
        | {"requests": of_class.requests, "answered": of_class.answered, "good": of_class.good}
        for name, of_class in summary.classes.items()
    }
    return {
        "policy": result.policy,
        "seed": result.seed,
        "seconds": _rounded(result.seconds),
        "classes": classes,
        "failures": dict(summary.failures),
        "servers": [_server(each, result) for each in _records(result)],
        "replicas": [asdict(each) for each in result.scaling],
        "picker": dict(result.counts),
        "events": result.events,
        "wall_seconds": _rounded(result.wall_seconds),
    }


def _records(result: RunResult) -> list[dict[str, object]]:
    return [asdict(each) for each in result.servers]


def _server(record: dict[str, object], result: RunResult) -> dict[str, object]:
    number = next(place for place, each in enumerate(result.servers) if each.name == record["name"])
    served = int((result.requests.server == number).sum())
    return {**record, "requests": served}


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 6)
