"""``infscale doctor``: what the HPAs of a cluster ask and will do, and what is wrong with the set-up, with its fix.

Exit codes: 0 nothing is wrong, 1 there are errors (with ``--strict`` also warnings), 2 it could not look.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from infscale.cli.arguments import add_cluster, cluster_of
from infscale.config.read import load_config
from infscale.config.settings import ServeConfig
from infscale.doctor.changes import changes
from infscale.doctor.diagnosis import Diagnosis, diagnosed
from infscale.doctor.diagnosis_json import document
from infscale.doctor.diagnosis_text import WIDTH, Line, lines
from infscale.doctor.reading.cluster_reader import Scope, look
from infscale.doctor.reading.looked_kinds import OTHER_WORKLOADS
from infscale.doctor.rules.rule import Severity
from infscale.errors import ConfigError, InfscaleError
from infscale.kube.api.client import KubeClient
from infscale.kube.api.errors import KubeError
from infscale.kube.discovery import FollowSettings, KubernetesDiscovery
from infscale.kube.rights import Right

EXIT_FOUND = 1
EXIT_BLIND = 2

_REQUEST_SECONDS = 30.0
_MAX_ANSWER_BYTES = 32 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Looks at a cluster as your kubeconfig allows, changes nothing, and says what each HPA asks, what is answered, "
        "what the controller will do next, and what is wrong, with the command that mends it."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="HPAs, ScaledObjects or pools (default: all)")
    parser.add_argument("-n", "--namespace", metavar="NS", help="look at one namespace (default: all)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a serve.yaml: its formulas, limits and cluster")
    add_cluster(parser)
    parser.add_argument("--watch", action="store_true", help="look again and again, and print what changed")
    parser.add_argument("--interval", type=float, default=15.0, metavar="SECONDS", help="with --watch (default: 15)")
    parser.add_argument("--json", action="store_true", help="print JSON; with --watch one document a line")
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the diagnosis."""
    if arguments.interval <= 0:
        raise ConfigError("arguments", "--interval", "expected a number of seconds above 0")
    config = None if arguments.config is None else load_config(arguments.config)
    # The Kubernetes client takes 47 MiB and is imported where there is a cluster.
    from infscale.kube.api.cluster_access import cluster

    place = cluster_of(arguments, None if config is None else config.kubernetes)
    try:
        return asyncio.run(watched(arguments, config, cluster(*place)))
    except KubeError as error:
        print(f"infscale doctor: {error}", file=sys.stderr)
        return EXIT_BLIND


async def watched(
    arguments: argparse.Namespace, config: ServeConfig | None, connect: AbstractAsyncContextManager[KubeClient]
) -> int:
    """Look once, or with ``--watch`` for ever. Raises `ConfigError`, and `KubeError` where the first look fails."""
    async with connect as connected:
        client = connected.within(_REQUEST_SECONDS, _MAX_ANSWER_BYTES)
        scope = _scope(client, arguments.namespace, config)
        found = diagnosed(await look(client, scope, _now()), arguments.names)
        _show(found, arguments)
        while arguments.watch:
            await asyncio.sleep(arguments.interval)
            found = await _looked_again(client, scope, found, arguments)
    return exit_code(found, strict=arguments.strict)


async def _looked_again(
    client: KubeClient, scope: Scope, before: Diagnosis, arguments: argparse.Namespace
) -> Diagnosis:
    """The next diagnosis, after what changed was said; a look that fails is said and changes nothing."""
    try:
        found = diagnosed(await look(client, scope, _now()), arguments.names)
    except InfscaleError as error:
        print(f"infscale doctor: {error}", file=sys.stderr, flush=True)
        return before
    show_changes(before, found, arguments)
    return found


def _scope(client: KubeClient, namespace: str | None, config: ServeConfig | None) -> Scope:
    return Scope(namespace, config, partial(discovery_needs, client))


def discovery_needs(client: KubeClient, config: ServeConfig) -> frozenset[Right]:
    """The rights that discovery with `config` cannot do without; of other projects' workloads and nodes it can."""
    followed = config.discovery.kubernetes
    if followed is None:
        return frozenset()
    settings = FollowSettings(
        followed.namespaces,
        {key: source.pods for key, source in config.sources.items() if source.pods is not None},
        followed.write_status,
        pools=tuple(each.pool for each in followed.pools),
        workloads=tuple(each.workload for each in followed.workloads),
        drain_cordoned=False,
    )
    # Made to be asked what it needs; it follows nothing before it is entered.
    discovery = KubernetesDiscovery(client, settings, asyncio.get_running_loop().time, random.Random(0))
    optional = {each.resource.group for each in OTHER_WORKLOADS.values()}
    return frozenset(each for each in discovery.needs() if each.group not in optional)


def _now() -> float:
    return datetime.now(UTC).timestamp()


def exit_code(diagnosis: Diagnosis, *, strict: bool) -> int:
    """What CI goes by."""
    wrong = diagnosis.count(Severity.ERROR) or (strict and diagnosis.count(Severity.WARNING))
    return EXIT_FOUND if wrong else 0


def _show(diagnosis: Diagnosis, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(document(diagnosis, one_line=arguments.watch), flush=True)
    else:
        _print(lines(diagnosis, _width()))


def show_changes(before: Diagnosis, after: Diagnosis, arguments: argparse.Namespace) -> None:
    """Print what changed from one look to the next."""
    if arguments.json:
        _show(after, arguments)
        return
    changed = [*changes(before, after, _width())]
    if changed:
        _print([Line(""), Line(f"{datetime.now(UTC):%H:%M:%S} UTC", "bold"), *changed])


def _width() -> int:
    return min(Console().width, 100) if sys.stdout.isatty() else WIDTH


def _print(found: Iterable[Line]) -> None:
    console = Console(highlight=False)
    for line in found:
        console.print(Text(line.text, line.style), soft_wrap=True)
