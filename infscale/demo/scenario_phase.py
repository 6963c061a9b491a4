"""One contender of a scenario, in real time: servers that come and go, `serve`, a real Envoy, and the load."""

import asyncio
import contextlib
import os
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson

from infscale.demo.asked_by_hpa import AdapterClient, HpaMetric, total_of
from infscale.demo.child_processes import FLEET, LOAD, SERVE, HelperProcess, free_ports, helper
from infscale.demo.phase import Phase, PhaseStatus, SnapshotClient, View, endpoint_load
from infscale.demo.report import LoadSample, Quantiles
from infscale.demo.scenarios.contenders import KEYS_FILE, Contender
from infscale.demo.scenarios.pool_file import PoolServers
from infscale.demo.scenarios.scaler import ASK_SECONDS, METRIC, ZeroScaler
from infscale.demo.scenarios.scenario_load import TRUSTED_HEADERS
from infscale.demo.scenarios.scenario_plan import ScenarioPlan, Step, ZeroScaling
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from infscale.errors import StartError
from infscale.planner.hpa import Source
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.load.load_generator import Outcome
from infscale.sim.load.load_requests import LoadRequest

_LOOPBACK = "127.0.0.1"
_SAMPLE_SECONDS = 0.25
_FRESH_SECONDS = 15.0
_ANSWER_SECONDS = 90.0
_BOOKS_SECONDS = 3.0
_POLL_SECONDS = 0.1
_OUTSTANDING = HpaMetric(
    METRIC, "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/", "1", True, Source.EXTERNAL
)


@dataclass(frozen=True, slots=True)
class ServerCount:
    """So many servers could have requests from `at_seconds` on, and so many were meant to stay."""

    at_seconds: float
    ready: int
    staying: int


@dataclass(frozen=True, slots=True)
class ScenarioRecord:
    """What was observed of one contender; `left` is what the picker's books said was in flight at the end."""

    outcomes: tuple[Outcome, ...]
    servers: tuple[ServerCount, ...]
    left: float | None


@dataclass(frozen=True, slots=True)
class ScenarioPhase:
    """What is played: the `requests`, and where they are as a `file`; `seed` is the servers'."""

    plan: ScenarioPlan
    contender: Contender
    phase: Phase
    requests: Sequence[LoadRequest]
    file: Path
    seed: int


async def run_contender(played: ScenarioPhase, folder: Path, view: View) -> ScenarioRecord:
    """Play the scenario once; every process it needs is started here and gone afterwards.

    `folder` is for this alone. Raises `StartError` or `InfscaleError` when a part does not start or stay.
    """
    plan, phase = played.plan, played.phase
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        view.starting(phase, f"{plan.servers} simulated servers")
        fleet = await enter(helper(FLEET, await asyncio.to_thread(_fleet_file, played, folder)))
        pool = _Pool(fleet, folder / "endpoints.yaml", plan.coefficients)
        following = await enter(_following(pool))
        await pool.begin(plan.servers)
        view.starting(phase, "infscale")
        serve = await enter(helper(SERVE, await asyncio.to_thread(_serve_file, played, folder)))
        listen, admin = (Address(_LOOPBACK, port) for port in free_ports(2))
        view.starting(phase, "Envoy")
        picker = Address(_LOOPBACK, int(str(serve.ready["picker_port"])))
        await enter(running_envoy(admin, [PickerRoute(listen, picker, None, trusted_headers=TRUSTED_HEADERS)]))
        session = await enter(aiohttp.ClientSession())
        watch = _ScenarioWatch(played, pool, session, serve, view)
        view.starting(phase, "the load")
        await watch.until_fresh()
        load = await enter(helper(LOAD, await asyncio.to_thread(_load_file, played.file, listen, folder)))
        record = await watch.follow(load)
        following.cancel()
        for each in (fleet, serve):
            if each.process.returncode is not None:
                raise each.ended()
        return record


@contextlib.asynccontextmanager
async def _following(pool: "_Pool") -> AsyncGenerator[asyncio.Task[None], None]:
    """Hear what the servers' process says until the block ends."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(pool.hear())
        try:
            yield task
        finally:
            task.cancel()


class _Pool:
    """Owner of the servers of a phase and of the file that tells `serve` of them."""

    def __init__(self, fleet: HelperProcess, file: Path, coefficients: str) -> None:
        self.servers = PoolServers(coefficient_set(coefficients))
        self._fleet = fleet
        self._file = file
        self._changed = asyncio.Event()

    async def begin(self, count: int) -> None:
        """Have so many servers, ready; the file is there afterwards."""
        for _ in range(count):
            self.start()
        await self._write()
        async with asyncio.timeout(_FRESH_SECONDS):
            while self.servers.ready < count:
                self._changed.clear()
                await self._changed.wait()

    def start(self) -> None:
        """Begin to start a server: it is ready when the process of servers says so."""
        self._fleet.tell({"start": self.servers.begin()})

    async def start_after(self, seconds: float) -> None:
        """Start a server that takes so long to be ready."""
        name = self.servers.begin()
        await asyncio.sleep(seconds)
        self._fleet.tell({"start": name})

    async def drain(self, *, oldest: int = 0, newest: int = 0) -> None:
        """Have nothing new go to so many servers, and end them when they have answered what they have."""
        leaving = self.servers.drain(oldest=oldest, newest=newest)
        await self._write()
        # The picker reads of it before the servers look whether they have something left.
        await asyncio.sleep(3 * _POLL_SECONDS)
        for name in leaving:
            self._fleet.tell({"stop": name})

    async def hear(self) -> None:
        """Follow what the process of servers says."""
        async for line in self._fleet.lines():
            match line:
                case {"started": str(name), "address": str(address), "port": int(port)}:
                    self.servers.started(name, address, port)
                case {"stopped": str(name)}:
                    self.servers.stopped(name)
                case _:
                    continue
            await self._write()
            self._changed.set()

    async def _write(self) -> None:
        await asyncio.to_thread(_replace, self._file, self.servers.document())


@dataclass(slots=True)
class _Seen:
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    counts: list[ServerCount] = field(default_factory=list[ServerCount])
    sample: LoadSample | None = None


class _ScenarioWatch:
    """Follows one phase: outcomes as they come, endpoints, and the changes of servers that the plan asks for."""

    def __init__(
        self, played: ScenarioPhase, pool: _Pool, session: aiohttp.ClientSession, serve: HelperProcess, view: View
    ) -> None:
        self._played = played
        self._pool = pool
        self._snapshot = SnapshotClient(session, serve)
        self._adapter = AdapterClient(session, str(serve.ready["adapter_url"]), str(serve.ready["adapter_ca"]))
        self._view = view
        self._seen = _Seen()
        self._started = 0.0

    async def until_fresh(self) -> None:
        """Wait until `serve` has read every server once."""
        loop, wanted = asyncio.get_running_loop(), self._played.plan.servers
        deadline = loop.time() + _FRESH_SECONDS
        while loop.time() < deadline:
            if sum(bool(row.get("eligible")) for row in await self._snapshot.rows()) >= wanted:
                return
            await asyncio.sleep(0.05)
        raise StartError(f"infscale serve did not read the servers within {_FRESH_SECONDS:g} s")

    async def follow(self, load: HelperProcess) -> ScenarioRecord:
        """Watch until the load generator has reported every request."""
        self._started = asyncio.get_running_loop().time()
        plan = self._played.plan
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(self._sample())]
            watching += [tasks.create_task(self._step(each)) for each in plan.steps]
            if plan.scaling is not None:
                watching.append(tasks.create_task(self._scale(plan.scaling, tasks)))
            async for line in load.lines():
                self._seen.outcomes.append(Outcome(**cast("dict[str, Any]", line)))
            left = await self._books()
            for task in watching:
                task.cancel()
        if len(self._seen.outcomes) < len(self._played.requests):
            raise load.ended()
        self._view.show(self._status(over=True))
        outcomes = sorted(self._seen.outcomes, key=lambda outcome: outcome.number)
        return ScenarioRecord(tuple(outcomes), tuple(self._seen.counts), left)

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    async def _sample(self) -> None:
        while True:
            rows = await self._snapshot.rows()
            self._seen.sample = LoadSample(self._elapsed(), tuple(endpoint_load(row) for row in rows))
            servers = self._pool.servers
            self._seen.counts.append(ServerCount(round(self._elapsed(), 2), servers.ready, servers.staying))
            self._view.show(self._status())
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def _step(self, step: Step) -> None:
        await asyncio.sleep(step.at_seconds)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(step.added):
                tasks.create_task(self._pool.start_after(self._played.plan.start_seconds))
        if step.oldest or step.newest:
            await self._pool.drain(oldest=step.oldest, newest=step.newest)

    async def _scale(self, scaling: ZeroScaling, tasks: asyncio.TaskGroup) -> None:
        scaler = ZeroScaler(scaling)
        starting: set[asyncio.Task[None]] = set()
        try:
            while True:
                staying = self._pool.servers.staying
                outstanding = total_of(await self._adapter.ask(_OUTSTANDING))
                wanted = scaler.wanted(self._elapsed(), outstanding, staying)
                for _ in range(wanted - staying):
                    starting.add(tasks.create_task(self._pool.start_after(scaling.start_seconds)))
                if wanted < staying:
                    await self._pool.drain(newest=staying - wanted)
                await asyncio.sleep(ASK_SECONDS)
        finally:
            for task in starting:
                task.cancel()

    async def _books(self) -> float | None:
        """What is in flight by the picker's books once all answers are there; it has a moment to hear of the last."""
        deadline = asyncio.get_running_loop().time() + _BOOKS_SECONDS
        while True:
            loads = [endpoint_load(row).in_flight for row in await self._snapshot.rows()]
            left = None if None in loads else sum(each or 0.0 for each in loads)
            if left == 0 or asyncio.get_running_loop().time() > deadline:
                return left
            await asyncio.sleep(_SAMPLE_SECONDS)

    def _status(self, *, over: bool = False) -> PhaseStatus:
        outcomes, elapsed = self._seen.outcomes, self._elapsed()
        answered = [outcome for outcome in outcomes if outcome.failure is None]
        prompt = sum(outcome.prompt_tokens for outcome in answered)
        return PhaseStatus(
            self._played.phase,
            elapsed,
            len(self._played.requests),
            sum(request.at_seconds <= elapsed for request in self._played.requests),
            len(answered),
            len(outcomes) - len(answered),
            sum(outcome.cached_tokens for outcome in answered) / prompt if prompt else None,
            Quantiles.of([one.ttft_seconds for one in answered if one.ttft_seconds is not None]),
            Counter(outcome.endpoint for outcome in answered),
            self._seen.sample,
            None,
            over,
        )


def _fleet_file(played: ScenarioPhase, folder: Path) -> Path:
    return _written(folder / "fleet.json", {"coefficients": played.plan.coefficients, "seed": played.seed})


def _serve_file(played: ScenarioPhase, folder: Path) -> Path:
    contender, anywhere = played.contender, {"listen": f"{_LOOPBACK}:0"}
    (folder / "epp.yaml").write_text(contender.text.replace(f"keys: {KEYS_FILE}", f"keys: {folder / KEYS_FILE}"))
    (folder / KEYS_FILE).write_text(f"{b64encode(os.urandom(32)).decode()}\n")
    picker: dict[str, object] = {
        **anywhere,
        "destinations": 1,
        "config_file": "epp.yaml",
        "trusted_headers": list(TRUSTED_HEADERS),
    }
    if contender.flow_control:
        picker["flow_control"] = dict(contender.flow_control)
    config = _written(
        folder / "serve.yaml",
        {
            "discovery": {"file": "endpoints.yaml", "poll_interval_seconds": _POLL_SECONDS},
            "scrape": {
                "interval_seconds": contender.scrape_seconds,
                "timeout_seconds": min(1.0, 0.8 * contender.scrape_seconds),
            },
            "picker": picker,
            "adapter": anywhere,
            "telemetry": anywhere,
            "log": {"level": "error"},
        },
    )
    return _written(folder / "serve.json", {"config": str(config)})


def _load_file(requests: Path, listen: Address, folder: Path) -> Path:
    content = {"requests": str(requests), "base_url": f"http://{listen}", "timeout_seconds": _ANSWER_SECONDS}
    return _written(folder / "load.json", content)


def _written(path: Path, content: Mapping[str, object]) -> Path:
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    return path


def _replace(path: Path, content: Mapping[str, object]) -> None:
    """Write the whole file at once, for a reader that looks at any time."""
    _written(path.with_suffix(".new"), content).replace(path)
