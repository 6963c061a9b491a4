"""The states of rollouts outlive the process, and a file that is none is refused."""

from pathlib import Path

import pytest

from infscale.errors import ConfigError
from infscale.rollouts.rollout_state import RolloutPhase, RolloutState
from infscale.rollouts.running_rollout import RunningRollout
from infscale.serving.rolling_out.rollout_file import MOST_BYTES, load_states, save_states, written_states
from tests.rollouts.made_rollouts import CANARY, KEY, canary


def test_a_state_is_read_as_it_was_but_for_what_was_counted(tmp_path: Path) -> None:
    held = RolloutState(5.0, RolloutPhase.HELD, 1, 7.5, 30, "held by command", False, True)
    path = tmp_path / "rollouts.json"
    save_states(path, written_states([RunningRollout(canary(revision="2"), 0.0, held)]))
    found = load_states(path, 100.0)
    assert found == {(KEY, "2"): RolloutState(100.0, RolloutPhase.HELD, 1, 7.5, 0, "held by command", False, True)}


def test_without_a_file_there_are_no_states(tmp_path: Path) -> None:
    assert load_states(tmp_path / "none.json", 0.0) == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "none.json"),
        (b"\xff", "no text in UTF-8"),
        (b'{"rollouts": [{}]}', "is missing"),
        (b'{"rollouts": 5}', "rollouts"),
        (b" " * (MOST_BYTES + 1), "larger than 4 MiB"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "none.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        load_states(path, 0.0)


def test_an_unknown_phase_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.json"
    path.write_bytes(written_states([RunningRollout(CANARY, 0.0)]).replace(b"Waiting", b"Sleeping"))
    with pytest.raises(ConfigError, match=r"rollouts\[0\].phase: expected one of Waiting, Progressing"):
        load_states(path, 0.0)
