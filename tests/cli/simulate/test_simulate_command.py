"""``infscale simulate``: one experiment, the same each time, and errors that say what to change."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from infscale.cli.main import main
from picker.epp_config.presets import PRESETS
from tests.cli.signals import hears_signals

SMALL = ("--workload", "chats:requests=60", "--servers", "3", "--seeds", "2", "--no-tty")
HPA = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: llama, namespace: llm}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
  maxReplicas: 6
  metrics:
  - type: External
    external:
      metric: {name: waiting_requests, selector: {matchLabels: {pool: llama-pool}}}
      target: {type: AverageValue, averageValue: 1}
"""


def test_a_scenario_is_played_and_says_itself_what_there_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("infscale.simulate.named_scenarios.STRETCH", 0.5)
    written = tmp_path / "figures.json"
    command = ["simulate", "--scenario", "sessions", "--seeds", "1", "--jobs", "1", "--no-tty"]
    assert main([*command, "--json", str(written)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("sessions: chats with session affinity")
    assert any(line.split()[:3] == ["sessions", "that", "moved"] for line in said)
    figures = json.loads(written.read_text())["figures"]
    assert set(figures) == {"reference", "infscale"}
    assert all(each["answered"] == each["requests"] > 50 for each in figures.values())
    assert main([*command, "--servers", "3"]) == 2
    assert "--servers: is a part of the scenario sessions" in capsys.readouterr().err


def report(path: Path) -> Any:
    """A report without what depends on the machine and on where the report is."""
    found = json.loads(path.read_text())
    del found["simulated"]["command"]
    for each in found["runs"]:
        del each["wall_seconds"]
    return found


@pytest.mark.timeout(90)  # Two processes begin, which takes seconds on a machine that is busy.
def test_two_configurations_are_compared_in_words_and_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lines have no room for long paths.
    monkeypatch.chdir(tmp_path)
    mine = Path("mine.yaml")
    mine.write_text(PRESETS["infscale"].replace("weight: 4", "weight: 1"))
    arguments = [*SMALL, "--policy", "infscale", "--policy", str(mine), "--slo", "ttft=300ms,tpot=50ms", "--jobs", "1"]
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    assert main(["simulate", *arguments, "--json", str(one), "--plot", str(tmp_path / "plot.png")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "60 requests to 3 × llama-2-7b-a100"
    assert printed[2].startswith(f"{mine} ")
    assert any(line.startswith("within the goal") for line in printed)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    # On two processes it is the same.
    assert main(["simulate", *arguments[:-1], "2", "--json", str(other)]) == 0
    assert report(one) == report(other)
    found = report(one)
    assert found["simulated"]["seeds"] == [1, 2]
    assert found["simulated"]["policies"][1]["configuration"] == mine.read_text()
    assert [each["seed"] for each in found["runs"]] == [1, 1, 2, 2]
    assert found["runs"][0]["classes"]["all"]["requests"] == 60
    assert sum(each["requests"] for each in found["runs"][0]["servers"]) == 60


def test_an_hpa_changes_replicas_in_the_pool_that_its_metrics_are_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, found = tmp_path / "hpa.yaml", tmp_path / "report.json"
    manifest.write_text(HPA)
    scaling = ["--hpa", str(manifest), "--sync", "1s", "--start", "1s", "--json", str(found)]
    traffic = ["--workload", "chats:requests=200,rate=30", "--servers", "1", "--seeds", "1", "--jobs", "1"]
    assert main(["simulate", *traffic, *scaling, "--policy", "infscale"]) == 0
    (run,) = report(found)["runs"]
    assert report(found)["simulated"]["pool"] == "llm/llama-pool"
    assert run["replicas"][-1]["after"] > 1
    assert len(run["servers"]) > 1
    assert "infscale" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--policy", "nothing"], "--policy: 'nothing' is no file, and none of infscale"),
        (["--policy", "infscale", "--policy", "infscale"], "--policy: infscale is there twice"),
        (["--servers", "0"], "--servers: expected such as 8 or 4xSET,4xSET@0.5"),
        (["--servers", "4xnone"], "--servers: unknown set 'none'; there are"),
        (["--servers", "4@0"], "--servers: 4@0: a server's speed is a factor within 0.01–100"),
        (["--workload", "nothing"], "workload: unknown name 'nothing'"),
        (["--workload", "mooncake"], "expected the trace: mooncake:file=PATH"),
        (["--workload", "mooncake:file=/nowhere.jsonl"], "/nowhere.jsonl"),
        (["--fault", "explode@1"], "--fault: expected KIND@SERVER:at=10s,for=30s with one of freeze-metrics"),
        (["--fault", "refuse@9:for=1s"], "faults are of servers 0–7"),
        (["--fault", "error@1:status=200"], "status is 500–599"),
        (["--fault", "refuse@1:until=1s"], "expected NAME=VALUE with at, for, ratio, status, after"),
        (["--slo", "ttft=fast"], "--slo: expected a duration"),
        (["--slo", "p90=1s"], "--slo: expected NAME=VALUE with ttft, tpot, e2e"),
        (["--seeds", "0"], "--seeds: expected a number of seeds"),
        (["--seeds", "1,1"], "--seeds: 1 is there twice"),
        (["--delay", "picker=-1s"], "--delay: expected a duration"),
        (["--priority", "batch"], "--priority: expected CLASS=NUMBER"),
        (["--scrape", "2s"], "staleness limit of 2 s"),
        (["--jobs", "0"], "--jobs: expected at least 1"),
        (["--hpa", "/nowhere.yaml"], "--hpa: /nowhere.yaml"),
        (["--json", "/nowhere/report.json"], "--json: /nowhere/report.json cannot be written"),
        (["--plot", "picture.svg"], "--plot: expected a name that ends in .png"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_is_said_in_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--jobs", "1", "--seeds", "1", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("infscale: ")
    assert problem in lines[0]


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    ("sent", "code", "last"),
    [(signal.SIGINT, 130, "infscale: interrupted"), (signal.SIGKILL, -signal.SIGKILL, None)],
    ids=["Ctrl-C", "killed"],
)
def test_what_ends_it_ends_all_its_processes(tmp_path: Path, sent: signal.Signals, code: int, last: str | None) -> None:
    """Within a long experiment."""
    command = [sys.executable, "-m", "infscale.cli.main", "simulate", "--workload", "chats:seconds=3000", "--jobs", "2"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=hears_signals,  # noqa: PLW1509 # two system calls, no locks
    ) as running:
        try:
            deadline = time.monotonic() + 40
            while len(children(running.pid)) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)  # noqa: TID251 # waiting for another program
            started = children(running.pid)
            # Two that simulate, and one that counts what they share.
            assert len(started) == 3
            running.send_signal(sent)
            _, errors = running.communicate(timeout=30)
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    assert running.returncode == code, errors.decode()
    assert last is None or errors.decode().splitlines()[-1] == last
    # The one that counts ends when it finds the others gone.
    while any(map(runs, started)) and time.monotonic() < deadline + 40:
        time.sleep(0.05)  # noqa: TID251 # waiting for another program
    assert not [each for each in started if runs(each)]


def children(parent: int) -> list[int]:
    """The processes that `parent` has started."""
    found = (int(each) for each in os.listdir("/proc") if each.isdigit())
    return [each for each in found if (fields := status(each)) and int(fields[1]) == parent]


def runs(process: int) -> bool:
    """Whether the process is there, and not only its exit status."""
    fields = status(process)
    return bool(fields) and fields[0] != "Z"


def status(process: int) -> list[str]:
    """What Linux says of a process, from its state on; nothing where it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
