"""The `infscale` program: its commands, and errors a person can act on."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from infscale import __version__
from infscale.cli import check, demo, reference_line, serve, sim_server
from infscale.errors import ConfigError, InfscaleError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

CodeT = TypeVar("CodeT")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong configuration or arguments, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="infscale",
        description="One metrics store for LLM serving: routing and scaling decide from the same data.",
    )
    parser.add_argument("--version", action="version", version=f"infscale {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (serve, check, demo, sim_server):
        command.add_parser(commands)
    return _run(parser, arguments)


def picker_main(arguments: Sequence[str] | None = None) -> int:
    """`infscale-picker`: the collector and the picker, without the adapter; by its own or the reference's flags."""
    program = "infscale-picker"
    given = sys.argv[1:] if arguments is None else list(arguments)

    def by_reference() -> int | None:
        return reference_line.run(given) if reference_line.takes(given) else None

    code = _reported(program, by_reference)
    if code is not None:
        return code
    description = (
        "The endpoint picker alone, on a store of its own. Instead of --config it takes the flags of the reference "
        "endpoint picker (llm-d-router); docs/reference-command-line.md says what becomes of each."
    )
    return _part(program, description, "picker", given)


def adapter_main(arguments: Sequence[str] | None = None) -> int:
    """`infscale-adapter`: the collector and the adapter, without the picker."""
    return _part("infscale-adapter", "The metrics API server alone, on a store of its own.", "adapter", arguments)


def _part(program: str, description: str, part: str, arguments: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    serve.add_arguments(parser, frozenset({part}))
    return _run(parser, arguments)


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    parsed = parser.parse_args(arguments)

    def chosen() -> int:
        return int(parsed.run(parsed))

    return _reported(parser.prog, chosen)


def _reported(program: str, run: Callable[[], CodeT]) -> CodeT | int:
    """What `run` gives, or the exit status of the error that ends it, which is said in one line."""
    try:
        return run()
    except ConfigError as error:
        print(*(f"{program}: {line}" for line in error.lines()), sep="\n", file=sys.stderr)
        return EXIT_USAGE
    except InfscaleError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
