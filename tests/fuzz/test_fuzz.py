"""A bounded part of the fuzzer's run, and every input of the corpus; `make fuzz` goes on for as long as one likes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS

SECONDS = 6
INPUTS = [(path.parent.name, path) for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize(("target", "path"), INPUTS, ids=[f"{target}/{path.name}" for target, path in INPUTS])
@pytest.mark.filterwarnings("default::RuntimeWarning")
def test_every_input_of_the_corpus_does_no_harm(target: str, path: Path) -> None:
    TARGETS[target]()(path.read_bytes())


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {target for target, _ in INPUTS} == TARGETS.keys()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("target", TARGETS)
def test_some_seconds_of_coverage_guided_inputs_find_nothing(target: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this machine")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", target, f"--seconds={SECONDS}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    said = done.stderr[-4000:]
    assert done.returncode == 0, said
    units = next(line for line in said.splitlines() if "number_of_executed_units" in line)
    # Far fewer would mean that the target ends before it does anything.
    assert int(units.rpartition(":")[2]) > len(list((CORPUS / target).iterdir())), said
