"""The `infscale` program: its commands, and errors a person can act on."""

import argparse
import sys
from collections.abc import Sequence

from infscale import __version__
from infscale.cli import demo, lint_config, serve, sim_server
from infscale.errors import ConfigError, InfscaleError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong configuration or arguments, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="infscale",
        description="One metrics store for LLM serving: routing and scaling decide from the same data.",
    )
    parser.add_argument("--version", action="version", version=f"infscale {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (serve, lint_config, demo, sim_server):
        command.add_parser(commands)
    return _run(parser, arguments)


def picker_main(arguments: Sequence[str] | None = None) -> int:
    """`infscale-picker`: the collector and the picker, without the adapter."""
    return _part("infscale-picker", "The endpoint picker alone, on a store of its own.", "picker", arguments)


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
    try:
        return int(parsed.run(parsed))
    except ConfigError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except InfscaleError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
