"""Soak: everything comes and goes under load, for long: ``python -m tests.soak --minutes 30``.

A real `infscale serve` behind a real Envoy, simulated servers, and beside them pages that lie. Endpoints, models, LoRA
names, tenants and gateways come and go. It ends with a failure where a request that a healthy endpoint should have
answered was not, where books are not at zero in the end, where memory grew in the last third (by 1 MiB in 10 minutes),
or where a process died or said a traceback.
"""

import argparse
import asyncio
import contextlib
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import h2.exceptions
import yaml

from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from tests.hostile.harness import Program, memory_bytes, program
from tests.hostile.prober import Prober
from tests.hostile.test_pages import PAGES, engine, many_models

_SERVERS = 8
_HOSTILE = 3
_FEWEST = 3
_DESTINATIONS = re.compile(r"[0-9.]+:[0-9]+(,[0-9.]+:[0-9]+)*")
_RATE = 25.0
_PROMPTS = 2_000
_MODELS = 40
_TENANTS = 500
_ABORTED = 0.05
_CHURN_SECONDS = 1.5
_GATEWAY_PAUSE_SECONDS = 0.5
_ASKED_PER_GATEWAY = 20
_MEMORY_SECONDS = 5.0
_SETTLE_SECONDS = 10.0
_ALLOWED_BYTES_A_SECOND = (1 << 20) / 600
# Shorter runs end while caches still fill: their law is that nothing fails.
_SHORTEST_WITH_MEMORY_LAW_SECONDS = 600.0


@dataclass
class Totals:
    """What happened."""

    answers: Counter[str] = field(default_factory=Counter[str])
    picks: Counter[str] = field(default_factory=Counter[str])
    changes: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])

    @property
    def failed(self) -> dict[str, int]:
        """What a healthy endpoint should have answered and did not."""
        good = ("200", "aborted", "served")
        return {name: count for name, count in (self.answers + self.picks).items() if name not in good}

    def growth(self) -> float:
        """Bytes a second over the last third: between the medians of its first and its last quarter."""
        start, stop = self.memory[0][0], self.memory[-1][0]
        third = [each for each in self.memory if each[0] >= stop - (stop - start) / 3]
        quarter = max(1, len(third) // 4)
        first, last = third[:quarter], third[-quarter:]
        seconds = statistics.median(at for at, _ in last) - statistics.median(at for at, _ in first)
        grown = statistics.median(size for _, size in last) - statistics.median(size for _, size in first)
        return grown / seconds if seconds else 0.0


@dataclass
class Soak:
    """What runs, and the bounded populations that requests are drawn from."""

    folder: Path
    serve: Program
    healthy: list[dict[str, Any]]
    hostile: list[int]
    picker: int
    gateway: int
    rng: random.Random
    totals: Totals = field(default_factory=Totals)

    async def requests(self, until: float) -> None:
        """Requests of tenants through Envoy, waiting for none of them."""
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            while time.monotonic() < until:
                group.create_task(self._request(session))
                await asyncio.sleep(self.rng.expovariate(_RATE))

    async def _request(self, session: aiohttp.ClientSession) -> None:
        rng = self.rng
        model = f"model-{rng.randrange(_MODELS)}" if rng.random() < 0.5 else "m"
        prompt = f"session {rng.randrange(_PROMPTS)} " * 60
        headers = {
            "x-llm-d-inference-fairness-id": f"tenant-{rng.randrange(_TENANTS)}",
            "x-llm-d-inference-objective": f"objective-{rng.randrange(_TENANTS)}",
        }
        body = {"model": model, "prompt": prompt, "max_tokens": rng.randint(1, 12), "stream": rng.random() < 0.5}
        url = f"http://127.0.0.1:{self.gateway}/v1/completions"
        try:
            async with asyncio.timeout(rng.uniform(0.001, 0.05) if rng.random() < _ABORTED else 25):
                async with session.post(url, json=body, headers=headers) as response:
                    await response.read()
                    self.totals.answers[str(response.status)] += 1
        except TimeoutError:
            self.totals.answers["aborted"] += 1
        except aiohttp.ClientError as error:
            self.totals.answers[type(error).__name__] += 1

    async def endpoints(self, until: float) -> None:
        """Endpoints that come and go, hostile ones among them; a few healthy ones are always there."""
        while time.monotonic() < until:
            await asyncio.sleep(_CHURN_SECONDS)
            staying = self.rng.sample(self.healthy, self.rng.randint(_FEWEST, len(self.healthy)))
            lying = [hostile(number, port) for number, port in enumerate(self.hostile) if self.rng.random() < 0.7]
            await asyncio.to_thread(discovered, self.folder, [*staying, *lying])
            self.totals.changes += 1

    async def gateways(self, until: float) -> None:
        """Gateways that connect, ask, and leave in order or not."""
        while time.monotonic() < until:
            await asyncio.to_thread(self._gateway)
            await asyncio.sleep(self.rng.uniform(0, _GATEWAY_PAUSE_SECONDS))

    def _gateway(self) -> None:
        with contextlib.closing(Prober(self.picker)) as peer:
            for number in range(self.rng.randint(1, _ASKED_PER_GATEWAY)):
                try:
                    answer = peer.ask(number % _PROMPTS)
                except (OSError, h2.exceptions.ProtocolError) as error:
                    answer = type(error).__name__
                self.totals.picks["served" if _DESTINATIONS.fullmatch(answer) else answer] += 1

    async def memory(self, until: float) -> None:
        """What all processes of infscale hold, now and then, and a line of it each minute."""
        started = said = time.monotonic()
        while (now := time.monotonic()) < until:
            self.totals.memory.append((now, await asyncio.to_thread(memory_bytes, self.serve.process.pid)))
            if now - said >= 60:
                said = now
                self._say(now - started)
            await asyncio.sleep(_MEMORY_SECONDS)

    def _say(self, seconds: float) -> None:
        totals = self.totals
        print(
            f"{seconds / 60:4.0f} min  {sum(totals.answers.values())} requests, {sum(totals.picks.values())} picks of "
            f"other gateways, {totals.changes} changes of endpoints, {totals.memory[-1][1] / (1 << 20):.1f} MiB, "
            f"failed: {totals.failed or 'none'}",
            flush=True,
        )


def hostile(number: int, port: int) -> dict[str, Any]:
    """The discovery entry of a hostile endpoint."""
    return {"name": f"hostile-{number}", "address": "127.0.0.1", "port": str(port)}


def discovered(folder: Path, endpoints: list[dict[str, Any]]) -> None:
    """Replace the discovery file in one step."""
    draft = folder / ".discovery.new"
    draft.write_text(yaml.safe_dump({"endpoints": endpoints}))
    draft.replace(folder / "discovery.yaml")


def _models_that_come_and_go(number: int) -> bytes:
    return many_models(number % 50 * 20, 20) + engine()


@contextlib.asynccontextmanager
async def liar(rng: random.Random) -> AsyncGenerator[int, None]:
    """A server whose pages lie, one after another, and which answers every request; its port."""
    pages: list[Callable[[int], bytes]] = [page for page, _ in PAGES.values()]
    # Models that come and go are said often, as large pages are slow to make.
    pages += [_models_that_come_and_go] * 20
    number = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            head = await reader.readuntil(b"\r\n\r\n")
            number += 1
            body = rng.choice(pages)(number) if head.startswith(b"GET") else b'{"choices":[{"text":"x"}]}'
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield int(listener.sockets[0].getsockname()[1])


def _configured(folder: Path, picker: int, telemetry: int) -> None:
    document = {
        "discovery": {"file": "discovery.yaml"},
        "scrape": {"interval_seconds": 0.25, "timeout_seconds": 0.2, "staleness_limit_seconds": 5, "processes": 1},
        "picker": {"listen": f"127.0.0.1:{picker}", "destinations": 2},
        "adapter": {"listen": "127.0.0.1:0"},
        "telemetry": {"listen": f"127.0.0.1:{telemetry}"},
    }
    (folder / "serve.yaml").write_text(yaml.safe_dump(document))


async def _servers(folder: Path, stack: contextlib.ExitStack) -> list[dict[str, Any]]:
    found = folder / "servers.yaml"
    names = [f"--lora=model-{number}" for number in range(_MODELS)]
    command = ("infscale.cli.main", "sim-server", "--port", "0", "--servers", str(_SERVERS), "--model", "m", *names)
    servers = stack.enter_context(program(folder, "servers", *command, "--speed", "20", "--endpoints-file", str(found)))
    await asyncio.to_thread(servers.wait_for, f"sim-{_SERVERS - 1} serves")
    endpoints: list[dict[str, Any]] = yaml.safe_load(found.read_text())["endpoints"]
    return endpoints


async def _books(port: int) -> float:
    """The sum of what the store says is in flight."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/debug/snapshot") as answer:
        pools = (await answer.json())["pools"]
    return sum(
        each[f"in_flight_{what}"] for pool in pools for each in pool["endpoints"] for what in ("requests", "tokens")
    )


async def soak(seconds: float, folder: Path, seed: int = 1) -> tuple[Totals, list[str]]:
    """Run for `seconds`; what happened, and what is wrong with it."""
    picker, telemetry, gateway, admin = free_ports(4)
    rng = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        programs = stack.enter_context(contextlib.ExitStack())
        healthy = await _servers(folder, programs)
        liars = [await stack.enter_async_context(liar(rng)) for _ in range(_HOSTILE)]
        discovered(folder, healthy)
        _configured(folder, picker, telemetry)
        command = ("infscale.cli.main", "serve", "--config", str(folder / "serve.yaml"))
        serve = programs.enter_context(program(folder, "serve", *command))
        await asyncio.to_thread(serve.wait_for, "serving")
        known = [Address(each["address"], int(each["port"])) for each in healthy]
        known += [Address("127.0.0.1", port) for port in liars]
        local = Address("127.0.0.1", gateway)
        route = PickerRoute(local, Address("127.0.0.1", picker), tuple(known))
        await stack.enter_async_context(running_envoy(Address("127.0.0.1", admin), [route]))
        await asyncio.sleep(2)
        run = Soak(folder, serve, healthy, liars, picker, gateway, rng)
        until = time.monotonic() + seconds
        parts: tuple[Callable[[float], Awaitable[None]], ...] = (run.requests, run.endpoints, run.gateways, run.memory)
        await asyncio.gather(*(part(until) for part in parts))
        discovered(folder, healthy)
        await asyncio.sleep(_SETTLE_SECONDS)
        wrong = _wrong(run, seconds)
        left = await _books(telemetry)
        return run.totals, [*wrong, *([f"{left} in flight in the end"] if left else [])]


def _wrong(run: Soak, seconds: float) -> list[str]:
    totals, wrong = run.totals, list[str]()
    if totals.failed:
        wrong.append(f"failed: {totals.failed}")
    if run.serve.process.poll() is not None:
        wrong.append("infscale died")
    if "Traceback" in run.serve.said():
        wrong.append(f"a traceback: {run.serve.said()[-3000:]}")
    growth = totals.growth()
    if seconds >= _SHORTEST_WITH_MEMORY_LAW_SECONDS and growth > _ALLOWED_BYTES_A_SECOND:
        wrong.append(f"memory grows by {growth * 600 / (1 << 20):.2f} MiB in 10 minutes")
    return wrong


def main() -> int:
    """Run as long as asked, and say how it went."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Everything comes and goes under load, for long."
    )
    parser.add_argument("--minutes", type=float, default=30, help="how long (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="infscale-soak-") as folder:
        totals, wrong = asyncio.run(soak(asked.minutes * 60, Path(folder), asked.seed))
    print(f"answers: {dict(totals.answers)}; picks of other gateways: {dict(totals.picks)}")
    grown = totals.growth() * 600 / (1 << 20)
    print(f"{totals.changes} changes of endpoints; memory in the last third: {grown:+.2f} MiB in 10 minutes")
    print("\n".join(["wrong:", *wrong]) if wrong else "nothing is wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
