"""``infscale check FILE…``: whether configuration files can be used, what is wrong with them, and what they mean.

A file is a configuration of `infscale serve` (with the files it names), an `EndpointPickerConfig` or a discovery file;
which of them shows in its keys. Exit codes: 0 all can be used (notes included), 2 one cannot; each line on stderr is
one problem with its place.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from infscale.cli.picker_report import report as picker_report
from infscale.config.read import read_text
from infscale.documents.problems import Problems
from infscale.documents.strict_document import load
from infscale.endpoint import DiscoveryState
from infscale.errors import ConfigError
from infscale.prometheus.rules.rules_file import RulesFile
from infscale.prometheus.rules.rules_report import RESOURCES_NOT_SERVED
from infscale.serving.configured import Configured, discovered, read_configured
from infscale.serving.picker_config import parse_picker_config

_OF_DISCOVERY = ("endpoints", "objects")
_OF_PICKER = ("apiVersion", "kind", "plugins", "schedulingProfiles")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Reads a configuration of `infscale serve` with the files it names, an EndpointPickerConfig or a discovery "
        "file as the programs do, and says everything that is wrong with it, or what it means."
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="YAML or JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the reports of usable files. Raises `ConfigError` with all problems of all files."""
    problems = Problems()
    paths: Sequence[Path] = args.files
    for number, path in enumerate(paths):
        try:
            lines = report(path)
        except ConfigError as error:
            problems.add(error)
            continue
        print(*([""] if number else []), *lines, sep="\n")
    problems.raise_any()
    return 0


def report(path: Path) -> Sequence[str]:
    """What the file at `path` means. Raises `ConfigError` with everything that is wrong. It reads files."""
    text = read_text(path)
    root = load(text, str(path))
    keys = root.keys()
    if any(key in keys for key in _OF_DISCOVERY):
        return [f"{path} can be used: {_state(discovered(root, None))}."]
    if any(key in keys for key in _OF_PICKER):
        return picker_report(parse_picker_config(text, str(path)), str(path))
    return _meaning(read_configured(root, path), path)


def _meaning(configured: Configured, path: Path) -> Sequence[str]:
    config, scheduling, state = configured.config, configured.scheduling, configured.state
    discovery, picker = config.discovery, config.picker
    endpoints = "of the cluster" if state is None else f"{discovery.file}: {_state(state)}"
    chosen = f"preset {picker.preset}" if picker.config_file is None else f"{picker.config_file}"
    lines = [
        f"{path} can be used.",
        "",
        f"Endpoints    {endpoints}",
        f"Scheduling   {chosen}",
        f"Picker       ext_proc on {picker.listen}{' with TLS' if picker.tls else ''}",
        f"Adapter      https://{config.adapter.listen}",
        f"Own metrics  http://{config.telemetry.listen}/metrics",
    ]
    notes = [*scheduling.notes, *_notes_on_rules(configured.rules)]
    if notes:
        lines += ["", f"Notes ({len(notes)})", *(f"  {note}" for note in notes)]
    return lines


def _notes_on_rules(rules: RulesFile | None) -> Sequence[str]:
    if rules is None or not rules.resource_rules:
        return ()
    return (f"{rules.resource_rules[0].place}: resourceRules: {RESOURCES_NOT_SERVED}",)


def _state(state: DiscoveryState) -> str:
    pools = ", ".join(_counted(pool.key for pool in state.pools))
    return f"{len(state.endpoints)} endpoint{'s' * (len(state.endpoints) != 1)}, {_pools(len(state.pools))} {pools}"


def _pools(count: int) -> str:
    return "pool" if count == 1 else f"{count} pools"


def _counted(keys: Iterable[object], limit: int = 5) -> Sequence[str]:
    names = [str(key) for key in keys]
    return names if len(names) <= limit else [*names[:limit], "…"]
