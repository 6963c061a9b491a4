"""The states of rollouts in a file (`picker.rollouts_file`), so that a process that is started again goes on there.

What was counted is not in it: the requests of a step, and the evidence of its test, begin anew with the process.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import orjson

from infscale.documents import values
from infscale.documents.strict_document import Field, read_whole
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError
from infscale.rollouts.rollout_state import RolloutPhase, RolloutState
from infscale.rollouts.running_rollout import RunningRollout

MOST_BYTES: Final = 4 * 1024**2
_MOST: Final = 1_000_000

States = Mapping[tuple[ObjectKey, str], RolloutState]


def written_states(rollouts: Iterable[RunningRollout]) -> bytes:
    """The content of the file."""
    found = [
        {
            "namespace": each.rollout.key.namespace,
            "name": each.rollout.key.name,
            "revision": each.rollout.revision,
            "phase": each.state.phase.value,
            "step": each.state.step,
            "seconds": each.state.seconds,
            "reason": each.state.reason,
            "alarmed": each.state.alarmed,
            "ignoresAlarm": each.state.ignores_alarm,
        }
        for each in rollouts
    ]
    return orjson.dumps({"rollouts": found}, option=orjson.OPT_INDENT_2)


def save_states(path: Path, content: bytes) -> None:
    """Put `content` into the file, whole or not at all. Raises OSError."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(content)
    os.replace(beside, path)


def load_states(path: Path, now: float) -> States:
    """The states that the file has; none where there is no file. Raises `ConfigError` for one that cannot be read.

    Their time begins at `now`: what passed while no process ran is not time of a step.
    """
    source = str(path)
    try:
        with contextlib.closing(path.open("rb")) as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(source, "", f"cannot be read: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise ConfigError(source, "", f"is larger than {MOST_BYTES // 1024**2} MiB")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(source, "", "is no text in UTF-8") from error
    read = read_whole(
        text, source, lambda root: root.mapping(["rollouts"])["rollouts"].each(lambda each: _state(each, now))
    )
    return dict(read)


def _state(field: Field, now: float) -> tuple[tuple[ObjectKey, str], RolloutState]:
    parts = field.mapping(
        ["namespace", "name", "revision", "phase", "step", "seconds", "reason", "alarmed", "ignoresAlarm"]
    )
    key = ObjectKey(parts["namespace"].text(), parts["name"].text())
    state = RolloutState(
        now,
        values.member(RolloutPhase)(parts["phase"]),
        parts["step"].integer(0, _MOST),
        parts["seconds"].number(0),
        0,
        parts["reason"].text(empty=True),
        parts["alarmed"].boolean(),
        parts["ignoresAlarm"].boolean(),
    )
    return (key, parts["revision"].text(empty=True)), state
