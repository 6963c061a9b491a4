"""The `infscale` program: its commands, and errors a person can act on."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar

from infscale import __version__
from infscale.errors import ConfigError, InfscaleError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

CodeT = TypeVar("CodeT")


@dataclass(frozen=True, slots=True)
class Command:
    """A command, whose module is imported when it is run: most of what one needs the others do not.

    The module's `add_arguments` describes the command and sets what runs it.
    """

    name: str
    module: str
    help: str
    aliases: tuple[str, ...] = ()


COMMANDS = (
    Command("serve", "infscale.cli.serve", "run collector, picker and adapter on one store"),
    Command("top", "infscale.cli.top", "show what a running serve knows, live: pools, endpoints, models, autoscalers"),
    Command("explain", "infscale.cli.picks.explain_command", "say why a request went where it went, stage by stage"),
    Command(
        "bill", "infscale.cli.asking.bill", "say whose requests took the GPU time of pools, and what was idle or wasted"
    ),
    Command(
        "replay",
        "infscale.cli.picks.replay_picks",
        "make recorded decisions again by another scheduling configuration, and say what would differ",
    ),
    Command("rollout", "infscale.cli.asking.rollout_command", "say how far rollouts are; hold, resume and abort them"),
    Command("check", "infscale.cli.check", "check configuration files and say what they mean", ("lint-config",)),
    Command(
        "preflight",
        "infscale.cli.preflight",
        "say what answers the metrics APIs of a cluster, and what installing infscale would take over",
    ),
    Command("node-agent", "infscale.cli.node_agent", "tell what the GPUs of this node do, and for which pods"),
    Command(
        "doctor",
        "infscale.cli.doctor",
        "say what the HPAs of a cluster ask and will do, what is wrong with the set-up, and what mends it",
    ),
    Command(
        "doctor replay",
        "infscale.cli.replay.replay_command",
        "say what the controller of an HPA would have done in the past, as it is and with other settings",
    ),
    Command("hpa", "infscale.cli.write_hpa", "write an HPA or ScaledObject for a pool, and say why each number"),
    Command("import", "infscale.cli.import_config", "say what becomes of the configuration of a prometheus-adapter"),
    Command("envoy-config", "infscale.cli.envoy_config", "write the configuration of an Envoy for a serve.yaml"),
    Command(
        "demo",
        "infscale.cli.demos.demo",
        "compare infscale with round robin and the reference picker on simulated servers (no GPU needed)",
    ),
    Command(
        "simulate",
        "infscale.cli.simulate.simulate_command",
        "compare scheduling configurations on simulated servers and traffic, in virtual time (no GPU needed)",
    ),
    Command(
        "plan",
        "infscale.cli.simulate.plan_command",
        "say what an EndpointPickerConfig and an HPA would have made of traffic, as they are and with changes",
    ),
    Command("sim-server", "infscale.cli.sim_server", "run simulated model servers (no GPU needed)"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 failed, 2 wrong configuration or arguments, 130 interrupted."""
    given = _with_whole_command(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="infscale",
        description="One metrics store for LLM serving: routing and scaling decide from the same data.",
    )
    parser.add_argument("--version", action="version", version=f"infscale {__version__}")

    def chosen() -> int:
        asked = next((each for each in given if not each.startswith("-")), "")
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        for command in COMMANDS:
            added = commands.add_parser(command.name, help=command.help, aliases=command.aliases)
            if asked in (command.name, *command.aliases):
                import_module(command.module).add_arguments(added)
        parsed = parser.parse_args(given)
        return int(parsed.run(parsed))

    return _reported(parser.prog, chosen)


def _with_whole_command(given: Sequence[str]) -> list[str]:
    """The arguments with a command of two words as one of them."""
    two = " ".join(given[:2])
    return [two, *given[2:]] if any(each.name == two for each in COMMANDS) else list(given)


def picker_main(arguments: Sequence[str] | None = None) -> int:
    """`infscale-picker`: the collector and the picker, without the adapter; by its own or the reference's flags."""
    program = "infscale-picker"
    given = sys.argv[1:] if arguments is None else list(arguments)

    def by_reference() -> int | None:
        reference_line = import_module("infscale.cli.reference_line")
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

    def chosen() -> int:
        import_module("infscale.cli.serve").add_arguments(parser, frozenset({part}))
        parsed = parser.parse_args(arguments)
        return int(parsed.run(parsed))

    return _reported(program, chosen)


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
        print(f"{program}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
