"""``infscale doctor replay`` on files and a Prometheus; mistakes are named in one line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from infscale.cli import doctor_replay
from infscale.cli.main import main
from tests.doctor.replay.replay_hpas import document, external, of_pool

SAMPLES = [
    {"at": 1e9 + 15 * number, "replicas": 2, "metrics": {"load": {"total": load}}}
    for number, load in enumerate((8, 8, 8, 12))
]


def files(folder: Path, hpa: dict[str, Any] | None = None, samples: Sequence[Any] = SAMPLES) -> list[str]:
    (folder / "hpa.yaml").write_text(yaml.safe_dump(hpa or document(external("load", "4"))))
    (folder / "series.json").write_bytes(orjson.dumps({"version": 1, "samples": samples}))
    return ["doctor", "replay", "--hpa", str(folder / "hpa.yaml"), "--series", str(folder / "series.json")]


def test_as_it_is_and_with_other_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = ["--target", "load=2", "--max", "3", "--plot", str(tmp_path / "p.png")]
    assert main([*files(tmp_path), *others]) == 0
    found = capsys.readouterr().out
    assert "the recorded replicas at 4 of 4" in found
    assert "with load 2, max 3" in found
    assert "capped at maxReplicas 3" in found
    assert "Open loop" in found
    assert (tmp_path / "p.png").exists()


def test_json_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*files(tmp_path), "--json", "--tolerance", "0.6", "--since", "31s", "--step", "15"]) == 0
    found = orjson.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["replays"]] == ["as it is", "with tolerance 0.6"]
    assert [[sync["desired"] for sync in each["syncs"]] for each in found["replays"]] == [[2, 2, 3], [2, 2, 2]]


def test_the_doctor_takes_names_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    assert "[NAME ...]" in capsys.readouterr().out


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


def test_too_many_steps_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    far = [SAMPLES[0], {**SAMPLES[0], "at": 2e9}]
    assert main([*files(tmp_path, samples=far), "--step", "15s"]) == 2
    assert "--step: " in capsys.readouterr().err


def test_replicas_that_nothing_tells_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = files(tmp_path, samples=[{"at": 1, "metrics": {"load": {"total": 8}}}])
    assert main(command) == 2
    assert "--replicas: the history has no replicas: give those at its beginning" in capsys.readouterr().err
    assert main([*command, "--replicas", "2"]) == 0


def test_a_plot_without_matplotlib_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        assert name == "matplotlib"

    monkeypatch.setattr(doctor_replay, "find_spec", missing)
    assert main([*files(tmp_path), "--plot", str(tmp_path / "p.png")]) == 1
    found = capsys.readouterr()
    assert "--plot needs matplotlib; install it with: " in found.err
    assert main(files(tmp_path)) == 0, "the table needs none"


def from_prometheus(folder: Path, url: str, *more: str) -> list[str]:
    command = files(folder, document(of_pool("load", "4")))[:4]
    return [*command, "--prometheus", url, *more]


def test_a_prometheus_that_does_not_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(from_prometheus(tmp_path, "http://127.0.0.1:9")) == 1
    assert "infscale: Prometheus 'http://127.0.0.1:9': " in capsys.readouterr().err


@pytest.mark.parametrize("url", ["prometheus:9090", "http://user:password@prometheus:9090", "http://p?x"])
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(from_prometheus(tmp_path, url)) == 2
    found = capsys.readouterr().err
    assert "--prometheus: expected an http or https address without user" in found
    assert "password@" not in found


def test_a_history_that_is_too_long_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(from_prometheus(tmp_path, "http://127.0.0.1:9", "--since", "1000h")) == 2
    assert "--since, --step: expected 1 to" in capsys.readouterr().err
