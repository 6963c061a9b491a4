"""`infscale top`: what a running process knows, in a terminal or once."""

import argparse
import asyncio
import math
import shutil
import sys
from typing import Final

import orjson
from rich.console import Console

from infscale.cli.arguments import TELEMETRY_ADDRESS, telemetry_address
from infscale.errors import ConfigError
from infscale.top.asking_serve import ServeClient, asking_once
from infscale.top.live import Live
from infscale.top.screen import plain
from infscale.top.terminal import Terminal
from infscale.viewing.grid import STORE_VIEW, View, ViewKind
from infscale.viewing.seen_documents import Documents, seen
from infscale.viewing.views import view_page

_TIMEOUT_SECONDS: Final = 5.0
_LEAST_SECONDS, _MOST_SECONDS = 0.1, 3600.0
_WIDE: Final = 160
"""Columns where the output is no terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Pools, endpoints, models, autoscalers and KEDA's triggers as a running infscale knows them; docs/top.md."
    )
    parser.add_argument(
        "--address",
        default=TELEMETRY_ADDRESS,
        metavar="URL",
        help="telemetry of the process, telemetry.listen (default %(default)s)",
    )
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (default %(default)s)"
    )
    parser.add_argument("--once", action="store_true", help="print tables once; also where there is no terminal")
    parser.add_argument("--json", action="store_true", help="print the documents once, as one object of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show it. Raises `ConfigError` for wrong arguments, `NoAnswer` or `DocumentError` where nothing can be shown."""
    address = telemetry_address(arguments.address)
    interval = arguments.interval
    if not (math.isfinite(interval) and _LEAST_SECONDS <= interval <= _MOST_SECONDS):
        raise ConfigError("", "--interval", f"expected seconds within {_LEAST_SECONDS:g}–{_MOST_SECONDS:g}")
    if arguments.json:
        return asyncio.run(_print_json(address))
    if arguments.once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return asyncio.run(_print_tables(address))
    with Terminal(sys.stdin.fileno(), sys.stdout.fileno()) as terminal:
        return asyncio.run(_live(address, terminal, interval))


async def _live(address: str, terminal: Terminal, interval: float) -> int:
    async with ServeClient(address, _TIMEOUT_SECONDS) as client:
        return await Live(client, address, terminal, interval).run()


async def _documents(address: str) -> Documents:
    async with asking_once(address, _TIMEOUT_SECONDS) as client:
        return await client.documents(picks=True)


async def _print_json(address: str) -> int:
    found = await _documents(address)
    document = {
        "snapshot": found.snapshot,
        "picks": found.picks,
        "autoscalers": found.autoscalers,
        "triggers": found.triggers,
        "rollouts": found.rollouts,
    }
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    return 0


async def _print_tables(address: str) -> int:
    """The store, and below it each pool."""
    found = seen(await _documents(address))
    width = shutil.get_terminal_size((_WIDE, 24)).columns
    console = Console(width=max(width, 40), highlight=False, soft_wrap=True)
    for view in (STORE_VIEW, *(View(ViewKind.POOL, pool.name) for pool in found.pools)):
        for line in plain(view_page(found, view), width):
            console.print(line)
        console.print()
    return 0
