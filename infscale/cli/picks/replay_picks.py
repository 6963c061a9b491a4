"""``infscale replay``: recorded decisions made again by another configuration, and what would differ.

Exit codes: 0 done, 1 nothing answers, 2 bad arguments or files.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson

from infscale.cli.picks.recorded_picks import add_source, configuration, recorded_lines
from infscale.errors import ConfigError
from infscale.viewing.pick_words import replay_lines
from picker.explaining.pick_inputs import PickInputs
from picker.explaining.replaying import replayed
from picker.explaining.sheet_form import read_sheet

_LOAD_NOTE: Final = (
    "Each decision was made on the load that the recorded choices had made; infscale plan plays whole traffic."
)
_CLOCK_NOTE: Final = (
    "The recorded configuration has no scorer that asks for pending prefill, so that none is known: the one tried asks."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Makes recorded decisions again, each from its own inputs, by another EndpointPickerConfig, and says which "
        "would have gone elsewhere (docs/explain.md)."
    )
    parser.add_argument(
        "--config", metavar="CONFIG", help="an EndpointPickerConfig, or the name of a preset (default: infscale)"
    )
    add_source(parser)
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the recorded decisions to FILE, for --file")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Replay them. Raises `ConfigError` for wrong arguments and files, `NoAnswer` where nothing answers."""
    config = configuration(arguments.config or "infscale")
    digests: dict[str, bool] = {}
    saved: list[bytes] = []

    def recorded() -> Iterator[PickInputs]:
        for place, line in recorded_lines(arguments):
            read = read_sheet(line, place, config)
            digests[read.config] = read.clocked
            if arguments.save is not None:
                saved.append(line.rstrip(b"\n") + b"\n")
            yield from map(read.sheet.inputs, range(len(read.sheet)))

    counts = replayed(recorded(), config)
    if arguments.save is not None:
        _save(arguments.save, b"".join(saved))
    notes = [_LOAD_NOTE]
    if config.clocked and not all(digests.values()):
        notes.append(_CLOCK_NOTE)
    document = {
        "configuration": config.digest,
        "recorded_by": list(digests),
        **counts.document(),
        "notes": notes,
    }
    if arguments.json:
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        print(*replay_lines(document), sep="\n")
    return 0


def _save(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError("", "--save", f"{path} cannot be written: {error.strerror or error}") from error
