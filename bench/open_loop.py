"""500 requests a second that wait for no answer, 20 endpoints scraped every 50 ms, through a real Envoy.

Latency counts from the moment a request wants to be sent, also while it waits for a connection; by how much the
client's own timer is late does not count.

`python -m bench.open_loop PORT RATE SECONDS` is the child that sends them; it prints latencies in milliseconds as JSON.
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop
import yaml

from bench.gateway import child, family_cpu_seconds, until
from bench.memory import prompts
from bench.rows import Row, machine
from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.process.parents import die_with_parent

_ENDPOINTS = 20
_INTERVAL_SECONDS = 0.05
_RATE = 500
_SECONDS = 15
_WARM_UP_SECONDS = 3
_ROUNDS = 5
_CONNECTIONS = 64
_PROMPT_BYTES = 1_200
_BODIES = 4_000
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class _Round:
    """Latencies of one round, the cores of infscale meanwhile, and how long this machine took for its piece of work."""

    milliseconds: list[float]
    cores: float
    machine: float

    @property
    def percentiles(self) -> list[float]:
        return statistics.quantiles(self.milliseconds, n=100, method="inclusive")


async def open_loop_rows() -> list[Row]:
    """Run everything and measure from the moments at which requests were due.

    Of some rounds it tells the one in which the machine itself was quickest just before and after: a percentile of
    latency is that of a shared machine's worst moment. The choice never looks at what was measured.
    """
    pages, picker, telemetry, listen, admin = free_ports(5)
    addresses = [Address(f"127.77.0.{number}", pages) for number in range(1, _ENDPOINTS + 1)]
    route = PickerRoute(Address("127.0.0.1", listen), Address("127.0.0.1", picker), tuple(addresses))
    with tempfile.TemporaryDirectory(prefix="infscale-bench-") as folder:
        config = _config(Path(folder), addresses, picker, telemetry)
        async with (
            child(str(pages), module="bench.page_server") as servers,
            child("serve", "--config", str(config), module="infscale.cli.main") as serve,
        ):
            assert servers.stdout is not None
            await servers.stdout.readline()
            fresh = f'infscale_pool_fresh_endpoints{{pool="default/default"}} {_ENDPOINTS}.0'
            await until(lambda page: fresh in page, f"http://127.0.0.1:{telemetry}/metrics")
            straight = await _load(pages, _RATE, _WARM_UP_SECONDS)
            async with running_envoy(Address("127.0.0.1", admin), [route]):
                await _load(listen, _RATE, _WARM_UP_SECONDS)
                rounds = [await _round(listen, serve.pid) for _ in range(_ROUNDS)]
    return [Row(f"{_RATE} requests/s straight to the server, p50", statistics.median(straight), "ms"), *_rows(rounds)]


async def _round(port: int, pid: int) -> _Round:
    quickness = machine().value
    before = family_cpu_seconds(pid)
    latencies = await _load(port, _RATE, _SECONDS)
    cores = (family_cpu_seconds(pid) - before) / _SECONDS
    return _Round(latencies, cores, max(quickness, machine().value))


def _rows(rounds: list[_Round]) -> list[Row]:
    name = f"{_RATE} requests/s through Envoy, {_ENDPOINTS} endpoints scraped every 50 ms"
    best = min(rounds, key=lambda each: each.machine)
    percentiles = best.percentiles
    others = [Row(f"{name}, each round: p95", each.percentiles[94], "ms") for each in rounds]
    return [
        Row(f"{name}: p50", percentiles[49], "ms", 1.2),
        Row(f"{name}: p95", percentiles[94], "ms", 2.5),
        Row(f"{name}: p99", percentiles[98], "ms", 6.0),
        Row(f"{name}: cores of infscale, all processes", best.cores, "cores", 0.4),
        Row(f"{name}: this machine meanwhile", best.machine, "µs CPU"),
        *others,
    ]


def _config(folder: Path, addresses: list[Address], picker: int, telemetry: int) -> Path:
    endpoints = [
        {"name": f"pod-{number}", "address": address.host, "port": address.port, "labels": {"app": "bench"}}
        for number, address in enumerate(addresses)
    ]
    (folder / "endpoints.yaml").write_text(yaml.safe_dump({"endpoints": endpoints}))
    document = {
        "discovery": {"file": "endpoints.yaml"},
        "scrape": {"interval_seconds": _INTERVAL_SECONDS, "timeout_seconds": 0.04},
        "picker": {"listen": f"127.0.0.1:{picker}", "preset": "reference", "destinations": 2},
        "adapter": {"listen": "127.0.0.1:0"},
        "telemetry": {"listen": f"127.0.0.1:{telemetry}"},
        "log": {"level": "error"},
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


async def _load(port: int, rate: int, seconds: int) -> list[float]:
    async with child(str(port), str(rate), str(seconds), module="bench.open_loop") as client:
        assert client.stdout is not None
        found = orjson.loads(await client.stdout.readline())
    if found["failed"]:
        raise RuntimeError(f"{found['failed']} requests failed")
    return list(found["milliseconds"])


class _Connection(asyncio.Protocol):
    """Sends one request at a time and notes how long after its due moment it was answered."""

    def __init__(self, client: "_Client") -> None:
        self._client = client
        self._received = b""
        self._due = 0.0
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self.transport.write(request)  # type: ignore[union-attr] # connected before it is used

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(_END)
        if not found or (b"chunked" in head and not body.endswith(b"0\r\n\r\n")):
            return
        if b"chunked" not in head:
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            if len(body) < int(length.partition(b":")[2]):
                return
        self._received = b""
        self._client.answered(self, head.startswith(b"HTTP/1.1 200"), self._due)


class _Client:
    """Keeps to the schedule; what cannot be sent for want of a connection goes when one is free, and is late."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[tuple[bytes, float]] = deque()
        self.milliseconds: list[float] = []
        self.failed = 0

    async def run(self, port: int, rate: int, seconds: int) -> None:
        for _ in range(_CONNECTIONS):
            _, connection = await self._loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            self._idle.append(connection)
        requests = _requests()
        count, start = rate * seconds, self._loop.time() + 0.1
        for number in range(count):
            due = start + number / rate
            delay = due - self._loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            self._waiting.append((requests[number % len(requests)], time.perf_counter()))
            self._send()
        while len(self.milliseconds) + self.failed < count:  # noqa: ASYNC110 # at the end only
            await asyncio.sleep(0.01)

    def answered(self, connection: _Connection, good: bool, due: float) -> None:
        if good:
            self.milliseconds.append((time.perf_counter() - due) * 1e3)
        else:
            self.failed += 1
        self._idle.append(connection)
        self._send()

    def _send(self) -> None:
        while self._waiting and self._idle:
            self._idle.popleft().send(*self._waiting.popleft())


def _requests() -> list[bytes]:
    texts = prompts(_PROMPT_BYTES, _BODIES, random.Random(5))
    bodies = [orjson.dumps({"model": "Qwen/Qwen3-32B", "prompt": text.decode(), "max_tokens": 16}) for text in texts]
    head = (
        b"POST /v1/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return [head % len(body) + body for body in bodies]


async def _main(port: int, rate: int, seconds: int) -> None:
    client = _Client()
    async with asyncio.timeout(seconds + 20):
        await client.run(port, rate, seconds)
    found = {"milliseconds": [round(each, 3) for each in client.milliseconds], "failed": client.failed}
    sys.stdout.buffer.write(orjson.dumps(found) + b"\n")


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main(*map(int, sys.argv[1:])))
