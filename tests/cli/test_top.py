"""`infscale top` against a real `serve` in a real terminal: keys, sizes, signals, a serve that goes and comes back."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infscale.cli.main import main

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "infscale.cli.main"]
MODEL = "model\x1b[2Jhidden"
PATIENCE = 25.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "127.0.0.1:9090"], "--address: expected a URL such as http://127.0.0.1:9090"),
        (["--address", "file:///etc/passwd"], "--address: expected a URL such as http://127.0.0.1:9090"),
        (["--address", "http://[::1"], "--address: expected a URL such as http://127.0.0.1:9090"),
        (["--interval", "0"], "--interval: expected seconds within 0.1–3600"),
        (["--interval", "nan"], "--interval: expected seconds within 0.1–3600"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("asking", [["top", "--once"], ["top", "--json"], ["explain", "a-request"], ["replay"]])
def test_where_nothing_answers_it_says_so_and_where(asking: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*asking, "--address", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == "infscale: http://127.0.0.1:1: connection refused\n"


class Served:
    """A `serve` on simulated servers, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._log = (folder / "log").open("wb")
        self._servers = self._run(
            "sim-server", "--port", "0", "--servers", "3", "--model", MODEL, "--endpoints-file", "e.yaml"
        )
        until((folder / "e.yaml").exists)
        (folder / "serve.yaml").write_text(
            f'discovery: {{file: e.yaml}}\ntelemetry: {{listen: "127.0.0.1:{self.port}"}}\n'
            'picker: {listen: "127.0.0.1:0"}\nadapter: {listen: "127.0.0.1:0"}\n'
        )
        self._serve = self._start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """As a crash ends it."""
        self._serve.kill()
        self._serve.wait()

    def start_again(self) -> None:
        self._serve = self._start()

    def close(self) -> None:
        for each in (self._serve, self._servers):
            each.kill()
            each.wait()
        self._log.close()

    def _start(self) -> subprocess.Popen[bytes]:
        started = self._run("serve", "--config", "serve.yaml")
        until(lambda: accepts(self.port))
        return started

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [*PROGRAM, *arguments], cwd=self._folder, env=environment, stdout=self._log, stderr=self._log
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"))
    yield made
    made.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.05)  # noqa: TID251 # waiting for another process


class Screen:
    """`infscale top` in a terminal, and what is on its screen."""

    def __init__(self, url: str, width: int = 80, height: int = 24) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(width, height)
        self.before = termios.tcgetattr(self._slave)
        self.written = b""
        self.process = subprocess.Popen(
            [*PROGRAM, "top", "--address", url, "--interval", "0.3"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
            preexec_fn=lambda: os.login_tty(self._slave),  # noqa: PLW1509 # system calls, no locks
        )

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def resize(self, width: int, height: int) -> None:
        termios.tcsetwinsize(self._master, (height, width))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def lines(self) -> list[str]:
        """The last whole screen that was drawn."""
        while select.select([self._master], [], [], 0)[0]:
            self.written += os.read(self._master, 65536)
        screens = re.findall(rb"\x1b\[H((?:(?!\x1b\[H).)*?)\x1b\[K\x1b\[J", self.written, re.DOTALL)
        text = screens[-1].decode() if screens else ""
        return re.sub(r"\x1b\[[0-9;]*[mK]", "", text).replace("\r", "").split("\n")

    def until(self, words: str) -> list[str]:
        """The screen, once it has these words."""
        until(lambda: any(words in line for line in self.lines()))
        return self.lines()

    def ended(self) -> int:
        """The exit status, once it has ended and given the terminal back."""
        status = self.process.wait(PATIENCE)
        self.lines()
        assert self.written.endswith(b"\x1b[?1049l")
        assert self.is_given_back()
        return status

    def is_given_back(self) -> bool:
        """Whether the terminal is as it was."""
        return termios.tcgetattr(self._slave) == self.before


@pytest.mark.timeout(120)
def test_keys_lead_through_the_store_at_every_size(served: Served) -> None:
    with Screen(served.url) as screen:
        lines = screen.until("default/default")
        assert len(lines) == 24
        screen.type(b"\r")
        screen.until("default/sim-2")
        until(lambda: any(re.match(r"default/sim-0 +ready", line) for line in screen.lines()))
        screen.until("model�[2Jhidden")
        screen.type(b"/sim-1\r")
        lines = screen.until("filter sim-1")
        assert not any("sim-2" in line for line in lines)
        screen.type(b"\x1b")
        screen.until("default/sim-2")
        screen.type(b"s")
        screen.until("endpoint▼")
        screen.type(b"j\r")
        screen.until("gpu_memory_used_bytes")
        screen.type(b"e")
        screen.until("last picks")
        screen.until("there is none of it among the last picks")
        screen.resize(132, 40)
        until(lambda: len(screen.lines()) == 40)
        screen.type(b"\x7f\x7f\x7f")
        screen.until("1 pool, 3 endpoints")
        screen.type(b"q")
        assert screen.ended() == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)],
    ids=["TERM", "HUP", "INT"],
)
def test_a_signal_gives_the_terminal_back(served: Served, number: signal.Signals, status: int) -> None:
    with Screen(served.url) as screen:
        screen.until("default/default")
        screen.process.send_signal(number)
        assert screen.ended() == status


@pytest.mark.timeout(120)
def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(served: Served) -> None:
    with Screen(served.url) as screen:
        screen.until("default/default")
        screen.process.send_signal(signal.SIGTSTP)
        until(screen.is_given_back)
        screen.written = b""
        screen.process.send_signal(signal.SIGCONT)
        screen.until("default/default")
        screen.type(b"q")
        assert screen.ended() == 0


@pytest.mark.timeout(120)
def test_a_serve_that_goes_is_said_to_be_gone_and_comes_back(served: Served) -> None:
    with Screen(served.url) as screen:
        screen.until("default/default")
        served.kill()
        try:
            lines = screen.until("no answer for")
            assert "connection refused" in lines[0]
            assert any("default/default" in line for line in lines)
        finally:
            served.start_again()
        until(lambda: not any("no answer" in line for line in screen.lines()))
        screen.type(b"q")
        assert screen.ended() == 0


def printed(served: Served, *arguments: str) -> str:
    done = subprocess.run(
        [*PROGRAM, "top", "--address", served.url, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout


@pytest.mark.timeout(60)
def test_without_a_terminal_everything_is_printed_once(served: Served) -> None:
    found = printed(served)
    assert [len(re.findall(rf"^default/sim-{number} ", found, re.MULTILINE)) for number in range(3)] == [1, 1, 1]
    assert "\x1b" not in found


@pytest.mark.timeout(60)
def test_the_documents_are_printed_as_json(served: Served) -> None:
    found: dict[str, Any] = json.loads(printed(served, "--json"))
    assert len(found["snapshot"]["pools"][0]["endpoints"]) == 3
    assert (found["picks"]["picks"], found["autoscalers"]) == ([], None)
