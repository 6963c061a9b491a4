"""``infscale explain``: why a request went where it went.

Exit codes: 0 explained, 1 it is not known or nothing answers, 2 bad arguments or files.
"""

import argparse
import asyncio
import sys
from typing import Final
from urllib.parse import quote

import orjson

from infscale.cli.arguments import telemetry_address
from infscale.cli.picks.recorded_picks import add_source, configuration, recorded_lines
from infscale.errors import ConfigError
from infscale.top.asking_serve import asking_once
from infscale.viewing.pick_words import explanation_lines
from picker.explaining.explanation import Document, explanation
from picker.explaining.sheet_form import read_sheet

_TIMEOUT_SECONDS: Final = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Why a request went where it went: what each stage said of each endpoint, what was predicted and what came "
        "(docs/explain.md)."
    )
    parser.add_argument(
        "name", metavar="REQUEST_ID", help="x-request-id of the request, or the id of its pick (x-infscale-pick)"
    )
    add_source(parser)
    parser.add_argument(
        "--config", metavar="CONFIG", help="with --file: the EndpointPickerConfig, or preset, that decided"
    )
    parser.add_argument("--json", action="store_true", help="print the explanation as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain it. Raises `ConfigError` for wrong arguments, `NoAnswer` or `DocumentError` for what cannot be shown."""
    if arguments.file is None:
        if arguments.config is not None:
            raise ConfigError("", "--config", "a running process knows its configuration; give --file, too")
        document = asyncio.run(_asked(telemetry_address(arguments.address), arguments.name))
    else:
        document = _filed(arguments)
    if document is None:
        print(f"infscale: no pick of {arguments.name[:128]!r} is known (any more)", file=sys.stderr)
        return 1
    if arguments.json:
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        print(*explanation_lines(document), sep="\n")
    return 0


async def _asked(address: str, name: str) -> object | None:
    async with asking_once(address, _TIMEOUT_SECONDS) as client:
        return await client.document(f"picks/{quote(name, safe='')}")


def _filed(arguments: argparse.Namespace) -> Document | None:
    config = configuration(arguments.config or "infscale")
    found: list[Document] = []
    for place, line in recorded_lines(arguments):
        read = read_sheet(line, place, config)
        for number, kept in enumerate(read.sheet.picks):
            if arguments.name not in (kept.record.request_id, kept.record.revision):
                continue
            if read.config != config.digest:
                problem = f"{config.digest} is not the configuration that decided, {read.config}"
                raise ConfigError(place, "--config", problem)
            found.append(explanation(read.sheet.inputs(number), config, read.wall))
    return {"picks": found[::-1]} if found else None
