"""``infscale doctor replay``: what an HPA's controller would have done in the past, as it is and with other settings.

Exit codes: 0 replayed, 1 a Prometheus cannot be asked, 2 wrong arguments or files.
"""

import argparse
import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.text import Text

from infscale.cli.arguments import refuse_unreadable
from infscale.cli.replay.replay_arguments import name_of, overrides, pairs, seconds
from infscale.config.read import read_text
from infscale.doctor.replay.controller_replay import replayed, start_replicas
from infscale.doctor.replay.history_file import read_history
from infscale.doctor.replay.past_syncs import PastSync, resampled
from infscale.doctor.replay.prometheus_history import asked_history, period, queries
from infscale.doctor.replay.replay_json import document
from infscale.doctor.replay.replay_text import Replay, lines, names
from infscale.doctor.replay.replayed_hpa import ReplayedHpa, overridden, read_hpa
from infscale.documents.strict_document import load, quoted
from infscale.errors import ConfigError, InfscaleError, StartError
from infscale.extras import install_command
from infscale.periodic import FetchError
from infscale.prometheus.prometheus_server import PrometheusServer
from infscale.prometheus.server_settings import ServerSettings

_DEFAULT_SINCE_SECONDS = 3600.0
_CONTROLLERS_STEP_SECONDS = 15.0
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_TIMEOUT_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Runs the HPA controller's arithmetic over a history, sync by sync: what would have happened with the HPA of "
        "FILE as it is, and with the target, tolerance, window or bounds that are given here."
    )
    parser.add_argument(
        "--hpa", required=True, type=Path, metavar="FILE", help="an HPA of autoscaling/v2, YAML or JSON"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--series", type=Path, metavar="FILE", help="a recorded history (see docs/doctor.md)")
    source.add_argument("--prometheus", metavar="URL", help="where the history is")
    parser.add_argument(
        "--query", action="append", default=[], metavar="METRIC=PROMQL", help="the series of a metric, or of replicas"
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="a bearer token for the Prometheus")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="the CA of its certificate")
    parser.add_argument(
        "--since", metavar="DURATION", help="how far back, such as 2h (default: the whole file; of a Prometheus 1h)"
    )
    parser.add_argument(
        "--step", metavar="DURATION", help="between two syncs (default: as in the file; of a Prometheus 15s)"
    )
    parser.add_argument("--replicas", type=int, metavar="N", help="replicas at the beginning (default: as recorded)")
    changed = parser.add_argument_group("other settings than those of the HPA")
    changed.add_argument("--target", action="append", default=[], metavar="METRIC=VALUE", help="another target")
    changed.add_argument("--tolerance", type=float, metavar="X", help="another tolerance, such as 0.05")
    changed.add_argument("--window-down", metavar="DURATION", help="another stabilization window of scaling down")
    changed.add_argument("--min", type=int, metavar="N", help="another minReplicas")
    changed.add_argument("--max", type=int, metavar="N", help="another maxReplicas")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw it (needs matplotlib)")
    parser.add_argument(
        "--all", action="store_true", help="a row of each sync, not only of those that change something"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class _Times:
    """How far back, and the time between syncs; None: as the history has it."""

    since_seconds: float | None
    step_seconds: float | None


def run(arguments: argparse.Namespace) -> int:
    """Print the replay."""
    _check_plot(arguments.plot)
    refuse_unreadable("--hpa", arguments.hpa)
    hpa = read_hpa(load(read_text(arguments.hpa), str(arguments.hpa)))
    changes = overrides(arguments)
    plans = {"as it is": hpa}
    if changes.is_there:
        plans[name_of(changes)] = overridden(hpa, changes)
    syncs = _history(arguments, hpa)
    start = start_replicas(syncs) if arguments.replicas is None else arguments.replicas
    if start is None:
        raise ConfigError("arguments", "--replicas", "the history has no replicas: give those at its beginning")
    replays = [Replay(name, tuple(replayed(plan, syncs, start))) for name, plan in plans.items()]
    _show(arguments, replays, hpa)
    return 0


def _show(arguments: argparse.Namespace, replays: Sequence[Replay], hpa: ReplayedHpa) -> None:
    metrics = [each.name for each in hpa.metrics]
    heads = names(metrics)
    if arguments.plot is not None:
        from infscale.doctor.replay.replay_plot import plot  # matplotlib is not always there.

        try:
            plot(replays, heads, f"HPA {hpa.key}", arguments.plot)
        except OSError as error:
            raise ConfigError("", "--plot", f"{arguments.plot} cannot be written: {error.strerror}") from None
    if arguments.json:
        print(document(replays, metrics))
        return
    console = Console(highlight=False)
    for line in lines(replays, heads, whole=arguments.all):
        console.print(Text(line.text, line.style), soft_wrap=True)


def _check_plot(path: Path | None) -> None:
    """Find out before the work what would be missing after it."""
    if path is None:
        return
    if find_spec("matplotlib") is None:
        raise StartError(f"--plot needs matplotlib; install it with: {install_command(['matplotlib'])}")
    if path.suffix != ".png":
        raise ConfigError("arguments", "--plot", f"expected a name that ends in .png, got {quoted(str(path))}")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ConfigError("arguments", "--plot", f"nothing can be written to {path.absolute().parent}")


def _history(arguments: argparse.Namespace, hpa: ReplayedHpa) -> tuple[PastSync, ...]:
    times = _Times(seconds("--since", arguments.since), seconds("--step", arguments.step))
    if arguments.series is None:
        return asyncio.run(_of_prometheus(arguments, hpa, times))
    for flag, given in (("--query", arguments.query), ("--token-file", arguments.token_file), ("--ca", arguments.ca)):
        if given:
            raise ConfigError("arguments", flag, "goes with --prometheus")
    return _of_file(arguments.series, times)


def _of_file(path: Path, times: _Times) -> tuple[PastSync, ...]:
    syncs = read_history(path)
    if times.since_seconds is not None:
        earliest = syncs[-1].at - times.since_seconds
        syncs = tuple([each for each in syncs if each.at >= earliest])
    if times.step_seconds is None:
        return syncs
    try:
        return resampled(syncs, times.step_seconds)
    except ValueError as error:
        raise ConfigError("arguments", "--step", str(error)) from None


async def _of_prometheus(arguments: argparse.Namespace, hpa: ReplayedHpa, times: _Times) -> tuple[PastSync, ...]:
    since = times.since_seconds or _DEFAULT_SINCE_SECONDS
    wanted = period(datetime.now(UTC).timestamp(), since, times.step_seconds or _CONTROLLERS_STEP_SECONDS)
    asked = queries(hpa, pairs("--query", arguments.query))
    for flag, path in (("--token-file", arguments.token_file), ("--ca", arguments.ca)):
        if path is not None:
            refuse_unreadable(flag, path, "arguments")
    async with PrometheusServer(_server(arguments)) as server:
        try:
            return await asked_history(server, hpa, asked, wanted)
        except FetchError as error:
            raise InfscaleError(f"Prometheus {quoted(arguments.prometheus)}: {error}") from None


def _server(arguments: argparse.Namespace) -> ServerSettings:
    url: str = arguments.prometheus
    if not url.startswith(("http://", "https://")) or any(each in url for each in "@?# "):
        problem = "expected an http or https address without user, query and fragment"
        raise ConfigError("arguments", "--prometheus", problem)
    settings = ServerSettings("replay", url.rstrip("/"), _TIMEOUT_SECONDS, max_bytes=_MAX_ANSWER_BYTES)
    return replace(settings, ca=arguments.ca, token_file=arguments.token_file)
