"""Recorded decisions: of a running process, or of files that it wrote."""

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infscale.cli.arguments import TELEMETRY_ADDRESS, refuse_unreadable, telemetry_address
from infscale.config.read import read_text
from infscale.serving.picker_config import parse_picker_config
from infscale.top.asking_serve import asking_once
from picker.epp_config.loader import PickerConfig, preset
from picker.epp_config.presets import PRESETS

_TIMEOUT_SECONDS: Final = 60.0
_MOST_LINE_BYTES: Final = 256 << 20
"""Of all lines: what is kept takes a quarter of it in memory."""


def add_source(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where decisions come from."""
    parser.add_argument(
        "--address",
        default=TELEMETRY_ADDRESS,
        metavar="URL",
        help="telemetry of the process, telemetry.listen (default %(default)s)",
    )
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="recorded decisions instead: picker.explain.file, or what was saved"
    )


def configuration(given: str) -> PickerConfig:
    """The configuration that a preset's name or a file's path means. Raises `ConfigError`."""
    if given in PRESETS:
        return preset(given)
    path = Path(given)
    refuse_unreadable("--config", path)
    return parse_picker_config(read_text(path), given)


def recorded_lines(arguments: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    """Each line with its place. Raises `ConfigError` for a file that cannot be read, `NoAnswer` where none answers."""
    file: Path | None = arguments.file
    if file is None:
        address = telemetry_address(arguments.address)
        for number, line in enumerate(asyncio.run(_asked(address)).splitlines(), 1):
            yield f"{address}, line {number}", line
        return
    refuse_unreadable("--file", file)
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            yield f"{file}:{number}", line


async def _asked(address: str) -> bytes:
    async with asking_once(address, _TIMEOUT_SECONDS) as client:
        return await client.lines("pick-inputs", _MOST_LINE_BYTES)
