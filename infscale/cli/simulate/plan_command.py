"""``infscale plan``: what would have become of traffic with a configuration and an HPA, and with others in their place.

Exit codes: 0 done, 1 a run failed, 2 bad arguments or files, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from infscale.cli.arguments import refuse_unreadable
from infscale.cli.simulate.simulate_arguments import described, experiment
from infscale.cli.simulate.simulate_command import (
    Progress,
    add_output,
    add_scaling,
    add_world,
    asked,
    check,
    write,
)
from infscale.config.read import read_text
from infscale.documents.strict_document import load, quoted
from infscale.errors import ConfigError
from infscale.recording.pick_files import PICKS_KEY
from infscale.simulate.findings.comparison import Findings
from infscale.simulate.findings.findings_text import lines
from infscale.simulate.findings.replica_text import replicas_of
from infscale.simulate.findings.summaries import RunSummary
from infscale.simulate.many_runs import Experiment, play
from infscale.simulate.run_result import RunResult
from infscale.simulate.scenario import Goal

NOW: Final = "now"
CHANGED: Final = "changed"
_POLICY: Final = "EndpointPickerConfig"
_HPA: Final = "HorizontalPodAutoscaler"
_HEAD_BYTES: Final = 32
_PICKS_NOTE: Final = (
    "picks have no beginnings of prompts, so that requests share nothing of them here; picker.record keeps these"
)
_DESCRIPTION = (
    "Plays traffic, best your own as infscale recorded it (picker.record), to simulated servers, with an "
    "EndpointPickerConfig and an HPA just as they are applied to a cluster, and says what would have happened. With "
    "--change it does so a second time with other files in their place, and says what would have been different."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help=f"an {_POLICY} (default: the preset infscale) and a {_HPA} (default: replicas stay)",
    )
    parser.add_argument(
        "--change", nargs="+", type=Path, default=[], metavar="FILE", help="others, in place of those of their kind"
    )
    parser.add_argument("--recording", metavar="FILE", help="of picker.record, of picker.explain.file, or a trace")
    parser.add_argument(
        "--workload", action="append", metavar="NAME[:KEY=VALUE,…]", help="instead (docs/workloads.md; default chats)"
    )
    parser.add_argument(
        "--seeds", default="3", metavar="N|LIST", help="how many, or which as 3,7 (default %(default)s)"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at once (default: one per core)")
    add_world(parser)
    add_scaling(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Simulate one or both, and print what came of it."""
    check(arguments)
    _give_traffic(arguments)
    sides = _sides(arguments)
    results: dict[str, list[RunResult]] = {}
    with Progress(sys.stderr, shown=sys.stderr.isatty() and not arguments.no_tty) as progress:
        for name, side in sides.items():
            results[name] = play(side.experiment, arguments.jobs, progress.show)
    findings = _findings(sides, results)
    print(*_lines(sides, results, findings), sep="\n")
    about = {name: described(side.experiment, sys.argv[2:]) for name, side in sides.items()}
    write(arguments, about, findings, [each for found in results.values() for each in found])
    return 0


@dataclass(frozen=True, slots=True)
class _Side:
    """What is played, and the files that say so."""

    experiment: Experiment
    files: Mapping[str, Path]


def _give_traffic(arguments: argparse.Namespace) -> None:
    if arguments.recording is None:
        return
    if arguments.workload:
        raise ConfigError("arguments", "--workload", "give either a recording or workloads, not both")
    arguments.workload = [f"trace:file={arguments.recording}"]
    if _has_picks(Path(arguments.recording)):
        print(f"infscale: {_PICKS_NOTE}", file=sys.stderr)


def _has_picks(path: Path) -> bool:
    """Whether it is a file of picks; of one that cannot be read it is said elsewhere."""
    with suppress(OSError), path.open("rb") as file:
        return PICKS_KEY.encode() in file.read(_HEAD_BYTES)
    return False


def _sides(arguments: argparse.Namespace) -> dict[str, _Side]:
    """Each side by its name. Raises `ConfigError`."""
    now = _by_kind("FILE", arguments.files)
    found = {NOW: _side(arguments, NOW, now)}
    if arguments.change:
        found[CHANGED] = _side(arguments, CHANGED, {**now, **_by_kind("--change", arguments.change)})
    return found


def _side(arguments: argparse.Namespace, name: str, files: Mapping[str, Path]) -> _Side:
    given = argparse.Namespace(**vars(arguments))
    given.policy = [str(files[_POLICY])] if _POLICY in files else ["infscale"]
    given.hpa = files.get(_HPA)
    made = experiment(given)
    return _Side(replace(made, policies=tuple(replace(each, name=name) for each in made.policies)), files)


def _by_kind(flag: str, paths: Sequence[Path]) -> dict[str, Path]:
    """Files by the kind of what is in them, one of each."""
    found: dict[str, Path] = {}
    for path in paths:
        refuse_unreadable(flag, path, "arguments")
        entries = load(read_text(path), str(path)).entries()
        kind = entries["kind"].text() if "kind" in entries else ""
        if kind not in (_POLICY, _HPA):
            raise ConfigError(str(path), "kind", f"expected {_POLICY} or {_HPA}, got {quoted(kind)}")
        if kind in found:
            raise ConfigError("arguments", flag, f"{found[kind]} and {path} are both of kind {kind}")
        found[kind] = path
    return found


def _findings(sides: Mapping[str, _Side], results: Mapping[str, Sequence[RunResult]]) -> Findings:
    runs: dict[str, tuple[RunSummary, ...]] = {}
    for name, found in results.items():
        scenario = sides[name].experiment.scenario
        runs[name] = tuple(RunSummary.of(each, scenario.goal, scenario.warmup_seconds) for each in found)
    return Findings(runs, sides[NOW].experiment.scenario.goal != Goal())


def _lines(sides: Mapping[str, _Side], results: Mapping[str, Sequence[RunResult]], findings: Findings) -> Iterator[str]:
    yield asked(sides[NOW].experiment.scenario, findings)
    for name, side in sides.items():
        policy, hpa = side.files.get(_POLICY, "preset infscale"), side.files.get(_HPA, "no HPA")
        yield f"{name:<8} {policy}, {hpa}"
        if side.experiment.scenario.scaling is not None:
            yield f"{'':<8} {_replicas(results[name][0])}"
    yield ""
    yield from lines(findings)


def _replicas(result: RunResult) -> str:
    return f"{replicas_of(result.scaling)} (seed {result.seed})"
