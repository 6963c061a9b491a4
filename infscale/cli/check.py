"""``infscale check FILE…``: whether configuration files can be used, what is wrong with them, and what they mean.

A file is a configuration of `infscale serve` (with the files it names), an `EndpointPickerConfig` or a discovery file;
which of them shows in its keys. Exit codes: 0 all can be used (notes included), 2 one cannot; each line on stderr is
one problem with its place.
"""

import argparse
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from infscale.cli.arguments import Subparsers
from infscale.cli.picker_config import parse_picker_config
from infscale.cli.picker_report import report as picker_report
from infscale.cli.scheduling import check_pools
from infscale.cli.scraping import scraping
from infscale.config import DiscoverySettings, ServeConfig
from infscale.config.read import read_text, read_with_files
from infscale.config.values import Files
from infscale.discovery.state import read_state
from infscale.document import Field, load, whole
from infscale.endpoint import DiscoveryState
from infscale.errors import ConfigError
from infscale.problems import Problems
from picker.config import PickerConfig, preset

_OF_DISCOVERY = ("endpoints", "objects")
_OF_PICKER = ("apiVersion", "kind", "plugins", "schedulingProfiles")


def add_parser(subparsers: Subparsers) -> None:
    """Add ``check`` to the command line."""
    parser = subparsers.add_parser(
        "check",
        aliases=["lint-config"],
        help="check configuration files and say what they mean",
        description=(
            "Reads a configuration of `infscale serve` with the files it names, an EndpointPickerConfig or a discovery "
            "file as the programs do, and says everything that is wrong with it, or what it means."
        ),
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
        return [f"{path} can be used: {_state(_discovered(root, None, clusters=False))}."]
    if any(key in keys for key in _OF_PICKER):
        return picker_report(parse_picker_config(text, str(path)), str(path))
    return _serve_report(root, path)


def _serve_report(root: Field, path: Path) -> Sequence[str]:
    """A configuration, and the files that it names: of these, too, everything that is wrong."""
    problems, files = Problems(), Files(path.parent)
    config = problems.attempt(lambda: whole(root, lambda field: read_with_files(field, files)))
    named = {field.path: each for field, each in files.named if each.is_file()}
    scheduling = problems.attempt(lambda: _scheduling(named.get("picker.config_file"), config.or_else(None)))
    clusters = not scheduling.refused and scheduling.value.discovery is not None and scheduling.value.discovery.clusters
    state = problems.attempt(lambda: _state_of(named.get("discovery.file"), config.or_else(None), clusters=clusters))
    if not config.refused and not scheduling.refused:
        problems.attempt(lambda: check_pools(config.value, scheduling.value))
        problems.attempt(lambda: scraping(config.value.scrape, scheduling.value.scraping).engines())
    problems.raise_any()
    return _meaning(config.value, scheduling.value, state.value, path)


def _scheduling(path: Path | None, config: ServeConfig | None) -> PickerConfig:
    if path is None:
        return preset("infscale" if config is None else config.picker.preset or "infscale")
    return parse_picker_config(read_text(path), str(path))


def _state_of(path: Path | None, config: ServeConfig | None, *, clusters: bool) -> DiscoveryState | None:
    if path is None:
        return None
    settings = None if config is None else config.discovery
    return _discovered(load(read_text(path), str(path)), settings, clusters=clusters)


def _discovered(root: Field, settings: DiscoverySettings | None, *, clusters: bool) -> DiscoveryState:
    """The state in a discovery file; without `settings` it is not known whose default pool it is read for."""
    if settings is None:
        return whole(root, partial(read_state, any_namespace=True, clusters=clusters))
    return whole(root, partial(read_state, default_pool=settings.default_pool, clusters=clusters))


def _meaning(config: ServeConfig, scheduling: PickerConfig, state: DiscoveryState | None, path: Path) -> Sequence[str]:
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
    if scheduling.notes:
        lines += ["", f"Notes ({len(scheduling.notes)})", *(f"  {note}" for note in scheduling.notes)]
    return lines


def _state(state: DiscoveryState) -> str:
    pools = ", ".join(_counted(pool.key for pool in state.pools))
    return f"{len(state.endpoints)} endpoint{'s' * (len(state.endpoints) != 1)}, {_pools(len(state.pools))} {pools}"


def _pools(count: int) -> str:
    return "pool" if count == 1 else f"{count} pools"


def _counted(keys: Iterable[object], limit: int = 5) -> Sequence[str]:
    names = [str(key) for key in keys]
    return names if len(names) <= limit else [*names[:limit], "…"]
