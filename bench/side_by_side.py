"""What requests cost two instances of `infscale serve`, in turns, in one run.

Both serve the same endpoints at the same time behind one Envoy, and requests go to the one and the other in turns: what
the machine does to the one it does to the other, so that ratios mean something where figures of two runs do not.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from bench.gateway import child, family_cpu_seconds, idle_cores, load, serve_document, until
from bench.rows import Row
from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy

HERE: Final = Path(__file__).parents[1]
ENDPOINTS: Final = 100
ALLOWED: Final = 1.10

_QUIET_SECONDS = 5.0
_IDLE_SECONDS = 15.0
_ROUNDS = 6
_REQUESTS = {"1.2 KB": (1_200, 4_000), "50 KB": (50_000, 1_000)}


@dataclass(frozen=True, slots=True)
class Side:
    """One of two instances: its name, the checkout it runs from, and settings of its picker."""

    name: str
    root: Path = HERE
    picker: Mapping[str, object] = field(default_factory=dict[str, object])


@contextlib.asynccontextmanager
async def backends() -> AsyncGenerator[list[int], None]:
    """Endpoints that answer at once; their ports."""
    async with child(str(ENDPOINTS), module="bench.backends") as process:
        assert process.stdout is not None
        yield orjson.loads(await process.stdout.readline())


@contextlib.asynccontextmanager
async def serving(
    sides: tuple[Side, Side], ports: list[int], pickers: list[int], interval: float
) -> AsyncGenerator[tuple[int, int], None]:
    """`infscale serve` of both, which have scraped every endpoint; their processes."""
    async with (
        _serving(sides[0], ports, pickers[0], interval) as first,
        _serving(sides[1], ports, pickers[1], interval) as second,
    ):
        yield first, second


async def request_rows(sides: tuple[Side, Side], ports: list[int]) -> list[Row]:
    """CPU of requests through Envoy of both, and how many times that of the first side the second takes."""
    *pickers, first, second, admin = free_ports(5)
    endpoints = tuple(Address("127.0.0.1", port) for port in ports)
    listens = [Address("127.0.0.1", port) for port in (first, second)]
    routes = [
        PickerRoute(listen, Address("127.0.0.1", picker), endpoints)
        for listen, picker in zip(listens, pickers, strict=True)
    ]
    rows: list[Row] = []
    clock = asyncio.get_running_loop().time
    async with (
        serving(sides, ports, pickers, _QUIET_SECONDS) as pids,
        running_envoy(Address("127.0.0.1", admin), routes),
    ):
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
            rows += compared(f"a request of {label} through Envoy", sides, each, "µs CPU")
    return [*compared("cores that scraping 100 endpoints each 5 s takes", sides, idle, ""), *rows]


def compared(name: str, sides: tuple[Side, Side], spent: list[float], unit: str) -> list[Row]:
    """The rows of one figure."""
    first, second = sides
    return [
        Row(f"{name}: {first.name}", spent[0], unit),
        Row(f"{name}: {second.name}", spent[1], unit),
        Row(f"{name}: {second.name} ÷ {first.name}", spent[1] / spent[0], "", ALLOWED),
    ]


@contextlib.asynccontextmanager
async def _serving(side: Side, ports: list[int], picker: int, interval: float) -> AsyncGenerator[int, None]:
    [telemetry] = free_ports(1)
    python = sys.executable if side.root == HERE else str(side.root / ".venv" / "bin" / "python")
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": f"{side.root / '.compiled'}:{side.root}"}
    with tempfile.TemporaryDirectory(prefix="infscale-bench-") as folder:
        config = serve_document(Path(folder), ports, picker, telemetry, interval, side.picker)
        process = await asyncio.create_subprocess_exec(
            python, "-m", "infscale.cli.main", "serve", "--config", str(config), cwd=folder, env=environment
        )
        try:
            fresh = f'infscale_pool_fresh_endpoints{{pool="default/default"}} {ENDPOINTS}.0'
            await until(lambda page: fresh in page, f"http://127.0.0.1:{telemetry}/metrics")
            yield process.pid
        finally:
            process.terminate()
            await process.wait()
