"""``infscale bill``: whose requests took the GPU-seconds of a running picker's pools, and what was idle or wasted.

Exit codes: 0 told, 1 nothing answers or there is no such pool, 2 bad arguments.
"""

import argparse
import asyncio
import math
import sys
from typing import Final

import orjson

from infscale.cli.arguments import TELEMETRY_ADDRESS, telemetry_address
from infscale.documents.strict_document import seconds_of_duration
from infscale.errors import ConfigError
from infscale.top.asking_serve import asking_once
from infscale.viewing.billed.allocations import allocations
from infscale.viewing.billed.bill_table import bill_lines
from infscale.viewing.billed.told_bill import GROUPS, told_pools

_TIMEOUT_SECONDS: Final = 10.0
_MOST_SECONDS: Final = 86_400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Whose requests took the GPU-seconds of a running picker's pools, and what was idle or wasted (docs/bill.md)."
    )
    parser.add_argument(
        "--since", default="1h", metavar="DURATION", help="how far back, whole minutes, 24h at most (default 1h)"
    )
    parser.add_argument(
        "--by",
        default="tenant",
        metavar="NAMES",
        help=f"sum up by these, of {', '.join(GROUPS)} with commas (default tenant)",
    )
    parser.add_argument("--pool", metavar="NAMESPACE/NAME", help="one pool (default: all)")
    parser.add_argument("--price", type=float, metavar="NUMBER", help="what a GPU costs in an hour, in any currency")
    parser.add_argument(
        "--address",
        default=TELEMETRY_ADDRESS,
        metavar="URL",
        help="telemetry of the process, telemetry.listen (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print it in the form of OpenCost's allocations")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Tell it. Raises `ConfigError` for wrong arguments, `NoAnswer` or `DocumentError` where nothing can be shown."""
    by = _groups(arguments.by)
    seconds, price = _seconds(arguments.since), arguments.price
    if price is not None and not (math.isfinite(price) and price >= 0):
        raise ConfigError("", "--price", "expected a number that is not negative")
    document = asyncio.run(_asked(telemetry_address(arguments.address), seconds))
    pools = () if document is None else told_pools(document, arguments.pool)
    if not pools:
        which = "no pool" if arguments.pool is None else f"no pool {arguments.pool[:128]!r}"
        print(f"infscale: {which} is billed there", file=sys.stderr)
        return 1
    if arguments.json:
        print(orjson.dumps(allocations(pools, by, price), option=orjson.OPT_INDENT_2).decode())
    else:
        print(*bill_lines(pools, by, price), sep="\n")
    return 0


def _groups(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(each.strip() for each in text.split(",")))
    if not set(names) <= set(GROUPS):
        raise ConfigError("", "--by", f"expected some of {', '.join(GROUPS)} with commas, got {text[:100]!r}")
    return names


def _seconds(text: str) -> int:
    seconds = seconds_of_duration(text)
    if seconds is None or not 1.0 <= seconds <= _MOST_SECONDS:
        raise ConfigError("", "--since", f"expected a duration of 1s–24h such as 90m, got {text[:100]!r}")
    return math.ceil(seconds)


async def _asked(address: str, seconds: int) -> object | None:
    async with asking_once(address, _TIMEOUT_SECONDS) as client:
        return await client.document(f"bill/{seconds}")
