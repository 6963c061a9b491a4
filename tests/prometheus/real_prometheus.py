"""The real Prometheus, scraping what a test has it scrape, every second."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml


@dataclass(frozen=True)
class Scraped:
    """One target: its address, its page, and the labels that all its series have."""

    address: str
    labels: Mapping[str, str]
    path: str = "/metrics"


@dataclass(frozen=True)
class RealPrometheus:
    """A running one."""

    url: str
    process: asyncio.subprocess.Process

    async def query(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The rows of an instant query, asked without infscale."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/api/v1/query", params={"query": query}) as response,
        ):
            answer: Any = await response.json()
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    async def has(self, query: str, rows: int) -> None:
        """Wait until a query has so many rows."""
        async with asyncio.timeout(15):
            while len(await self.query(query)) < rows:
                await asyncio.sleep(0.1)

    def pause(self, *, stopped: bool) -> None:
        """Answer nothing, or again."""
        self.process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)


@asynccontextmanager
async def prometheus(folder: Path, targets: Sequence[Scraped]) -> AsyncGenerator[RealPrometheus, None]:
    """A Prometheus with its data in `folder`, until the block ends."""
    paths = sorted({each.path for each in targets})
    jobs = [
        {
            "job_name": f"job{number}",
            "metrics_path": path,
            "honor_labels": True,
            "static_configs": [
                {"targets": [each.address], "labels": dict(each.labels)} for each in targets if each.path == path
            ],
        }
        for number, path in enumerate(paths)
    ]
    config = folder / "prometheus.yml"
    text = yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs})
    await asyncio.to_thread(config.write_text, text)
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        env={**os.environ, "GOMAXPROCS": "1"},
    )
    try:
        running = RealPrometheus(f"http://127.0.0.1:{port}", process)
        await _ready(running)
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.wait()


async def _ready(running: RealPrometheus) -> None:
    async with asyncio.timeout(15), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{running.url}/-/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
