"""What the commands share about their arguments."""

import argparse
from pathlib import Path
from typing import TypeAlias

from infscale.errors import ConfigError
from infscale.watched_file import unreadable

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage]
"""Where a command adds its parser; argparse has no public name for it."""


def refuse_unreadable(flag: str, path: Path, place: str = "") -> None:
    """Refuse a file that cannot be read with the flag, or the key at `place`, that names it. Raises `ConfigError`."""
    problem = unreadable(path)
    if problem is not None:
        raise ConfigError(place, flag, f"{path} {problem}")
