"""``infscale plan``: files as they are applied, and others in their place, on the same traffic."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infscale.cli.main import main
from infscale.recording.recorded_request import PrefixDigests, RecordedRequest, header_line
from picker.epp_config.presets import PRESETS
from picker.explaining.sheet_form import sheet_line
from tests.cli.simulate.test_simulate_command import HPA
from tests.picker.directing.test_director import Bench
from tests.picker.explaining.test_pick_log import EXPLAINED, traffic

QUICK = ("--seeds", "1", "--jobs", "1", "--no-tty")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Requests of which every fifth begins alike, one of these kinds for a LoRA adapter."""
    digests = PrefixDigests(b"secret")
    lines = [header_line("2026-11-30T12:00:00Z")]
    for number in range(100):
        prefixes = digests.of("m", bytes([number % 5]) * 4000)
        tuned = number % 5 == 0
        name = "tuned" if tuned else "m"
        request = RecordedRequest(number * 0.05, name, 0, 1100, 20, 20, prefixes, "completed", 200, lora=tuned)
        lines.append(request.line())
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_file_of_picks_is_played_and_what_it_lacks_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(2, settings=EXPLAINED)
    traffic(bench, random.Random(3), 60)
    assert bench.director.log is not None
    began = datetime(2026, 12, 1, tzinfo=UTC)
    sheets = [sheet_line(each, lambda at: began + timedelta(seconds=at)) for each in bench.director.log.sheets()]
    picks = tmp_path / "picks.jsonl"
    picks.write_bytes(b"".join(sheets))
    assert main(["simulate", "--workload", f"trace:file={picks},output=20", "--servers", "2", *QUICK]) == 0
    assert main(["plan", "--recording", str(picks), "--servers", "2", *QUICK]) == 2
    said = capsys.readouterr()
    assert "60 requests" in said.out
    assert "picks have no beginnings of prompts" in said.err
    assert "no answer's length was recorded" in said.err


def test_a_recording_is_played_with_the_files_as_they_are(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epp, hpa = written(tmp_path, "epp.yaml", PRESETS["reference"]), written(tmp_path, "hpa.yaml", HPA)
    report = tmp_path / "report.json"
    scaling = ["--sync", "1s", "--start", "1s", "--json", str(report)]
    assert main(["plan", hpa, epp, "--recording", str(recording), "--servers", "2", *scaling, *QUICK]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "100 requests to 2 × qwen3-32b-h100-tp2"
    assert printed[1] == f"now      {epp}, {hpa}"
    assert printed[2].strip().startswith("2 replicas")
    assert not any("against" in line for line in printed)
    found = json.loads(report.read_text())
    assert found["simulated"]["now"]["traffic"]["file"] == "requests.jsonl"
    assert found["simulated"]["now"]["traffic"]["loras"] == ["tuned"]
    assert found["simulated"]["now"]["policies"][0]["configuration"] == PRESETS["reference"]
    assert found["simulated"]["now"]["hpa"]["name"] == "llm/llama"
    (run,) = found["runs"]
    assert run["classes"]["all"]["requests"] == 100
    # 95 of 100 prompts begin as an earlier one does.
    assert found["estimates"]["now"]["all"]["prefix_hit_ratio"]["mean"] > 0.5


def test_a_change_takes_the_place_of_its_kind_and_is_compared_with_what_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epp, hpa = written(tmp_path, "epp.yaml", PRESETS["infscale"]), written(tmp_path, "hpa.yaml", HPA)
    fewer = written(tmp_path, "fewer.yaml", HPA.replace("maxReplicas: 6", "maxReplicas: 1"))
    traffic = ["--workload", "chats:requests=150,rate=30", "--servers", "1", "--sync", "1s", "--start", "1s"]
    assert main(["plan", epp, hpa, "--change", fewer, *traffic, *QUICK]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == f"now      {epp}, {hpa}"
    assert "1 replicas at first, 1 to " in printed[2]
    assert printed[3] == f"changed  {epp}, {fewer}"
    assert printed[4].strip() == "1 replicas throughout (seed 1)"
    assert "changed against now is" in printed[6]
    assert "GPU seconds" in " ".join(printed[6:10])


@pytest.mark.parametrize(
    ("files", "more", "problem"),
    [
        (["pod.yaml"], [], "kind: expected EndpointPickerConfig or HorizontalPodAutoscaler, got 'Pod'"),
        (["nowhere.yaml"], [], "nowhere.yaml cannot be read: No such file"),
        (["hpa.yaml", "hpa.yaml"], [], "are both of kind HorizontalPodAutoscaler"),
        (["hpa.yaml"], ["--change", "pod.yaml"], "expected EndpointPickerConfig or"),
        (["hpa.yaml"], ["--recording", "r", "--workload", "chats"], "give either a recording or workloads, not both"),
        (["hpa.yaml"], ["--recording", "nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["hpa.yaml"], ["--jobs", "0"], "--jobs: expected at least 1"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_is_said_in_one_line(
    files: list[str],
    more: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written(tmp_path, "hpa.yaml", HPA)
    written(tmp_path, "pod.yaml", "apiVersion: v1\nkind: Pod\n")
    monkeypatch.chdir(tmp_path)
    assert main(["plan", *files, *more]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert problem in lines[0]
