"""What the commands share about their arguments."""

import argparse
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infscale.config.settings import KubernetesSettings
from infscale.documents.watched_file import unreadable
from infscale.errors import ConfigError

TELEMETRY_ADDRESS: Final = "http://127.0.0.1:9090"
"""Where a process that was not told otherwise has its telemetry."""


def telemetry_address(text: str) -> str:
    """`text`, given with ``--address``, if it is a URL. Raises `ConfigError`."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError("", "--address", f"expected a URL such as {TELEMETRY_ADDRESS}, got {text[:100]!r}")
    return text


def refuse_unreadable(flag: str, path: Path, place: str = "") -> None:
    """Refuse a file that cannot be read with the flag, or the key at `place`, that names it. Raises `ConfigError`."""
    problem = unreadable(path)
    if problem is not None:
        raise ConfigError(place, flag, f"{path} {problem}")


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """The arguments that name a cluster."""
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: ~/.kube/config")
    parser.add_argument("--context", metavar="NAME", help="a context of it (default: the current one)")


def cluster_of(arguments: argparse.Namespace, configured: KubernetesSettings | None = None) -> tuple[Path, str | None]:
    """Which cluster is meant, as kubeconfig and context: by the arguments, else by a configuration, else the user's."""
    given = KubernetesSettings() if configured is None else configured
    kubeconfig = arguments.kubeconfig or given.kubeconfig or Path.home() / ".kube" / "config"
    return kubeconfig, arguments.context or given.context
