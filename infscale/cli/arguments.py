"""What the commands share about their arguments."""

import argparse
from pathlib import Path

from infscale.config.settings import KubernetesSettings
from infscale.documents.watched_file import unreadable
from infscale.errors import ConfigError


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
