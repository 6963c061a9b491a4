"""A whole infscale as processes of their own, and a law that holds whatever is sent to them.

`installed` runs two simulated model servers, `infscale serve` with picker and adapter on a discovery file, and a prober
that asks the picker for endpoints on a connection of its own, about 80 times a second, from before the first attack to
after the last. A test wraps what it sends in `during`:

    async with installed.during() as attack:
        answer = await send(installed.picker, …)
    assert answer == …

Leaving the block checks the law (`Installed.check`): no request of the prober failed, its latencies meanwhile stayed
within `LATENCY_SECONDS` or `QUIET_FACTOR` times what they are in quiet (and what the machine itself keeps the prober
waiting meanwhile), memory of all processes stayed within `MEMORY_BYTES` and came back to what it was, every process
still runs, and none has said a traceback. `attack` then holds the figures.
"""

import asyncio
import contextlib
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

from infscale.demo.child_processes import free_ports
from infscale.process.parents import die_with_parent

LATENCY_SECONDS = 0.05
"""What the 99th percentile of other requests may take while something hostile goes on …"""

QUIET_FACTOR = 5.0
"""… or this many times what it takes in quiet, where the machine is slow."""

MEMORY_BYTES = 512 << 20
"""What all processes of infscale together may hold at any time."""

KEPT_BYTES = 48 << 20
"""What may be left of an attack: what allocators keep, caches that have filled."""

_QUIET_SECONDS = 0.4
_ENOUGH_QUIET = 200
_PAUSE_SECONDS = 0.1
_RETURN_SECONDS = 5.0
_SAMPLE_SECONDS = 0.02
_START_SECONDS = 15.0
_FEWEST = 10


# Processes


def family(pid: int) -> list[int]:
    """A process and those it started, as far as they live."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(int(child)))]


def memory_bytes(pid: int) -> int:
    """What a process and those it started hold; pages they share are counted once."""
    total = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    return total


@dataclass
class Program:
    """One process and the file it writes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, words: str) -> None:
        """Wait until it has said `words`. Raises `AssertionError` where it ends or takes too long."""
        deadline = time.monotonic() + _START_SECONDS
        while words not in self.said():
            assert self.process.poll() is None, f"{self.name} ended: {self.said()[-2000:]}"
            assert time.monotonic() < deadline, f"{self.name} has not said {words!r}: {self.said()[-2000:]}"
            threading.Event().wait(0.02)


@contextlib.contextmanager
def program(folder: Path, name: str, *command: str) -> Generator[Program, None, None]:
    """Run a module of Python with arguments until the block ends."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            (sys.executable, "-m", *command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent,  # noqa: PLW1509 # one system call, no locks
        )
    try:
        yield Program(name, process, log)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# The quiet prober


@dataclass(frozen=True, slots=True)
class Probe:
    """One request of the prober: when, how long, what it was answered, and how late the prober woke up before it."""

    at: float
    seconds: float
    answer: str
    late: float = 0.0

    @property
    def served(self) -> bool:
        """Whether it was sent to an endpoint."""
        return re.fullmatch(r"[0-9.]+:[0-9]+", self.answer) is not None


class Prober:
    """Keeps what the prober's process prints."""

    def __init__(self, port: int) -> None:
        self.probes: list[Probe] = []
        self._process = subprocess.Popen(
            (sys.executable, "-m", "tests.hostile.prober", str(port)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent,  # noqa: PLW1509 # one system call, no locks
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def between(self, start: float, stop: float) -> list[Probe]:
        """What was asked in that time."""
        return [probe for probe in tuple(self.probes) if start <= probe.at <= stop]

    def wait(self, until: float) -> None:
        """Wait until what was asked before `until` is answered."""
        deadline = time.monotonic() + _START_SECONDS
        while not self.probes or self.probes[-1].at < until:
            assert self._process.poll() is None, "the prober ended"
            assert time.monotonic() < deadline, "the prober hears nothing"
            threading.Event().wait(0.02)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.probes.append(Probe(*orjson.loads(line)))


def high(probes: Sequence[Probe], share: float = 0.99) -> float:
    """The latency that `share` of them stay within; of fewer than a hundred, the second highest."""
    return _high([probe.seconds for probe in probes], share)


def _high(values: list[float], share: float = 0.99) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


# What is attacked


@dataclass
class Attack:
    """What an attack cost the others; the figures are there when its block has ended."""

    quiet_seconds: float = 0.0
    """99th percentile of other requests in quiet."""
    meanwhile_seconds: float = 0.0
    """The same during the attack."""
    late_seconds: float = 0.0
    """The same of how late the prober woke up meanwhile: what this machine makes every process wait."""
    probes: int = 0
    before_bytes: int = 0
    peak_bytes: int = 0
    after_bytes: int = 0

    def __str__(self) -> str:
        return (
            f"p99 {1e3 * self.meanwhile_seconds:.1f} ms of {self.probes} (quiet {1e3 * self.quiet_seconds:.1f} ms, "
            f"the machine itself {1e3 * self.late_seconds:.1f} ms), "
            f"memory {self.before_bytes >> 20} → {self.peak_bytes >> 20} → {self.after_bytes >> 20} MiB"
        )


@dataclass
class Installed:
    """What runs, where its ports are, and the files it follows."""

    folder: Path
    serve: Program
    servers: Program
    prober: Prober
    picker: int
    adapter: int
    telemetry: int
    endpoints: list[dict[str, Any]]
    """The healthy servers, as in the discovery file."""
    _quiet: list[Probe] = field(default_factory=list[Probe])

    @property
    def discovery(self) -> Path:
        """The discovery file that `serve` follows."""
        return self.folder / "discovery.yaml"

    def discover(self, *more: Mapping[str, object]) -> None:
        """Put `more` endpoints into the discovery file, beside the healthy ones."""
        self.discovery.write_text(yaml.safe_dump({"endpoints": [*self.endpoints, *map(dict, more)]}))

    def page(self) -> str:
        """Its own metrics page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.telemetry}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def metric(self, series: str) -> float:
        """The value of a series of the page, named as it stands there; 0 where there is none."""
        for line in self.page().splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; the test's timeout is the limit."""
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def during(
        self, latency_seconds: float = LATENCY_SECONDS, kept_bytes: int = KEPT_BYTES, least_seconds: float = 0.5
    ) -> AsyncGenerator[Attack, None]:
        """Watch the others while the block runs, which is taken to last for `least_seconds`, and check the law."""
        attack = Attack()
        await asyncio.to_thread(self._calm, attack)
        started = time.monotonic()
        peak = _Peak(self.serve.process.pid)
        with peak:
            yield attack
            await asyncio.sleep(max(0.0, started + least_seconds - time.monotonic()))
        await asyncio.to_thread(self._figures, attack, started, time.monotonic(), peak, kept_bytes)
        print(f"hostile: {attack}")
        self.check(attack, self.prober.between(started, time.monotonic()), latency_seconds, kept_bytes)

    def check(self, attack: Attack, probes: Sequence[Probe], latency_seconds: float, kept_bytes: int) -> None:
        """The law; see the module."""
        for running in (self.serve, self.servers):
            assert running.process.poll() is None, f"{running.name} died: {running.said()[-2000:]}"
            assert not re.search(r"Traceback|exchange failed", running.said()), running.said()[-3000:]
        failed = [probe.answer for probe in probes if not probe.served]
        assert not failed, f"{len(failed)} of {len(probes)} other requests failed: {failed[:3]}"
        assert attack.probes >= _FEWEST, f"other requests were hardly answered: {attack}"
        allowed = max(latency_seconds, QUIET_FACTOR * attack.quiet_seconds) + attack.late_seconds
        assert attack.meanwhile_seconds <= allowed, f"other requests waited: {attack}"
        assert attack.peak_bytes <= MEMORY_BYTES, f"memory: {attack}"
        assert attack.after_bytes <= attack.before_bytes + kept_bytes, f"memory does not return: {attack}"

    def _calm(self, attack: Attack) -> None:
        started = time.monotonic()
        threading.Event().wait(_QUIET_SECONDS if len(self._quiet) < _ENOUGH_QUIET else _PAUSE_SECONDS)
        self.prober.wait(time.monotonic() - 0.02)
        self._quiet += self.prober.between(started, time.monotonic())
        attack.quiet_seconds = high(self._quiet)
        attack.before_bytes = memory_bytes(self.serve.process.pid)

    def _figures(self, attack: Attack, started: float, stopped: float, peak: "_Peak", kept_bytes: int) -> None:
        self.prober.wait(stopped)
        probes = self.prober.between(started, stopped)
        attack.probes = len(probes)
        attack.meanwhile_seconds = high(probes) if probes else float("inf")
        attack.late_seconds = _high([probe.late for probe in probes]) if probes else 0.0
        attack.peak_bytes = peak.bytes
        deadline = time.monotonic() + _RETURN_SECONDS
        while True:
            attack.after_bytes = memory_bytes(self.serve.process.pid)
            if attack.after_bytes <= attack.before_bytes + kept_bytes or time.monotonic() > deadline:
                return
            threading.Event().wait(0.1)


class _Peak:
    """The most memory that was seen while the block ran."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self.bytes = max(self.bytes, memory_bytes(self._pid))


@contextlib.contextmanager
def installed(folder: Path, servers: int = 2, **sections: Mapping[str, object]) -> Generator[Installed, None, None]:
    """Run everything until the block ends; `sections` add to what stands in `serve.yaml`."""
    picker, adapter, telemetry = free_ports(3)
    document: dict[str, dict[str, object]] = {
        "discovery": {"file": "discovery.yaml"},
        "scrape": {"interval_seconds": 0.2, "timeout_seconds": 0.15, "staleness_limit_seconds": 5.0},
        "picker": {"listen": f"127.0.0.1:{picker}"},
        "adapter": {"listen": f"127.0.0.1:{adapter}"},
        "telemetry": {"listen": f"127.0.0.1:{telemetry}"},
    }
    for name, values in sections.items():
        document.setdefault(name, {}).update(values)
    (folder / "serve.yaml").write_text(yaml.safe_dump(document))
    found = folder / "discovery.yaml"
    simulated = ("sim-server", "--port", "0", "--servers", str(servers), "--model", "m", "--endpoints-file", str(found))
    with (
        program(folder, "servers", "infscale.cli.main", *simulated) as running_servers,
        contextlib.ExitStack() as stack,
    ):
        _wait_for(found, running_servers)
        command = ("infscale.cli.main", "serve", "--config", str(folder / "serve.yaml"))
        serve = stack.enter_context(program(folder, "serve", *command))
        serve.wait_for("infscale.serving.composition: serving")
        prober = Prober(picker)
        stack.callback(prober.close)
        endpoints = yaml.safe_load(found.read_text())["endpoints"]
        made = Installed(folder, serve, running_servers, prober, picker, adapter, telemetry, endpoints)
        _settle(made)
        yield made


def _wait_for(file: Path, running: Program) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not file.exists():
        assert running.process.poll() is None, running.said()
        assert time.monotonic() < deadline, running.said()
        threading.Event().wait(0.02)


def _settle(made: Installed) -> None:
    """Wait until the prober's requests are served."""
    deadline = time.monotonic() + _START_SECONDS
    while not made.prober.probes or not made.prober.probes[-1].served:
        assert time.monotonic() < deadline, (made.prober.probes[-1:], made.serve.said()[-2000:])
        threading.Event().wait(0.02)
