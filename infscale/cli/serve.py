"""`infscale serve`: everything in one process on one store, until it is told to stop."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path

import uvloop

from infscale.cli.arguments import refuse_unreadable
from infscale.config.read import load_config
from infscale.config.settings import ServeConfig
from infscale.process import log
from infscale.process.garbage import give_memory_back, spare_collections
from infscale.serving.composition import PARTS, serving

_LOG = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser, parts: Collection[str] = PARTS) -> None:
    """Add the arguments of a program that runs `parts`."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="see docs/configuration.md")
    parser.set_defaults(run=partial(run, parts=parts))


def run(arguments: argparse.Namespace, parts: Collection[str] = PARTS) -> int:
    """Serve until SIGTERM or SIGINT, then drain; a second one ends that too."""
    refuse_unreadable("--config", arguments.config)
    return serve(load_config(arguments.config), parts)


def serve(config: ServeConfig, parts: Collection[str], notes: Iterable[str] = ()) -> int:
    """Serve `config` until a signal, as `run`; `notes` are lines for the log about how it came to be."""
    log.configure(config.log.level, config.log.format)
    for note in notes:
        _LOG.info("%s", note)
    uvloop.run(_serve(config, parts))
    return 0


_SWITCH_SECONDS = 0.0005
"""How long a thread that reads a file may keep the loop waiting; Python's own 5 ms count several times in an answer."""


async def _serve(config: ServeConfig, parts: Collection[str]) -> None:
    stop, hurry = asyncio.Event(), asyncio.Event()

    def told() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    give_memory_back()
    async with serving(config, parts) as running:
        running.log_listeners()
        spare_collections()
        sys.setswitchinterval(_SWITCH_SECONDS)
        await stop.wait()
        _LOG.info("draining; a second signal ends it at once")
        async with asyncio.TaskGroup() as group:
            drain = group.create_task(running.drain())
            drain.add_done_callback(lambda _: hurry.set())
            await hurry.wait()
            drain.cancel()
