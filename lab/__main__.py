"""``make lab``: a cluster, an HPA, Envoy, infscale and a load that surges, until Ctrl-C."""

import argparse
import asyncio
import contextlib
import signal
import statistics
import sys
import tempfile
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.live import Live

from infscale.endpoint import ObjectKey
from infscale.errors import InfscaleError
from infscale.kube.api.errors import KubeError
from lab import documents
from lab.controlplane import TOOLS, ControlPlane
from lab.load import Load, load_on
from lab.processes import Running, running
from lab.stack import cluster
from lab.system import Ports, configuration, gateway, infscale, until_ready
from lab.view import Condition, EndpointView, LabState, ScalerView, line, picture

NAMESPACE, NAME = "llm", "chat"
MODEL = "meta-llama/Llama-3.1-8B"
SURGE_PER_SECOND, CALM_PER_SECOND = 12.0, 1.0
SURGE_SECONDS, CALM_SECONDS = 40.0, 40.0
_FIRST_CALM_SECONDS = 10.0
_REDRAW_SECONDS = 0.5
_PLAIN_SECONDS = 2.0
_RECENT_SECONDS = 10.0
_REMEMBERED = 120
_DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"
_SCALER = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/{NAME}"


def main() -> int:
    """Run the lab; 0 after Ctrl-C, 1 when a part did not start or stay."""
    parser = argparse.ArgumentParser(prog="make lab", description="A cluster on which a real HPA scales on infscale.")
    parser.add_argument("--seconds", type=float, help="end by itself after so many seconds")
    arguments = parser.parse_args()
    try:
        asyncio.run(_lab(arguments.seconds))
    except (InfscaleError, BaseExceptionGroup) as error:
        first = _first(error)
        if not isinstance(first, InfscaleError):
            raise
        print(f"lab: {first}", file=sys.stderr)
        return 1
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _lab(seconds: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    console = Console()
    console.print("starting a control plane, kwok, simulated model servers, infscale and Envoy …")
    with tempfile.TemporaryDirectory(prefix="infscale-lab-") as name:
        folder, ports = Path(name), Ports.free()
        async with cluster(folder) as plane:
            servers = [sys.executable, "-m", "lab.pods", plane.kubeconfig, NAMESPACE]
            async with running("servers", servers, folder) as fleet:
                await plane.apply(
                    documents.new_namespace(NAMESPACE),
                    *documents.registration(ports.adapter),
                    documents.pool(NAMESPACE, NAME),
                    documents.deployment(NAMESPACE, NAME, MODEL, max_num_seqs="2", load_time="3s"),
                )
                async with (
                    infscale(folder, ports, configuration(plane, ports, NAMESPACE)) as served,
                    gateway(ports) as url,
                ):
                    await until_ready(plane, ObjectKey(NAMESPACE, NAME), 1)
                    await plane.apply(
                        documents.autoscaler(
                            NAMESPACE,
                            NAME,
                            documents.pods_metric("in_flight_requests", "2"),
                            maximum=6,
                            calm_seconds=15,
                        )
                    )
                    async with load_on(url, f"{NAMESPACE}/{NAME}", MODEL) as load, aiohttp.ClientSession() as session:
                        parts = (fleet, served, *plane.parts.values())
                        watched = _Watched(plane, session, ports, load, parts)
                        with _shown(console) as show:
                            await _until_stopped(watched, show, stop, seconds)
                        load.rate = 0.0
    console.print("the lab is gone")


@contextlib.contextmanager
def _shown(console: Console) -> Generator["_Show"]:
    if not console.is_terminal:
        yield _Show(None)
        return
    with Live(console=console, auto_refresh=False, screen=False) as live:
        yield _Show(live)


@dataclass(slots=True)
class _Show:
    """Redraws a picture in a terminal, prints lines elsewhere."""

    live: Live | None
    due: float = 0.0

    def __call__(self, state: LabState) -> None:
        if self.live is not None:
            self.live.update(picture(state), refresh=True)
        elif state.elapsed_seconds >= self.due:
            self.due = state.elapsed_seconds + _PLAIN_SECONDS
            for note in state.notes if state.elapsed_seconds < _PLAIN_SECONDS else ():
                print(note)
            print(line(state), flush=True)


@dataclass(slots=True)
class _Watched:
    """What the picture is made of."""

    plane: ControlPlane
    session: aiohttp.ClientSession
    ports: Ports
    load: Load
    parts: tuple[Running, ...]
    replicas: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    async def state(self, elapsed: float) -> LabState:
        """The state of this moment. Raises `StartError` when a part has ended."""
        await asyncio.gather(*(part.check() for part in self.parts))
        phase = phase_at(elapsed)
        self.load.rate = SURGE_PER_SECOND if phase == "surge" else CALM_PER_SECOND
        scaler = await self._scaler()
        if scaler is not None:
            self.replicas.append(scaler.wanted)
        now = asyncio.get_running_loop().time()
        ttfts = [
            each.first_at - each.sent_at
            for each in self.load.answers
            if each.first_at is not None and each.failure is None and each.ended_at > now - _RECENT_SECONDS
        ]
        failures = self.load.failures
        return LabState(
            elapsed,
            phase,
            self.load.rate,
            len(self.load.answers) - len(failures),
            len(failures),
            self.load.under_way,
            statistics.median(ttfts) if ttfts else None,
            statistics.quantiles(ttfts, n=10)[-1] if len(ttfts) > 1 else None,
            await self._endpoints(),
            scaler,
            tuple(self.replicas),
            (
                f"export KUBECONFIG={self.plane.kubeconfig}",
                f"{TOOLS / 'controlplane'} kubectl -n {NAMESPACE} describe hpa {NAME}",
                "Ctrl-C ends everything",
            ),
        )

    async def _endpoints(self) -> tuple[EndpointView, ...]:
        try:
            async with self.session.get(f"http://127.0.0.1:{self.ports.telemetry}/debug/snapshot") as response:
                pools = (await response.json())["pools"]
        except aiohttp.ClientError:
            return ()
        return tuple(_endpoint(each) for pool in pools for each in pool["endpoints"])

    async def _scaler(self) -> ScalerView | None:
        try:
            found = await self.plane.client.get(_SCALER)
            wanted = int((await self.plane.client.get(_DEPLOYMENT))["spec"]["replicas"])
        except KubeError:
            return None
        return scaler_of(found, wanted)


def phase_at(elapsed: float) -> str:
    """Which part of the load it is: some calm, then surges with calm between them."""
    return (
        "surge"
        if (elapsed - _FIRST_CALM_SECONDS) % (SURGE_SECONDS + CALM_SECONDS) < SURGE_SECONDS
        and (elapsed >= _FIRST_CALM_SECONDS)
        else "calm"
    )


def _endpoint(found: dict[str, Any]) -> EndpointView:
    return EndpointView(
        found["endpoint"],
        found["phase"],
        found["age_seconds"],
        found["waiting_requests"],
        found["running_requests"],
        found["kv_cache_utilization_ratio"],
        found["in_flight_requests"],
    )


def scaler_of(found: dict[str, Any], wanted: int) -> ScalerView:
    """What an HPA object says; `wanted` is the replicas of its target's spec."""
    status = found.get("status", {})
    metric = found["spec"]["metrics"][0]["pods"]
    current = next(
        (each["pods"]["current"].get("averageValue") for each in status.get("currentMetrics") or [] if "pods" in each),
        None,
    )
    conditions = tuple(
        Condition(each["type"], each["status"], each["message"]) for each in status.get("conditions", [])
    )
    target = metric["target"]["averageValue"]
    words = f"{metric['metric']['name']} {current or 'unknown'} of {target} per pod"
    return ScalerView(status.get("currentReplicas", 0), status.get("desiredReplicas", 0), wanted, words, conditions)


async def _until_stopped(watched: _Watched, show: _Show, stop: asyncio.Event, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not stop.is_set() and (seconds is None or loop.time() - started < seconds):
        show(await watched.state(loop.time() - started))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REDRAW_SECONDS):
                await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
