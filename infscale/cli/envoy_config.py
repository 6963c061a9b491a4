"""``infscale envoy-config``: the configuration of an Envoy in front of what a ``serve.yaml`` runs.

Exit codes: 0 written, 2 the configuration is wrong or no Envoy can serve it so.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import yaml

from infscale.cli.arguments import refuse_unreadable
from infscale.config.listeners import listen
from infscale.config.read import read_text
from infscale.config.settings import ListenAddress
from infscale.documents.strict_document import from_plain, load
from infscale.endpoint import DiscoveryState, FailureMode, Pool, is_host_name
from infscale.envoy.config import Address, Document, PickerRoute, bootstrap
from infscale.errors import ConfigError, StartError
from infscale.serving.configured import Configured, read_configured

ClusterKind = Literal["known", "original-dst"]

_LISTEN, _ADMIN = "127.0.0.1:8080", "127.0.0.1:9901"
_ANY = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class EnvoyOptions:
    """What is asked for beside the configuration; None: as follows from it."""

    listen: ListenAddress
    admin: ListenAddress
    picker: ListenAddress | None = None
    picker_ca: Path | None = None
    cluster: ClusterKind | None = None
    response_bodies: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Writes the configuration of an Envoy that asks the picker of a serve.yaml where requests go, and takes "
        "from clients no header that only a gateway may set. Write it anew when the discovery file changes."
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the configuration of infscale serve"
    )
    parser.add_argument("--listen", default=_LISTEN, help="where clients come (default %(default)s)")
    parser.add_argument("--admin", default=_ADMIN, help="Envoy's own admin page (default %(default)s)")
    parser.add_argument("--picker", help="where Envoy finds the picker (default: picker.listen, on this machine)")
    parser.add_argument("--picker-ca", type=Path, metavar="FILE", help="the authority of the picker's certificate")
    parser.add_argument(
        "--cluster",
        choices=get_args(ClusterKind),
        help="known: Envoy has the endpoints of the discovery file, and a second choice; original-dst: it goes where "
        "the picker says, also to endpoints that come later (default: known with a discovery file)",
    )
    parser.add_argument(
        "--response-bodies",
        action="store_true",
        help="the picker sees answers: for usage, and models that are rewritten (default: where the files need it)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write it (default: standard output)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the configuration; raises `ConfigError` where it cannot be made."""
    path: Path = args.config
    options = EnvoyOptions(
        _address("--listen", args.listen),
        _address("--admin", args.admin),
        None if args.picker is None else _address("--picker", args.picker),
        args.picker_ca,
        args.cluster,
        args.response_bodies,
    )
    refuse_unreadable("--config", path)
    if options.picker_ca is not None:
        refuse_unreadable("--picker-ca", options.picker_ca)
    document = envoy_document(read_configured(load(read_text(path), str(path)), path), options, str(path))
    text = yaml.safe_dump(document, sort_keys=False, width=120)
    _write(f"# Written by infscale envoy-config from {path.name}.\n{text}", args.output)
    return 0


def envoy_document(configured: Configured, options: EnvoyOptions, source: str) -> Document:
    """The bootstrap document; `source` is the configuration's file for errors. Raises `ConfigError`."""
    config, state = configured.config, configured.state
    picker = options.picker or config.picker.listen
    if not picker.port:
        raise ConfigError(
            source, "picker.listen", "the port is any free one, which Envoy cannot know; give it a number"
        )
    if (config.picker.tls is None) != (options.picker_ca is None):
        said = "is given, and picker.tls is not" if options.picker_ca else "is needed: picker.tls is configured"
        raise ConfigError(source, "--picker-ca", said)
    kind = options.cluster or ("original-dst" if state is None else "known")
    if kind == "original-dst" and config.picker.destinations > 1:
        problem = f"{config.picker.destinations} destinations need --cluster known: ORIGINAL_DST takes one"
        raise ConfigError(source, "picker.destinations", problem)
    bodies = (
        options.response_bodies or bool(state and state.rewrites) or bool(configured.scheduling.reporting.attributes)
    )
    ca = None if options.picker_ca is None else str(options.picker_ca.absolute())
    where = Address(options.listen.host, options.listen.port), Address(_ANY.get(picker.host, picker.host), picker.port)
    trusted = config.picker.trusted_headers
    admin = Address(options.admin.host, options.admin.port)
    if kind == "original-dst":
        return bootstrap(admin, [PickerRoute(*where, None, bodies, ca, trusted)])
    if state is None:
        raise ConfigError(source, "--cluster", "known needs discovery.file: who follows a cluster takes original-dst")
    pool = _pool(state, configured, source)
    fail_open = pool.failure_mode is FailureMode.OPEN
    endpoints = _endpoints(state, pool, source)
    return bootstrap(admin, [PickerRoute(*where, endpoints, bodies, ca, trusted, fail_open, pool.h2c)])


def _pool(state: DiscoveryState, configured: Configured, source: str) -> Pool:
    wanted = configured.config.picker.pool
    pools = [pool for pool in state.pools if wanted in (None, pool.key)]
    if len(pools) != 1:
        known = ", ".join(str(pool.key) for pool in state.pools)
        raise ConfigError(source, "picker.pool", f"expected one of the discovery file's pools: {known}")
    return pools[0]


def _endpoints(state: DiscoveryState, pool: Pool, source: str) -> tuple[Address, ...]:
    members = state.members(pool)
    if not members:
        problem = f"no endpoint of the discovery file belongs to pool {pool.key}; --cluster original-dst needs none"
        raise ConfigError(source, "--cluster", problem)
    names = [each.address for each in members if is_host_name(each.address) and not each.address[-1].isdigit()]
    if names:
        raise ConfigError(source, "--cluster", f"{names[0]} is the name of another cluster's gateway, not an address")
    return tuple(Address(each.address, each.port) for each in members)


def _address(flag: str, text: str) -> ListenAddress:
    return listen(from_plain(text, flag))


def _write(text: str, path: Path | None) -> None:
    if path is None:
        print(text, end="")
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror or error}") from error
