"""One phase of the demo: fresh servers, `serve`, a real Envoy, the load, and what can be seen meanwhile."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import aiohttp
import orjson

from infscale.config.settings import Preset
from infscale.demo.asked_by_hpa import HPA_METRICS, AdapterClient, Advice, advise
from infscale.demo.child_processes import LOAD, SERVE, SERVERS, HelperProcess, free_ports, helper
from infscale.demo.plan import DemoPlan
from infscale.demo.report import EndpointLoad, LoadSample, PhaseRecord, Quantiles, WantedReplicas
from infscale.envoy.config import Address, PickerRoute, RoundRobinRoute
from infscale.envoy.process import running_envoy
from infscale.errors import StartError
from infscale.planner.hpa_rules import History
from infscale.sim.load.load_generator import Outcome

_LOOPBACK = "127.0.0.1"
_SAMPLE_SECONDS = 0.25
_ADVICE_SECONDS = 1.0
_FRESH_SECONDS = 15.0
_ANSWER_SECONDS = 180.0
_SCRAPE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Phase:
    """A way to route, as people and the report call it, one `of` so many; `preset` None: the picker is passed by."""

    key: str
    name: str
    number: int
    preset: Preset | None
    of: int = 3

    @property
    def picked(self) -> bool:
        """Whether the picker chooses."""
        return self.preset is not None


PHASES = (
    Phase("round_robin", "Envoy's round robin", 1, None),
    Phase("reference", "the reference picker", 2, "reference"),
    Phase("infscale", "infscale", 3, "infscale"),
)


@dataclass(frozen=True, slots=True)
class PhaseStatus:
    """How a phase stands: what the view shows. Requests are counted by what the load generator has reported.

    `over` is true once, after the last answer.
    """

    phase: Phase
    elapsed_seconds: float
    total: int
    due: int
    answered: int
    failed: int
    prefix_hit_ratio: float | None
    ttft: Quantiles
    answered_by: Mapping[str, int]
    sample: LoadSample | None
    advice: Advice | None
    over: bool = False


class View(Protocol):
    """What shows a demo."""

    def starting(self, phase: Phase, what: str) -> None:
        """Called when `what` of a phase begins to start; must be quick."""
        ...

    def show(self, status: PhaseStatus) -> None:
        """Called a few times a second while a phase runs; must be quick."""
        ...


@dataclass(slots=True)
class _Observed:
    """What a running phase has seen so far."""

    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    samples: list[LoadSample] = field(default_factory=list[LoadSample])
    advices: list[Advice] = field(default_factory=list[Advice])

    def record(self) -> PhaseRecord:
        """The whole, once the phase is over."""
        outcomes = sorted(self.outcomes, key=lambda outcome: outcome.number)
        answers = [answer for advice in self.advices for answer in advice.answers]
        wanted = [WantedReplicas(each.at_seconds, each.recommendation.desired) for each in self.advices]
        return PhaseRecord(tuple(outcomes), tuple(self.samples), tuple(answers), tuple(wanted))

    def status(self, plan: DemoPlan, phase: Phase, elapsed: float, *, over: bool = False) -> PhaseStatus:
        """How it stands, `elapsed` seconds after the load began."""
        answered = [outcome for outcome in self.outcomes if outcome.failure is None]
        prompt = sum(outcome.prompt_tokens for outcome in answered)
        return PhaseStatus(
            phase=phase,
            elapsed_seconds=elapsed,
            total=len(plan.requests),
            due=sum(request.at_seconds <= elapsed for request in plan.requests),
            answered=len(answered),
            failed=len(self.outcomes) - len(answered),
            prefix_hit_ratio=sum(outcome.cached_tokens for outcome in answered) / prompt if prompt else None,
            ttft=Quantiles.of([one.ttft_seconds for one in answered if one.ttft_seconds is not None]),
            answered_by=Counter(outcome.endpoint for outcome in answered),
            sample=self.samples[-1] if self.samples else None,
            advice=self.advices[-1] if self.advices else None,
            over=over,
        )


async def run_phase(plan: DemoPlan, phase: Phase, requests: Path, folder: Path, view: View) -> PhaseRecord:
    """Play the traffic in the file `requests` once; every process it needs is started here and gone afterwards.

    `folder` is for this phase alone. Raises `StartError` or `InfscaleError` when a part does not start or stay.
    """
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        view.starting(phase, f"{len(plan.names)} simulated servers")
        fleet = await enter(helper(SERVERS, _servers_file(plan, folder)))
        view.starting(phase, "infscale")
        serve = await enter(helper(SERVE, _serve_file(phase, fleet, folder)))
        listen, admin = (Address(_LOOPBACK, port) for port in free_ports(2))
        view.starting(phase, "Envoy")
        await enter(running_envoy(admin, [_route(phase, listen, fleet, serve)]))
        session = await enter(aiohttp.ClientSession())
        watch = _Watch(plan, phase, session, serve, view)
        view.starting(phase, "the load")
        await watch.until_fresh()
        load = await enter(helper(LOAD, _load_file(requests, listen, folder)))
        record = await watch.follow(load)
        for each in (fleet, serve):
            if each.process.returncode is not None:
                raise each.ended()
        return record


class SnapshotClient:
    """Asks `serve` for the endpoints of its store."""

    def __init__(self, session: aiohttp.ClientSession, serve: HelperProcess) -> None:
        self._session = session
        self._url = f"http://{_LOOPBACK}:{serve.ready['telemetry_port']}/debug/snapshot"

    async def rows(self) -> Sequence[Mapping[str, object]]:
        """The endpoints of the snapshot; empty when `serve` does not answer in time."""
        try:
            async with self._session.get(self._url, timeout=aiohttp.ClientTimeout(total=2.0)) as response:
                document: dict[str, Any] = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
            return ()
        pools: list[dict[str, Any]] = document.get("pools", [])
        return cast("list[dict[str, object]]", pools[0]["endpoints"]) if pools else ()


class _Watch:
    """Follows one phase: outcomes as they come, endpoints and HPA advice from `serve`."""

    def __init__(
        self, plan: DemoPlan, phase: Phase, session: aiohttp.ClientSession, serve: HelperProcess, view: View
    ) -> None:
        self._plan = plan
        self._phase = phase
        self._snapshot = SnapshotClient(session, serve)
        self._adapter = AdapterClient(session, str(serve.ready["adapter_url"]), str(serve.ready["adapter_ca"]))
        self._view = view
        self._seen = _Observed()
        self._started = 0.0

    async def until_fresh(self) -> None:
        """Wait until `serve` has read every endpoint once."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _FRESH_SECONDS
        while loop.time() < deadline:
            rows = await self._snapshot.rows()
            if len(rows) == len(self._plan.names) and all(row.get("eligible") for row in rows):
                return
            await asyncio.sleep(0.05)
        raise StartError(f"infscale serve did not read the simulated servers within {_FRESH_SECONDS:g} s")

    async def follow(self, load: HelperProcess) -> PhaseRecord:
        """Watch until the load generator has reported every request."""
        self._started = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            watching = (tasks.create_task(self._sample()), tasks.create_task(self._ask()))
            async for line in load.lines():
                self._seen.outcomes.append(Outcome(**cast("dict[str, Any]", line)))
            for task in watching:
                task.cancel()
        if len(self._seen.outcomes) < len(self._plan.requests):
            raise load.ended()
        self._view.show(self._seen.status(self._plan, self._phase, self._elapsed(), over=True))
        return self._seen.record()

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    async def _sample(self) -> None:
        while True:
            rows = await self._snapshot.rows()
            if rows:
                self._seen.samples.append(LoadSample(self._elapsed(), tuple(endpoint_load(row) for row in rows)))
            self._view.show(self._seen.status(self._plan, self._phase, self._elapsed()))
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def _ask(self) -> None:
        history = History()
        while True:
            await asyncio.sleep(_ADVICE_SECONDS)
            raw = [(metric, await self._adapter.ask(metric)) for metric in HPA_METRICS]
            advice = advise(raw, self._plan.names, self._elapsed(), history)
            history = advice.recommendation.history
            self._seen.advices.append(advice)


def _servers_file(plan: DemoPlan, folder: Path) -> Path:
    content = {"coefficients": plan.coefficients, "names": plan.names, "seed": plan.seed}
    return _written(folder / "servers.json", content)


def _serve_file(phase: Phase, fleet: HelperProcess, folder: Path) -> Path:
    anywhere = {"listen": f"{_LOOPBACK}:0"}
    endpoints = _written(folder / "endpoints.yaml", cast("Mapping[str, object]", fleet.ready["discovery"]))
    config = _written(
        folder / "serve.yaml",
        {
            "discovery": {"file": endpoints.name},
            "scrape": {"interval_seconds": _SCRAPE_SECONDS},
            "dcgm": {"targets": fleet.ready["gpu_pages"]},
            "picker": {**anywhere, "destinations": 2, "preset": phase.preset or "infscale"},
            "adapter": anywhere,
            "telemetry": anywhere,
            "log": {"level": "warning"},
        },
    )
    return _written(folder / "serve.json", {"config": str(config)})


def _load_file(requests: Path, listen: Address, folder: Path) -> Path:
    content = {"requests": str(requests), "base_url": f"http://{listen}", "timeout_seconds": _ANSWER_SECONDS}
    return _written(folder / "load.json", content)


def _route(phase: Phase, listen: Address, fleet: HelperProcess, serve: HelperProcess) -> PickerRoute | RoundRobinRoute:
    discovery = cast("dict[str, list[dict[str, str]]]", fleet.ready["discovery"])
    endpoints = tuple(Address(one["address"], int(one["port"])) for one in discovery["endpoints"])
    if not phase.picked:
        return RoundRobinRoute(listen, endpoints)
    return PickerRoute(listen, Address(_LOOPBACK, int(str(serve.ready["picker_port"]))), endpoints)


def _written(path: Path, content: Mapping[str, object]) -> Path:
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    return path


def endpoint_load(row: Mapping[str, object]) -> EndpointLoad:
    """What the snapshot says of one endpoint."""
    name = str(row["endpoint"]).rpartition("/")[2]
    return EndpointLoad(
        name,
        _number(row.get("waiting_requests")),
        _number(row.get("running_requests")),
        _number(row.get("kv_cache_utilization_ratio")),
        _number(row.get("in_flight_requests")),
        _number(row.get("gpu_memory_used_bytes")),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
