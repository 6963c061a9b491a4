"""The demo end to end: bad arguments cost no time, a short run gives a whole report, Ctrl-C leaves no process."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from infscale.cli.main import main
from tests.cli.signals import hears_signals

ROOT = Path(__file__).parents[3]
TRACE_LINE = '{{"timestamp": {}, "input_length": 700, "output_length": 8, "hash_ids": [0, {}]}}'


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "infscale.cli.main", "demo", "--no-tty", *arguments]


def demo(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    path = folder / "report.json"
    done = subprocess.run(
        command("--report", str(path), *arguments), cwd=ROOT, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr
    return done, orjson.loads(path.read_bytes())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "0"], "--seconds: expected a number within 1–3600, got 0"),
        (["--rate", "nan"], "--rate: expected a number within 0.1–1000, got nan"),
        (["--trace", "no-such-trace.jsonl"], "no-such-trace.jsonl: cannot read the trace: No such file or directory"),
        (
            ["--scenario", "overlod"],
            "--scenario: expected one of overload, scale-from-zero, sessions, drain; did you mean overload",
        ),
        (["--scenario", "overload", "--rate", "5"], "--rate: is a part of the scenario overload; leave it out"),
        (["--scenario", "sessions", "--trace", "x.jsonl"], "--trace: expected either a trace or a scenario"),
        (["--report", "no-such-folder/report.json"], "--report: there is no folder no-such-folder"),
        (["--report", "."], "--report: . is a folder, expected a file"),
        (["--report", "report.png"], "--report: the plot is written to report.png"),
    ],
    ids=[
        "seconds",
        "rate",
        "trace",
        "no scenario",
        "in the scenario",
        "both",
        "no folder",
        "a folder",
        "the plot's file",
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_report_that_may_not_be_written_is_refused_before_a_minute_has_passed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def access(path: Path, mode: int) -> bool:
        return not (path == tmp_path and mode == os.W_OK)

    monkeypatch.setattr(os, "access", access)
    assert main(["demo", "--report", str(tmp_path / "report.json")]) == 2
    assert "report.json may not be written" in capsys.readouterr().err


def test_a_missing_envoy_is_said_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert main(["demo", "--report", str(tmp_path / "report.json")]) == 1
    assert "Envoy is missing" in capsys.readouterr().err


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_short_demo_answers_everything_and_writes_report_and_plot(tmp_path: Path) -> None:
    done, report = demo(tmp_path, "--seconds", "6", "--servers", "4", "--seed", "3")
    assert "first token p90" in done.stdout
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert report["seed"] == 3
    assert report["versions"]["envoy"][0].isdigit()
    phases = report["phases"]
    assert set(phases) == {"round_robin", "reference", "infscale"}
    for phase in phases.values():
        assert phase["requests"] == 60
        assert phase["failed"] == 0
        assert phase["throughput_rps"] > 0
        assert 0 <= phase["prefix_hit_ratio"] <= 1
        for measure in ("ttft_seconds", "tpot_seconds"):
            assert 0 < phase[measure]["p50"] <= phase[measure]["p90"] <= phase[measure]["p99"]
        assert any(answer["value"] is not None for answer in phase["adapter_answers"])
        assert len(phase["endpoint_loads"]) > 10
    assert set(phases["round_robin"]["answered_by"].values()) == {15}
    assert phases["infscale"]["prefix_hit_ratio"] > phases["round_robin"]["prefix_hit_ratio"]


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_trace_is_replayed_and_its_subset_named(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(TRACE_LINE.format(100 * number, number % 30 + 1) for number in range(300)))
    _, report = demo(tmp_path, "--seconds", "2", "--rate", "10", "--trace", str(trace))
    assert report["workload"]["subset"]["requests"] == report["phases"]["infscale"]["requests"]
    assert report["workload"]["file"] == "trace.jsonl"
    assert report["phases"]["infscale"]["failed"] == report["phases"]["round_robin"]["failed"] == 0


@pytest.mark.envoy
@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["Ctrl-C", "SIGTERM", "terminal closed", "SIGKILL"],
)
@pytest.mark.parametrize("processes", [2, 5], ids=["starting", "under load"])
def test_no_process_outlives_the_demo(tmp_path: Path, number: signal.Signals, code: int, processes: int) -> None:
    # Every descendant inherits this, whatever its parent is by then.
    mark = f"demo-test-{os.getpid()}-{tmp_path.name}"
    process = subprocess.Popen(
        command("--report", str(tmp_path / "report.json"), "--seconds", "20", "--servers", "2"),
        cwd=ROOT,
        env={**os.environ, "DEMO_TEST_MARK": mark, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=hears_signals,  # noqa: PLW1509 # two system calls, no locks
    )
    until(lambda: len(marked(mark)) >= processes, 30.0)
    if number is signal.SIGINT:
        # As a terminal does it: to the whole foreground group.
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    assert process.wait(timeout=15) == code
    until(lambda: not marked(mark), 15.0)
    assert process.stderr is not None
    with process.stderr as said:
        assert len(said.read().splitlines()) == (number is signal.SIGINT)
    # Nothing can clean up after a SIGKILL.
    assert number is signal.SIGKILL or not list(tmp_path.glob("infscale-*"))


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.envoy
@pytest.mark.timeout(60)
def test_a_terminal_that_closes_ends_the_live_view_too(tmp_path: Path, processes: int) -> None:
    """As a terminal does it: what is written fails from then on, and the group hears SIGHUP."""
    mark = f"demo-test-{os.getpid()}-{tmp_path.name}"
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        hears_signals()
        words = [*command("--report", str(tmp_path / "report.json"), "--servers", "2")]
        words.remove("--no-tty")
        os.execve(words[0], words, {**os.environ, "DEMO_TEST_MARK": mark, "TMPDIR": str(tmp_path), "TERM": "xterm"})
    until(lambda: len(marked(mark)) >= processes, 30.0)
    if processes > 1:
        # What the live view shows while parts start, which is redrawn until they have.
        shown = b""
        while b"Phase 1" not in shown:
            shown += os.read(terminal, 1 << 16)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) in (129, -signal.SIGHUP if processes == 1 else 129)
    until(lambda: not marked(mark), 15.0)
    assert not list(tmp_path.glob("infscale-*"))


def until(holds: Callable[[], bool], seconds: float) -> None:
    stop = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < stop
        wait(0.02)


def wait(seconds: float) -> None:
    stop = time.monotonic() + seconds
    while (left := stop - time.monotonic()) > 0:
        signal.sigtimedwait([], left)


def marked(mark: str) -> list[str]:
    """Command lines of the processes whose environment has the mark."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in found if line.strip()]
