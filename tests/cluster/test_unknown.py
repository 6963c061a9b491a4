"""What is unknown never scales down: frozen pages, pages that are all frozen, and no infscale at all."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from infscale.endpoint import ObjectKey
from infscale.labels import model_key
from infscale.sim.settings import Fault, FaultKind
from lab import documents
from lab.controlplane import ControlPlane, Document
from lab.load import Load, load_on
from lab.pods import PodServers
from lab.system import Ports, configuration, gateway, infscale, until_ready
from tests.cluster.watching import Watched, until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

NAMESPACE = "unknown"
MODEL = "Qwen/Qwen3-32B"
REPLICAS = 3
RATE = 13.0
SETTLED_SECONDS = 4 * documents.SYNC_SECONDS

FORMS = {
    "pods": documents.pods_metric("running_requests", "1"),
    "object": documents.pool_metric("object", "running_requests", "1"),
    "external": documents.external_metric("running_requests", "1", pool="external", model_key=model_key(MODEL)),
}


@dataclass
class Infscale:
    """An infscale that can be killed and started again, each time with the same configuration."""

    folder: Path
    ports: Ports
    config: Document
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def start(self) -> None:
        self.process = await self.stack.enter_async_context(infscale(self.folder, self.ports, self.config))

    async def kill(self) -> None:
        await self.process.kill()
        await self.stack.aclose()


@dataclass(frozen=True)
class Steady:
    """Three Deployments, each kept at `REPLICAS` by a load."""

    seen: Watched
    servers: PodServers
    loads: tuple[Load, ...]
    infscale: Infscale

    async def inject(self, name: str, count: int) -> None:
        """Freeze the pages of so many of the pods of a Deployment."""
        for pod in sorted(await self.seen.ready(name))[:count]:
            await self.servers.servers[ObjectKey(NAMESPACE, pod)].inject(Fault(FaultKind.FREEZE_METRICS))

    async def clear(self) -> None:
        for server in self.servers.servers.values():
            await server.clear(None)

    async def stays(self, seconds: float) -> None:
        """Nothing scales down for `seconds`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            for form in FORMS:
                replicas = await self.seen.replicas(form)
                assert replicas == REPLICAS, f"{form}: {replicas}; {await self.seen.condition(form)}"
            await asyncio.sleep(0.1)

    async def until_all_replicas(self, seconds: float) -> None:
        for form in FORMS:

            async def holds(form: str = form) -> bool:
                return await self.seen.replicas(form) == REPLICAS

            await until(holds, seconds, f"{form}: {REPLICAS} replicas")

    async def until_active(self, wanted: str, seconds: float) -> None:
        for form in FORMS:

            async def holds(form: str = form) -> bool:
                return (await self.seen.condition(form))[0] == wanted

            await until(holds, seconds, f"{form}: ScalingActive={wanted}, not {await self.seen.condition(form)}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def steady(
    plane: ControlPlane, servers: PodServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Steady, None]:
    ports, folder = Ports.free(), tmp_path_factory.mktemp("unknown")
    await plane.apply(documents.new_namespace(NAMESPACE), *documents.registration(ports.adapter))
    served = Infscale(folder, ports, configuration(plane, ports, NAMESPACE))
    async with contextlib.AsyncExitStack() as stack:
        await served.start()
        stack.push_async_callback(served.stack.aclose)
        url = await stack.enter_async_context(gateway(ports))
        for name in FORMS:
            await plane.apply(
                documents.deployment(NAMESPACE, name, MODEL, REPLICAS, max_num_seqs="2", speed="0.25"),
                documents.pool(NAMESPACE, name),
            )
        for name in FORMS:
            await until_ready(plane, ObjectKey(NAMESPACE, name), REPLICAS)
        loads = [
            await stack.enter_async_context(load_on(url, f"{NAMESPACE}/{name}", MODEL, tokens=15)) for name in FORMS
        ]
        for load in loads:
            load.rate = RATE

        async def under_way() -> bool:
            return all(len(load.answers) >= RATE for load in loads)

        await until(under_way, 30, "a second's requests have been answered by each Deployment")
        for name, metric in FORMS.items():
            await plane.apply(documents.autoscaler(NAMESPACE, name, metric, maximum=REPLICAS, calm_seconds=0))
        made = Steady(Watched(plane, NAMESPACE), servers, tuple(loads), served)
        await made.until_active("True", 60)
        await made.stays(SETTLED_SECONDS)
        yield made
        for load in loads:
            load.rate = 0.0


async def test_one_frozen_page_scales_nothing_down(steady: Steady) -> None:
    for form in FORMS:
        await steady.inject(form, 1)
    await steady.stays(SETTLED_SECONDS)
    await steady.until_active("True", 5)
    await steady.clear()


async def test_when_all_pages_are_frozen_the_hpa_says_why_and_for_how_long(steady: Steady) -> None:
    for form in FORMS:
        await steady.inject(form, REPLICAS)
    await steady.until_active("False", 30)
    for form in FORMS:
        _, message = await steady.seen.condition(form)
        assert "its page stands still although requests were answered" in message
        assert "s old" in message
    await steady.stays(SETTLED_SECONDS)
    await steady.clear()
    await steady.until_active("True", 60)
    # Requests were refused meanwhile, so the servers may have been idle for a moment, and known to be.
    await steady.until_all_replicas(30)


async def test_killing_infscale_scales_nothing_down(steady: Steady) -> None:
    """Nor does its return, while it knows nothing yet; that it scales down at all shows when the load ends."""
    await steady.infscale.kill()
    await steady.until_active("False", 60)
    await steady.stays(SETTLED_SECONDS)
    await steady.infscale.start()
    await steady.until_active("True", 60)
    await steady.until_all_replicas(30)
    for load in steady.loads:
        load.rate = 0.0
    for form in FORMS:

        async def one(form: str = form) -> bool:
            return await steady.seen.replicas(form) == 1

        await until(one, 60, f"{form}: one replica without load; {await steady.seen.condition(form)}")
