"""``infscale rollout``: how far rollouts are, and what they are told.

Exit codes: 0 done, 1 refused or nothing answers, 2 bad arguments.
"""

import argparse
import asyncio
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import quote

import orjson

from infscale.cli.arguments import TELEMETRY_ADDRESS, telemetry_address
from infscale.rollouts.rollout_state import COMMANDS
from infscale.top.asking_serve import NoAnswer, asking_once
from infscale.viewing.rollouts.rollout_words import rollout_lines

_TIMEOUT_SECONDS: Final = 10.0
_MEANINGS: Final[Mapping[str, str]] = {
    "hold": "keep a rollout at its step",
    "resume": "go on with one that is held, also in spite of an alarm",
    "abort": "send all requests to the old version again",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = "Rollouts of a running infscale (docs/rollouts.md)."
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="say how far rollouts are")
    status.add_argument("name", nargs="?", metavar="NAME", help="a rollout, NAME or NAMESPACE/NAME (default: all)")
    added = [status]
    for command in COMMANDS:
        action = actions.add_parser(command, help=_MEANINGS[command])
        action.add_argument("name", metavar="NAME", help="the rollout, NAME or NAMESPACE/NAME")
        added.append(action)
    for each in added:
        each.add_argument(
            "--address",
            default=TELEMETRY_ADDRESS,
            metavar="URL",
            help="telemetry of the process, telemetry.listen (default %(default)s)",
        )
        each.add_argument("--json", action="store_true", help="print the document as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do it.

    Raises `ConfigError` for wrong arguments, `NoAnswer` where nothing answers, and `Refused` where it will not.
    """
    address = telemetry_address(arguments.address)
    if arguments.action == "status":
        rollouts = asyncio.run(_seen(address, arguments.name))
    else:
        rollouts = [asyncio.run(_told(address, arguments.name, arguments.action))]
    if arguments.json:
        print(orjson.dumps({"rollouts": rollouts}, option=orjson.OPT_INDENT_2).decode())
    elif not rollouts:
        print("there are no rollouts")
    for each in () if arguments.json else rollouts:
        print(*rollout_lines(each), sep="\n")
    return 0


async def _seen(address: str, name: str | None) -> list[object]:
    async with asking_once(address, _TIMEOUT_SECONDS) as client:
        document = await client.document("rollouts")
        if not isinstance(document, dict):
            raise NoAnswer("there is no /debug/rollouts: the picker has it where telemetry listens on loopback")
        found = cast("list[dict[str, object]]", document["rollouts"])
        chosen = [each for each in found if name is None or name in (each["rollout"], _short(each))]
        if name is not None and not chosen:
            raise NoAnswer("there is no rollout of that name")
        return [*chosen]


def _short(document: Mapping[str, object]) -> str:
    return str(document["rollout"]).partition("/")[2]


async def _told(address: str, name: str, command: str) -> object:
    async with asking_once(address, _TIMEOUT_SECONDS) as client:
        return await client.tell(f"rollouts/{quote(name, safe='')}", command)
