"""What this version's requests and scrapes cost beside another one's.

`make bench-against AGAINST=REVISION` builds the other version, compiled, in `.against`.
"""

import asyncio
from pathlib import Path

from bench.gateway import family_cpu_seconds
from bench.rows import Row
from bench.side_by_side import ENDPOINTS, Side, backends, compared, request_rows, serving
from infscale.demo.child_processes import free_ports

OTHER = Path(".against").resolve()
"""The other version: a checkout with `.venv` and `.compiled` of its own."""

_PRESETS = ("reference", "infscale")
_SIDES = Side("the other version", OTHER), Side("this version")
_BUSY_SECONDS = 0.25
_SCRAPED_SECONDS = 20.0


def problem() -> str | None:
    """Why there is nothing to compare with; None: there is."""
    if (OTHER / ".compiled").is_dir():
        return None
    return "no other version is built; make bench-against AGAINST=REVISION does that"


async def against_rows() -> list[Row]:
    """Rows of both versions, and their ratios."""
    async with backends() as ports:
        rows = await _scrapes(ports)
        for name in _PRESETS:
            settings = {"preset": name}
            sides = Side(f"the other version, {name}", OTHER, settings), Side(f"this version, {name}", picker=settings)
            rows += await request_rows(sides, ports)
        return rows


async def _scrapes(ports: list[int]) -> list[Row]:
    pickers = free_ports(2)
    async with serving(_SIDES, ports, pickers, _BUSY_SECONDS) as pids:
        before = [family_cpu_seconds(pid) for pid in pids]
        await asyncio.sleep(_SCRAPED_SECONDS)
        scrapes = _SCRAPED_SECONDS / _BUSY_SECONDS * ENDPOINTS
        spent = [(family_cpu_seconds(pid) - cpu) / scrapes * 1e6 for pid, cpu in zip(pids, before, strict=True)]
    return compared("a scrape, all processes", _SIDES, spent, "µs CPU")
