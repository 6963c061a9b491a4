"""The picker's CPU per request through a real Envoy, and what scraping costs beside it."""

import asyncio
import contextlib
import os
import re
import resource
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path

import aiohttp
import orjson
import yaml

from bench.backends import EVENTS
from bench.memory import SIZES
from bench.rows import Row
from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy

_TICK = os.sysconf("SC_CLK_TCK")
_ENDPOINTS = 100
_CONNECTIONS = 16
_SIZES = {**SIZES, "220 KB": 220_000}
_REQUESTS = {"1.2 KB": 8_000, "8 KB": 6_000, "64 KB": 2_000, "220 KB": 600}
_BUDGETS: dict[str, dict[str, float]] = {
    "http2": {"1.2 KB": 120.0, "8 KB": 150.0, "64 KB": 450.0, "220 KB": 1500.0, "chunk": 20.0, "memory": 200.0},
    "grpc_aio": {"1.2 KB": 1000.0},
}
_STREAMS = 320
_BLOCKS, _MOST_FILLS = 200_000, 8
_IDLE_SECONDS = 4.0
_BUSY_INTERVAL, _QUIET_INTERVAL = 0.25, 2.0


def family(pid: int) -> list[int]:
    """A process and those it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(member for child in children for member in family(int(child)))]


def family_cpu_seconds(pid: int) -> float:
    """CPU time so far of a process and those it started, as long as they live."""
    return sum(map(cpu_seconds, family(pid)))


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _resident_mib(pid: int) -> float:
    """Memory a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@contextlib.asynccontextmanager
async def child(*arguments: str, module: str) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def serve_document(
    folder: Path,
    ports: list[int],
    picker: int,
    telemetry: int,
    interval: float,
    settings: Mapping[str, object],
) -> Path:
    """The file that `infscale serve` is to read; `settings` are more of its picker."""
    endpoints = [
        {"name": f"pod-{port}", "address": "127.0.0.1", "port": str(port), "labels": {"app": "bench"}} for port in ports
    ]
    (folder / "endpoints.yaml").write_text(yaml.safe_dump({"endpoints": endpoints}))
    document = {
        "discovery": {"file": "endpoints.yaml"},
        "scrape": {
            "interval_seconds": interval,
            "timeout_seconds": 0.8 * interval,
            "staleness_limit_seconds": 5 + 2 * interval,
        },
        "picker": {
            "listen": f"127.0.0.1:{picker}",
            "preset": "reference",
            "destinations": 2,
            **settings,
        },
        "adapter": {"listen": "127.0.0.1:0"},
        "telemetry": {"listen": f"127.0.0.1:{telemetry}"},
        "log": {"level": "warning"},
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


async def until(condition: Callable[[str], bool], url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    if condition(await response.text()):
                        return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"nothing useful on {url} within 30 s")


async def load(url: str, size: int, requests: int, *, stream: bool = False, seed: int = 5) -> tuple[int, int]:
    arguments = (f"{url}/v1/completions", str(size), str(requests), str(_CONNECTIONS), str(int(stream)), str(seed))
    async with child(*arguments, module="bench.client") as client:
        assert client.stdout is not None
        counts = orjson.loads(await client.stdout.readline())
    return int(counts["answered"]), int(counts["failed"])


async def gateway_rows() -> list[Row]:
    """Run backends, `infscale serve`, Envoy and a client, each in its own process; what `serve` costs."""
    async with _backends() as ports:
        rows = [await _scrape_row(ports, "what vLLM answers to name[]")]
        rows += [row for transport in _BUDGETS for row in await _rows_of(transport, ports)]
    async with _backends("whole") as ports:
        return [*rows, await _scrape_row(ports, "an 80 KB page", 700.0)]


@contextlib.asynccontextmanager
async def _backends(*arguments: str) -> AsyncGenerator[list[int]]:
    async with child(str(_ENDPOINTS), *arguments, module="bench.backends") as backends:
        assert backends.stdout is not None
        yield orjson.loads(await backends.stdout.readline())


@contextlib.asynccontextmanager
async def _serving(ports: list[int], picker: int, transport: str, interval: float) -> AsyncGenerator[tuple[int, str]]:
    """`infscale serve` that has scraped every endpoint; its process and where its own metrics are."""
    [telemetry] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="infscale-bench-") as folder:
        config = serve_document(Path(folder), ports, picker, telemetry, interval, {"transport": transport})
        async with child("serve", "--config", str(config), module="infscale.cli.main") as serve:
            pages = f"http://127.0.0.1:{telemetry}/metrics"
            fresh = f'infscale_pool_fresh_endpoints{{pool="default/default"}} {_ENDPOINTS}.0'
            await until(lambda page: fresh in page, pages)
            yield serve.pid, pages


async def _scrape_row(ports: list[int], what: str, budget: float | None = None) -> Row:
    [picker] = free_ports(1)
    async with _serving(ports, picker, "http2", _BUSY_INTERVAL) as (pid, _):
        cores = await idle_cores(pid)
    name = f"scrape + parse + store of {what}, all processes"
    return Row(name, cores * 1e6 * _BUSY_INTERVAL / _ENDPOINTS, "µs CPU", budget)


async def _rows_of(transport: str, ports: list[int]) -> list[Row]:
    """What requests cost. Little is scraped meanwhile: it would be more than what is measured, and vary by more."""
    picker, listen, both, admin = free_ports(4)
    endpoints = tuple(Address("127.0.0.1", port) for port in ports)
    listens = Address("127.0.0.1", listen), Address("127.0.0.1", both)
    routes = [
        PickerRoute(address, Address("127.0.0.1", picker), endpoints, response_bodies=address is listens[1])
        for address in listens
    ]
    budgets, rows = _BUDGETS[transport], list[Row]()
    async with (
        _serving(ports, picker, transport, _QUIET_INTERVAL) as (pid, pages),
        running_envoy(Address("127.0.0.1", admin), routes),
    ):
        idle = await idle_cores(pid)
        for label, size in _SIZES.items():
            spent = await _through_envoy(pid, f"http://{listens[0]}", size, _REQUESTS[label], idle)
            name = f"picker through Envoy, {transport}, {label} body, 100 endpoints, preset reference"
            rows.append(Row(name, spent, "µs CPU/request", budgets.get(label)))
        rows += await _chunk_rows(pid, [f"http://{each}" for each in listens], idle, transport)
        blocks = await _filled(f"http://{listens[0]}", pages)
        held = sum(map(_resident_mib, family(pid)))
        name = f"resident memory after the load, {transport}, {blocks} prefix blocks, all processes"
    return [*rows, Row(name, held, "MiB", budgets.get("memory"))]


async def _chunk_rows(pid: int, urls: list[str], idle: float, transport: str) -> list[Row]:
    """What each piece of a streamed answer costs where answers are withheld from the picker, and where it sees them."""
    rows: list[Row] = []
    for url, mode in zip(urls, ("answers withheld", "full duplex"), strict=True):
        whole = await _through_envoy(pid, url, SIZES["1.2 KB"], 4 * _STREAMS, idle)
        streamed = await _through_envoy(pid, url, SIZES["1.2 KB"], _STREAMS, idle, stream=True)
        budget = _BUDGETS[transport].get("chunk") if mode == "full duplex" else None
        name = f"each chunk of a streamed answer, {transport}, {mode}"
        rows.append(Row(name, (streamed - whole) / EVENTS, "µs CPU", budget))
    return rows


async def _filled(url: str, pages: str) -> int:
    """Send new prompts until so many of their blocks are remembered as the budget is for."""
    for seed in range(6, 6 + _MOST_FILLS):
        if (blocks := await _blocks(pages)) >= _BLOCKS:
            return blocks
        await load(url, SIZES["8 KB"], 4_000, seed=seed)
    raise RuntimeError(f"the prefix index does not come to {_BLOCKS} blocks")


async def _blocks(pages: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(pages) as response:
        found = re.search(r"^infscale_picker_prefix_blocks\{[^}]*\} (\S+)", await response.text(), re.MULTILINE)
    return int(float(found[1])) if found else 0


async def idle_cores(pid: int, seconds: float = _IDLE_SECONDS) -> float:
    """The CPU that scraping takes, in cores."""
    clock = asyncio.get_running_loop().time
    before, started = family_cpu_seconds(pid), clock()
    await asyncio.sleep(seconds)
    return (family_cpu_seconds(pid) - before) / (clock() - started)


async def _through_envoy(pid: int, url: str, size: int, requests: int, idle: float, *, stream: bool = False) -> float:
    """Microseconds of CPU per request, without those of scraping."""
    await load(url, size, 200)
    clock = asyncio.get_running_loop().time
    cpu, started = family_cpu_seconds(pid), clock()
    answered, failed = await load(url, size, requests, stream=stream)
    spent = family_cpu_seconds(pid) - cpu - idle * (clock() - started)
    if failed:
        raise RuntimeError(f"{failed} of {answered + failed} requests failed")
    return spent / answered * 1e6
