"""Session keys in a file, or in the files of a folder such as a mounted Secret."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from infscale.documents.problems import Problems
from infscale.documents.watched_file import look_at
from infscale.errors import ConfigError
from picker.epp_config.loader import PickerConfig
from picker.sessions.key_text import MAX_KEYS, read_keys
from picker.sessions.session_settings import SessionSettings
from picker.sessions.session_tokens import TokenKeys


def with_session_keys(config: PickerConfig) -> PickerConfig:
    """`config` with the keys of its sessions. Raises `ConfigError`. It reads files."""
    return replace(config, session_keys=session_keys(config.sessions)) if config.sessions else config


def session_keys(kinds: Sequence[SessionSettings]) -> Mapping[str, TokenKeys]:
    """The keys of `kinds` by the names of their files. Raises `ConfigError` with all that is wrong. It reads files."""
    problems = Problems()
    found: dict[str, TokenKeys] = {}
    for kind in {kind.keys: kind for kind in kinds if kind.keys}.values():
        try:
            found[kind.keys] = keys_at(Path(kind.keys))
        except ConfigError as error:
            problems.add(ConfigError(kind.keys_place, kind.keys_path, str(error)))
    problems.raise_any()
    return found


def keys_at(path: Path) -> TokenKeys:
    """The keys in the file at `path`, or in the files of that folder, in the order of their names.

    Names that begin with a dot are none: a mounted Secret has such links. Raises `ConfigError`. It reads files.
    """
    secrets: list[bytes] = []
    for file in _files(path):
        for key in read_keys(look_at(file).text(str(file)), str(file)):
            if key in secrets:
                raise ConfigError(str(file), "", "one of its keys is in another file, too")
            secrets.append(key)
    if len(secrets) > MAX_KEYS:
        raise ConfigError(str(path), "", f"expected at most {MAX_KEYS} keys, there are {len(secrets)}")
    return TokenKeys(secrets)


def _files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    try:
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror or error}") from error
    if not names:
        raise ConfigError(str(path), "", "there is no file in it; expected at least one with a key")
    return [path / name for name in names]
