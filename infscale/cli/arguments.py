"""What the commands share about their arguments."""

from pathlib import Path

from infscale.documents.watched_file import unreadable
from infscale.errors import ConfigError


def refuse_unreadable(flag: str, path: Path, place: str = "") -> None:
    """Refuse a file that cannot be read with the flag, or the key at `place`, that names it. Raises `ConfigError`."""
    problem = unreadable(path)
    if problem is not None:
        raise ConfigError(place, flag, f"{path} {problem}")
