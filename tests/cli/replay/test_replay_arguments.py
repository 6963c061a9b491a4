"""Mistakes in the arguments of a replay are named in one line."""

from pathlib import Path

import pytest

from infscale.cli.main import main
from tests.cli.replay.replay_files import files


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--target", "load"], "--target: expected METRIC=…"),
        (["--target", "load=0"], "--target: expected a quantity above 0"),
        (["--target", "laod=1"], "--target: the HPA has no metric 'laod'"),
        (["--tolerance", "nan"], "--tolerance: expected a number of at least 0"),
        (["--window-down", "2h"], "--window-down: expected at most 3600 s"),
        (["--min", "-1"], "--min: expected 0 to"),
        (["--min", "9"], "--min, --max: expected"),
        (["--replicas", "-1"], "--replicas: expected 0 to"),
        (["--since", "soon"], "--since: expected a duration such as 30s or 2h"),
        (["--step", "0"], "--step: expected a duration"),
        (["--query", "load=x"], "--query: goes with --prometheus"),
        (["--plot", "p.svg"], "--plot: expected a name that ends in .png"),
        (["--plot", "/nowhere/p.png"], "--plot: nothing can be written to /nowhere"),
        (["--hpa", "/nowhere/hpa.yaml"], "--hpa: /nowhere/hpa.yaml"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_mistake_is_named(more: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*files(tmp_path), *more]) == 2
    assert words in capsys.readouterr().err
