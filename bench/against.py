"""What this version's requests and scrapes cost beside another one's, in turns, in one run.

`make bench-against AGAINST=REVISION` builds the other version, compiled, in `.against`. Both serve the same endpoints
at the same time behind one Envoy, and requests go to the one and the other in turns: what the machine does to the one
it does to the other, so that ratios mean something where figures of two runs do not.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import orjson

from bench.gateway import child, family_cpu_seconds, idle_cores, load, serve_document, until
from bench.rows import Row
from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy

OTHER = Path(".against").resolve()
"""The other version: a checkout with `.venv` and `.compiled` of its own."""

_HERE = Path(__file__).parents[1]
_ENDPOINTS = 100
_BUSY_SECONDS, _QUIET_SECONDS = 0.25, 5.0
_SCRAPED_SECONDS = 20.0
_IDLE_SECONDS = 15.0
_ROUNDS = 6
_REQUESTS = {"1.2 KB": (1_200, 4_000), "50 KB": (50_000, 1_000)}
_ALLOWED = 1.10


def problem() -> str | None:
    """Why there is nothing to compare with; None: there is."""
    if (OTHER / ".compiled").is_dir():
        return None
    return "no other version is built; make bench-against AGAINST=REVISION does that"


async def against_rows() -> list[Row]:
    """Rows of both versions, and their ratios."""
    async with child(str(_ENDPOINTS), module="bench.backends") as backends:
        assert backends.stdout is not None
        ports: list[int] = orjson.loads(await backends.stdout.readline())
        return [*await _scrapes(ports), *await _requests(ports)]


async def _scrapes(ports: list[int]) -> list[Row]:
    pickers = free_ports(2)
    async with _both(ports, pickers, _BUSY_SECONDS) as pids:
        before = [family_cpu_seconds(pid) for pid in pids]
        await asyncio.sleep(_SCRAPED_SECONDS)
        scrapes = _SCRAPED_SECONDS / _BUSY_SECONDS * _ENDPOINTS
        spent = [(family_cpu_seconds(pid) - cpu) / scrapes * 1e6 for pid, cpu in zip(pids, before, strict=True)]
    return _compared("a scrape, all processes", spent, "µs CPU")


async def _requests(ports: list[int]) -> list[Row]:
    *pickers, other, this, admin = free_ports(5)
    endpoints = tuple(Address("127.0.0.1", port) for port in ports)
    listens = [Address("127.0.0.1", port) for port in (other, this)]
    routes = [
        PickerRoute(listen, Address("127.0.0.1", picker), endpoints)
        for listen, picker in zip(listens, pickers, strict=True)
    ]
    rows: list[Row] = []
    clock = asyncio.get_running_loop().time
    async with _both(ports, pickers, _QUIET_SECONDS) as pids, running_envoy(Address("127.0.0.1", admin), routes):
        # Both scrape all the time, also while the other is asked.
        idle = [await idle_cores(pid, _IDLE_SECONDS) for pid in pids]
        for label, (size, count) in _REQUESTS.items():
            spent = [0.0, 0.0]
            for number in range(-1, _ROUNDS):
                for which in (0, 1) if number % 2 else (1, 0):
                    before, started = family_cpu_seconds(pids[which]), clock()
                    answered, failed = await load(f"http://{listens[which]}", size, count)
                    if failed:
                        raise RuntimeError(f"{failed} of {answered + failed} requests failed")
                    if number >= 0:
                        scraping = idle[which] * (clock() - started)
                        spent[which] += family_cpu_seconds(pids[which]) - before - scraping
            each = [seconds / (_ROUNDS * count) * 1e6 for seconds in spent]
            rows += _compared(f"a request of {label} through Envoy", each, "µs CPU")
    return [*_compared("cores that scraping 100 endpoints each 5 s takes", idle, ""), *rows]


def _compared(name: str, spent: list[float], unit: str) -> list[Row]:
    other, this = spent
    return [
        Row(f"{name}: the other version", other, unit),
        Row(f"{name}: this version", this, unit),
        Row(f"{name}: this ÷ the other", this / other, "", _ALLOWED),
    ]


@contextlib.asynccontextmanager
async def _both(ports: list[int], pickers: list[int], interval: float) -> AsyncGenerator[tuple[int, int], None]:
    """`infscale serve` of the other version and of this one, which have scraped every endpoint; their processes."""
    async with (
        _serving(OTHER, ports, pickers[0], interval) as other,
        _serving(_HERE, ports, pickers[1], interval) as this,
    ):
        yield other, this


@contextlib.asynccontextmanager
async def _serving(root: Path, ports: list[int], picker: int, interval: float) -> AsyncGenerator[int, None]:
    [telemetry] = free_ports(1)
    python = sys.executable if root == _HERE else str(root / ".venv" / "bin" / "python")
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": f"{root / '.compiled'}:{root}"}
    with tempfile.TemporaryDirectory(prefix="infscale-bench-") as folder:
        config = serve_document(Path(folder), ports, picker, telemetry, "http2", interval)
        process = await asyncio.create_subprocess_exec(
            python, "-m", "infscale.cli.main", "serve", "--config", str(config), cwd=folder, env=environment
        )
        try:
            fresh = f'infscale_pool_fresh_endpoints{{pool="default/default"}} {_ENDPOINTS}.0'
            await until(lambda page: fresh in page, f"http://127.0.0.1:{telemetry}/metrics")
            yield process.pid
        finally:
            process.terminate()
            await process.wait()
