"""``infscale simulate``: traffic, servers and the product in virtual time, and policies compared on them.

Exit codes: 0 done, 1 a run failed, 2 bad arguments or files, 130 interrupted.
"""

import argparse
import os
import platform
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

import orjson

from infscale import __version__
from infscale.cli.simulate.scenario_command import refuse_others, simulated
from infscale.cli.simulate.simulate_arguments import described, experiment
from infscale.documents.strict_document import quoted
from infscale.errors import ConfigError, StartError
from infscale.extras import install_command
from infscale.simulate.findings.comparison import Findings
from infscale.simulate.findings.findings_json import document
from infscale.simulate.findings.findings_text import lines as findings_lines
from infscale.simulate.findings.summaries import RunSummary
from infscale.simulate.many_runs import Done, Experiment, play
from infscale.simulate.run_result import RunResult
from infscale.simulate.scenario import Goal, Scenario

_PLOT_SUFFIX = ".png"
_DESCRIPTION = (
    "Plays traffic to simulated model servers in virtual time, routed by the same store and director that serve, and "
    "compares policies on it: presets, EndpointPickerConfig files, and gateways without a picker. Needs neither GPU "
    "nor cluster; docs/simulate.md says what is simulated and what is not."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    parser.add_argument(
        "--workload",
        action="append",
        metavar="NAME[:KEY=VALUE,…]",
        help="chats, conversation, mooncake:file=PATH … (docs/workloads.md); again: played together (default chats)",
    )
    parser.add_argument(
        "--scenario",
        metavar="NAME",
        help="overload, scale-from-zero, sessions, drain, fallback, surge: traffic, servers and what they are "
        "scaled by, with the reference's flow control and infscale's; instead of all that describes these",
    )
    parser.add_argument(
        "--policy",
        action="append",
        metavar="NAME|FILE[@INTERVAL]",
        help="a preset, an EndpointPickerConfig file, or round-robin, least-request, random; @50ms: between scrapes, "
        "@queued: requests wait until an endpoint can begin them, @unqueued: none does, @unpreempted: none in flight "
        "is taken back for others; "
        "again for each (default infscale and reference)",
    )
    parser.add_argument(
        "--seeds", default="3", metavar="N|LIST", help="how many, or which as 3,7 (default %(default)s)"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at once (default: one per core)")
    parser.add_argument("--hpa", type=Path, metavar="FILE", help="an HPA of autoscaling/v2, on infscale's metrics")
    add_world(parser)
    add_scaling(parser)
    add_output(parser)
    parser.set_defaults(run=run)


def _scenario(arguments: argparse.Namespace) -> int:
    nothing = argparse.ArgumentParser(add_help=False)
    add_arguments(nothing)
    refuse_others(arguments, vars(nothing.parse_args([])))
    with Progress(sys.stderr, shown=sys.stderr.isatty() and not arguments.no_tty) as progress:
        document, lines = simulated(arguments, progress.show)
    print(*lines, sep="\n")
    if arguments.json is not None:
        _write_json(arguments.json, document)
    return 0


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    try:
        path.write_bytes(orjson.dumps({"versions": _versions(), **content}, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise StartError(f"cannot write {error.filename}: {error.strerror}") from None
    print(f"report  {path}")


def add_output(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what is wanted of the findings."""
    output = parser.add_argument_group("output")
    output.add_argument("--slo", metavar="ttft=1s,tpot=50ms", help="the goal; also e2e=…")
    output.add_argument("--json", type=Path, metavar="FILE", help="write everything, with what it takes to repeat it")
    output.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw it (needs matplotlib)")
    output.add_argument("--no-tty", action="store_true", help="no progress line")


def add_world(parser: argparse.ArgumentParser) -> None:
    """The arguments that describe servers, requests and delays."""
    group = parser.add_argument_group("servers and traffic")
    group.add_argument(
        "--servers",
        metavar="4xSET,4xSET@0.5",
        help="how many, which set, how fast (default: the workload's)",
    )
    group.add_argument("--model", metavar="NAME", help="the served model's name (default: the coefficient set's)")
    group.add_argument(
        "--fault", action="append", default=[], metavar="KIND@SERVER:at=10s,for=30s", help="again for each"
    )
    group.add_argument("--priority", action="append", default=[], metavar="CLASS=N", help="such as batch=-1: sheddable")
    group.add_argument("--delay", metavar="picker=1ms,…", help="gateway, picker, network, scrape, retry")
    group.add_argument("--scrape", metavar="DURATION", help="between scrapes (default: the product's own)")
    group.add_argument("--destinations", type=int, default=1, metavar="N", help="that the picker may name (default 1)")
    group.add_argument("--response-bodies", action="store_true", help="the picker sees answers, and so their usage")
    group.add_argument("--no-limits", action="store_true", help="requests do not say how long answers may be")
    group.add_argument("--slo-headers", action="store_true", help="requests carry the goal")
    group.add_argument("--gpu-labels", action="store_true", help="labels of servers name their GPUs")
    group.add_argument("--patience", default="600s", metavar="DURATION", help="of clients (default %(default)s)")
    group.add_argument("--warmup", default="0", metavar="DURATION", help="played and not counted (default none)")


def add_scaling(parser: argparse.ArgumentParser) -> None:
    """The arguments that describe how replicas change where there is an HPA."""
    group = parser.add_argument_group("replicas by an HPA")
    group.add_argument("--sync", default="15s", metavar="DURATION", help="between its syncs (default %(default)s)")
    group.add_argument("--start", metavar="DURATION", help="of a new pod (default: loading the model)")
    group.add_argument("--grace", default="30s", metavar="DURATION", help="for a pod that ends (default %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Simulate, and print what came of it."""
    check(arguments)
    if arguments.scenario is not None:
        return _scenario(arguments)
    chosen = experiment(arguments)
    with Progress(sys.stderr, shown=sys.stderr.isatty() and not arguments.no_tty) as progress:
        results = play(chosen, arguments.jobs, progress.show)
    findings = _findings(chosen, results)
    print(*_lines(chosen, findings), sep="\n")
    write(arguments, described(chosen, sys.argv[2:]), findings, results)
    return 0


def check(arguments: argparse.Namespace) -> None:
    """Find out before the work what would be missing after it. Raises `ConfigError` or `StartError`."""
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigError("arguments", "--jobs", "expected at least 1")
    if arguments.destinations < 1:
        raise ConfigError("arguments", "--destinations", "expected at least 1")
    _check_output("--json", arguments.json)
    _check_plot(arguments.plot)


class Progress:
    """A line that says how far it is, written over again and gone at the end."""

    def __init__(self, to: TextIO, *, shown: bool) -> None:
        self._to = to
        self._shown = shown

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=self._to, flush=True)

    def show(self, done: Done) -> None:
        """See `View`."""
        if self._shown:
            bar = "━" * round(30 * done.runs / done.of_runs)
            text = f"{bar:<30} {done.runs} of {done.of_runs} runs, {done.requests:,} requests"
            print(f"\r\x1b[K{text}", end="", file=self._to, flush=True)


def _findings(chosen: Experiment, results: list[RunResult]) -> Findings:
    scenario = chosen.scenario
    runs = {
        policy.name: tuple(
            RunSummary.of(each, scenario.goal, scenario.warmup_seconds)
            for each in results
            if each.policy == policy.name
        )
        for policy in chosen.policies
    }
    return Findings(runs, scenario.goal != Goal())


def _lines(chosen: Experiment, findings: Findings) -> list[str]:
    return [asked(chosen.scenario, findings), "", *findings_lines(findings)]


def asked(scenario: Scenario, findings: Findings) -> str:
    """How many requests there were, and to which servers."""
    fleet: dict[str, int] = {}
    for each in scenario.servers:
        name = each.coefficients.name + (f" at {each.speed:g} × its speed" if each.speed != 1 else "")
        fleet[name] = fleet.get(name, 0) + 1
    requests = next(iter(findings.runs.values()))[0].classes["all"].requests
    servers = ", ".join(f"{count} × {name}" for name, count in fleet.items())
    return f"{requests} requests to {servers}"


def write(
    arguments: argparse.Namespace, simulated: Mapping[str, object], findings: Findings, results: list[RunResult]
) -> None:
    """Write the files that are asked for; `simulated` is what it takes to repeat it. Raises `StartError`."""
    try:
        if arguments.json is not None:
            about = {"versions": _versions(), **simulated}
            content = document(about, findings, results)
            arguments.json.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
            print(f"report  {arguments.json}")
        if arguments.plot is not None:
            from infscale.simulate.findings.findings_plot import plot  # matplotlib is not always there.

            plot(results, arguments.plot)
            print(f"plot    {arguments.plot}")
    except OSError as error:
        raise StartError(f"cannot write {error.filename}: {error.strerror}") from None


def _versions() -> Mapping[str, str]:
    return {"infscale": __version__, "python": platform.python_version()}


def _check_output(flag: str, path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        raise ConfigError("arguments", flag, f"{path} is a folder, expected a file")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ConfigError("arguments", flag, f"{path} cannot be written")


def _check_plot(path: Path | None) -> None:
    if path is None:
        return
    if find_spec("matplotlib") is None:
        raise StartError(f"--plot needs matplotlib; install it with: {install_command(['matplotlib'])}")
    if path.suffix != _PLOT_SUFFIX:
        raise ConfigError("arguments", "--plot", f"expected a name that ends in .png, got {quoted(str(path))}")
    _check_output("--plot", path)
