"""The command line of simulated servers: what it starts, what it refuses and in which words."""

import os
import signal
import socket
import threading
from pathlib import Path

import pytest
import yaml

from infscale.cli.main import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--coefficients", "gpt-9"), "unknown set 'gpt-9'; there are codellama-34b-h100"),
        (("--servers", "0"), "--servers: is at least 1"),
        (("--port", "65535", "--servers", "2"), "do not fit into 0–65535"),
        (("--port", "-1"), "--port"),
        (("--speed", "0"), "speed is positive"),
        (("--max-num-batched-tokens", "8"), "at least max_num_seqs"),
        (("--label", "app"), "--label: is KEY=VALUE"),
        (("--data-parallel-size", "0"), "are positive"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_impossible_arguments_are_one_plain_line_and_status_2(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim-server", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_taken_port_is_said_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["sim-server", "--port", str(taken.getsockname()[1])]) == 1
    assert "cannot listen on 127.0.0.1:" in capsys.readouterr().err


def test_an_endpoints_file_that_cannot_be_written_is_said_plainly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sim-server", "--port", "0", "--endpoints-file", str(tmp_path / "none" / "endpoints.yaml")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_servers_run_until_told_to_stop_and_are_listed_for_discovery(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "endpoints.yaml"
    arguments = ["--port", "0", "--servers", "2", "--label", "app=llm", "--endpoints-file", str(path)]
    stopper = threading.Thread(target=_stop_once_written, args=(path,))
    stopper.start()
    assert main(["sim-server", *arguments]) == 0
    stopper.join()
    endpoints = yaml.safe_load(path.read_text())["endpoints"]
    assert [one["name"] for one in endpoints] == ["sim-0", "sim-1"]
    assert all(one["labels"] == {"app": "llm"} and isinstance(one["port"], str) for one in endpoints)
    assert capsys.readouterr().out.count("serves meta-llama/Llama-3.1-8B-Instruct on http://127.0.0.1:") == 2


def _stop_once_written(path: Path) -> None:
    wait = threading.Event()
    while not path.exists():
        wait.wait(0.005)
    os.kill(os.getpid(), signal.SIGTERM)
