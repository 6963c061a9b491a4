"""A person's mistake ends in one line that says what to do, and never in a traceback."""

import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infscale.cli.main import adapter_main, main, picker_main
from infscale.documents.strict_document import load

EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"
ENDPOINTS = "endpoints: [{name: a, address: 127.0.0.1, port: '1'}]\n"


def config(folder: Path, text: str = "", endpoints: str = ENDPOINTS) -> str:
    """A serve configuration on free ports with `text` added."""
    (folder / "endpoints.yaml").write_text(endpoints)
    listen = "".join(
        f"{part}: {{listen: '127.0.0.1:0'}}\n" for part in ("picker", "adapter", "telemetry") if f"{part}:" not in text
    )
    path = folder / "serve.yaml"
    path.write_text(f"discovery: {{file: endpoints.yaml}}\n{listen}{text}")
    return str(path)


@pytest.mark.parametrize(
    ("text", "endpoints", "said"),
    [
        pytest.param(
            "scrape: {interval_seconds: fast}", ENDPOINTS, "serve.yaml:5: scrape.interval_seconds: ", id="type"
        ),
        pytest.param("scrapes: {}", ENDPOINTS, "serve.yaml:5: scrapes: unknown key", id="unknown key"),
        pytest.param(
            "scrape: {interval_seconds: 2, timeout_seconds: 1}", ENDPOINTS, "less than 2 × the scrape", id="staleness"
        ),
        pytest.param(
            "", "endpoints: [{name: a, address: x, port: '1'}]", "endpoints.yaml:1: endpoints[0]", id="discovery"
        ),
        pytest.param("adapter: {listen: '0.0.0.0:6443'}", ENDPOINTS, "adapter.listen", id="adapter beyond loopback"),
        pytest.param("picker: {config_file: none.yaml}", ENDPOINTS, "none.yaml", id="missing scheduling"),
    ],
)
def test_a_wrong_configuration_is_one_line_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, endpoints: str, said: str
) -> None:
    assert main(["serve", "--config", config(tmp_path, text, endpoints)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


@pytest.mark.parametrize("part", ["picker", "adapter", "telemetry"])
def test_a_taken_port_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--config", config(tmp_path, f"{part}: {{listen: '127.0.0.1:{port}'}}")]) == 1
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("infscale: ")]
    assert len(lines) == 1
    assert f"127.0.0.1:{port}" in lines[0]


@pytest.mark.parametrize("program", [main, picker_main, adapter_main], ids=["infscale", "picker", "adapter"])
def test_help_is_there(program: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(program)
    with pytest.raises(SystemExit) as ended:
        program(["--help"])
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["serve", "demo", "sim-server"])
def test_every_command_is_there_and_says_what_it_takes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"infscale {command}" in capsys.readouterr().out


def test_simulated_servers_start_by_the_command_of_the_readme(tmp_path: Path) -> None:
    file = tmp_path / "discovery.yaml"
    command = [sys.executable, "-m", "infscale.cli.main", "sim-server", "--servers", "2", "--port", "0"]
    with subprocess.Popen([*command, "--endpoints-file", str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert all("serves" in line for line in lines)
    assert len(load(file.read_text(), "discovery.yaml").mapping(["endpoints"])["endpoints"].items()) == 2


def test_sigterm_ends_a_server_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infscale.cli.main", "serve", "--config", config(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = ""
        while "serving" not in line:
            line = process.stderr.readline()
            assert line, "it ended before it served"
        assert re.search(r"adapter=https://127\.0\.0\.1:\d+", line)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait() == 0
        assert "Traceback" not in rest
        assert time.monotonic() - started < 10
