"""The picker's CPU per request through a real Envoy, and what scraping costs beside it."""

import asyncio
import contextlib
import os
import resource
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import aiohttp
import orjson
import yaml

from bench.memory import SIZES
from bench.rows import Row
from infscale.cli.demo_helpers import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy

_TICK = os.sysconf("SC_CLK_TCK")
_ENDPOINTS = 100
_CONNECTIONS = 16
_REQUESTS = {"1.2 KB": 4_000, "8 KB": 3_000, "64 KB": 1_200}
_BUDGET = {"1.2 KB": 1000.0, "8 KB": None, "64 KB": None}
_IDLE_SECONDS = 4.0
_SCRAPES_PER_SECOND = _ENDPOINTS / 0.25


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


def _config(folder: Path, ports: list[int], picker: int, telemetry: int) -> Path:
    endpoints = [
        {"name": f"pod-{port}", "address": "127.0.0.1", "port": str(port), "labels": {"app": "bench"}} for port in ports
    ]
    (folder / "endpoints.yaml").write_text(yaml.safe_dump({"endpoints": endpoints}))
    document = {
        "discovery": {"file": "endpoints.yaml"},
        "scrape": {"interval_seconds": 0.25, "timeout_seconds": 0.2, "staleness_limit_seconds": 5},
        "picker": {"listen": f"127.0.0.1:{picker}", "preset": "reference", "destinations": 2},
        "adapter": {"listen": "127.0.0.1:0"},
        "telemetry": {"listen": f"127.0.0.1:{telemetry}"},
        "log": {"level": "warning"},
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


async def _until(condition: Callable[[str], bool], url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(300):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    if condition(await response.text()):
                        return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"nothing useful on {url} within 30 s")


async def _load(url: str, size: int, requests: int) -> tuple[int, int]:
    arguments = (f"{url}/v1/completions", str(size), str(requests), str(_CONNECTIONS))
    async with child(*arguments, module="bench.client") as client:
        assert client.stdout is not None
        counts = orjson.loads(await client.stdout.readline())
    return int(counts["answered"]), int(counts["failed"])


async def gateway_rows() -> list[Row]:
    """Run backends, `infscale serve`, Envoy and a client, each in its own process; what `serve` costs."""
    picker, telemetry, listen, admin = free_ports(4)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="infscale-bench-") as folder:
        async with child(str(_ENDPOINTS), module="bench.backends") as backends:
            assert backends.stdout is not None
            ports: list[int] = orjson.loads(await backends.stdout.readline())
            config = _config(Path(folder), ports, picker, telemetry)
            async with child("serve", "--config", str(config), module="infscale.cli.main") as serve:
                fresh = f'infscale_pool_fresh_endpoints{{pool="default/default"}} {_ENDPOINTS}.0'
                await _until(lambda page: fresh in page, f"http://127.0.0.1:{telemetry}/metrics")
                idle, started = cpu_seconds(serve.pid), asyncio.get_running_loop().time()
                await asyncio.sleep(_IDLE_SECONDS)
                idle_cores = (cpu_seconds(serve.pid) - idle) / (asyncio.get_running_loop().time() - started)
                rows.append(
                    Row(
                        "scrape + parse + store of an 80 KB page, whole process",
                        idle_cores * 1e6 / _SCRAPES_PER_SECOND,
                        "µs CPU",
                        700.0,
                    )
                )
                route = PickerRoute(
                    Address("127.0.0.1", listen),
                    Address("127.0.0.1", picker),
                    tuple(Address("127.0.0.1", port) for port in ports),
                )
                async with running_envoy(Address("127.0.0.1", admin), [route]):
                    for label, size in SIZES.items():
                        rows.append(await _through_envoy(serve.pid, f"http://{route.listen}", label, size, idle_cores))
                rows.append(
                    Row("resident memory after the load, 100 endpoints", _resident_mib(serve.pid), "MiB", 200.0)
                )
    return rows


async def _through_envoy(pid: int, url: str, label: str, size: int, idle_cores: float) -> Row:
    await _load(url, size, 200)
    clock = asyncio.get_running_loop().time
    cpu, started = cpu_seconds(pid), clock()
    answered, failed = await _load(url, size, _REQUESTS[label])
    spent = cpu_seconds(pid) - cpu - idle_cores * (clock() - started)
    if failed:
        raise RuntimeError(f"{failed} of {answered + failed} requests failed")
    name = f"picker through Envoy, grpc_aio, {label} body, 100 endpoints, preset reference"
    return Row(name, spent / answered * 1e6, "µs CPU/request", _BUDGET[label])
