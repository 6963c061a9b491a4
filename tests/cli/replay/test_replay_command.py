"""``infscale doctor replay`` on files and a Prometheus; mistakes are named in one line."""

from pathlib import Path

import orjson
import pytest

from infscale.cli.main import main
from infscale.cli.replay import replay_command
from tests.cli.replay.replay_files import SAMPLES, files
from tests.doctor.replay.replay_hpas import document, of_pool


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

    monkeypatch.setattr(replay_command, "find_spec", missing)
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
