"""A Deployment is scaled down under long streams, and a node is cordoned: on real controllers, through a real Envoy."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import aiohttp
import pytest
import pytest_asyncio

from infscale.endpoint import DRAINING_LABEL, ObjectKey
from infscale.kube.api.verbs import PatchKind
from lab import documents
from lab.controlplane import ControlPlane
from lab.kwok import NODE
from lab.pods import PodServers
from lab.system import POOL_HEADER, Ports, configuration, gateway, infscale, until_ready
from tests.cluster.watching import until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

NAMESPACE, NAME = "draining", "chat"
MODEL = "meta-llama/Llama-3.1-8B"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
STREAMS = 50
TOKENS = 800
"""Of each stream: some seconds, in batches of up to 16."""


@dataclass
class Drained:
    """The parts under test."""

    plane: ControlPlane
    url: str
    telemetry: str
    measured: list[str]

    async def pods(self) -> list[str]:
        """Names of the pods that are not being deleted."""
        found = (await self.plane.client.get(PODS))["items"]
        return [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]

    async def phases(self) -> dict[str, str]:
        """What infscale takes each endpoint for."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.telemetry}/debug/snapshot") as answer:
            document = await answer.json()
        [pool] = [each for each in document["pools"] if each["pool"] == f"{NAMESPACE}/{NAME}"]
        return {each["endpoint"].partition("/")[2]: each["phase"] for each in pool["endpoints"]}


@dataclass
class Streams:
    """Long answers, by the pods that give them."""

    url: str
    began: int = 0
    done: int = 0
    problems: list[str] = field(default_factory=list[str])
    pods: list[str] = field(default_factory=list[str])

    async def one(self, session: aiohttp.ClientSession, number: int, tokens: int = TOKENS) -> None:
        body = {"model": MODEL, "prompt": f"stream {number}", "max_tokens": tokens, "stream": True}
        headers, ended = {POOL_HEADER: f"{NAMESPACE}/{NAME}"}, False
        try:
            async with session.post(f"{self.url}/v1/completions", json=body, headers=headers) as answer:
                self.pods.append(answer.headers.get("x-inference-pod", f"status {answer.status}"))
                self.began += 1
                async for line in answer.content:
                    ended = ended or line.startswith(b"data: [DONE]")
        except aiohttp.ClientError as error:
            self.problems.append(repr(error))
        if ended:
            self.done += 1
        else:
            self.problems.append(f"stream {number} has no end")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def drained(
    plane: ControlPlane, servers: PodServers, measured: list[str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Drained, None]:
    del servers
    ports = Ports.free()
    await plane.apply(documents.new_namespace(NAMESPACE), *documents.registration(ports.adapter))
    folder = tmp_path_factory.mktemp("draining")
    # All namespaces are followed: only then may nodes be seen.
    config = configuration(plane, ports, NAMESPACE, discovery={"kubernetes": {}})
    async with infscale(folder, ports, config), gateway(ports) as url:
        deployment = documents.deployment(NAMESPACE, NAME, MODEL, 6, max_num_seqs="16", leave_time="2s")
        await plane.apply(deployment, documents.pool(NAMESPACE, NAME))
        await until_ready(plane, ObjectKey(NAMESPACE, NAME), 6)
        made = Drained(plane, url, f"http://127.0.0.1:{ports.telemetry}", measured)

        async def known() -> bool:
            return [*(await made.phases()).values()] == ["ready"] * 6

        await until(known, 30, "six endpoints are ready")
        yield made


async def test_scaling_down_from_six_to_two_breaks_none_of_fifty_streams(drained: Drained) -> None:
    """The kubelet of the lab lets a pod go two seconds after its deletion, and its server when its requests have ended.

    A real one does so with a preStop hook that is as long as the streams (docs/draining.md).
    """
    streams, later = Streams(drained.url), Streams(drained.url)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for number in range(STREAMS):
            group.create_task(streams.one(session, number))

        async def begun() -> bool:
            return streams.began + len(streams.problems) >= STREAMS

        await until(begun, 30, "all streams have begun")
        done_before = streams.done
        await drained.plane.client.patch(DEPLOYMENT, {"spec": {"replicas": 2}}, kind=PatchKind.MERGE)

        async def scaled() -> bool:
            staying = await drained.pods()
            phases = await drained.phases()
            return (
                len(staying) == 2
                and all(phases.get(each) == "ready" for each in staying)
                and (list(phases.values()).count("ready") == 2)
            )

        await until(scaled, 30, "four of six pods drain")
        staying = await drained.pods()
        for number in range(20):
            await later.one(session, STREAMS + number, 4)
    drained.measured.append(
        f"from 6 to 2 replicas under {STREAMS} streams: {len(streams.problems)} broken; "
        f"{STREAMS - done_before} ran as the Deployment was scaled"
    )
    assert streams.problems == later.problems == []
    assert streams.done == STREAMS
    assert len(set(streams.pods)) > 2
    assert set(later.pods) <= set(staying), "no new request goes where a pod is deleted"


async def test_a_pod_drains_by_annotation_and_back(drained: Drained) -> None:
    await until_ready(drained.plane, ObjectKey(NAMESPACE, NAME), 2)
    [one, other] = sorted(await drained.pods())
    for value, phase in (("true", "draining"), (None, "ready")):
        patch = {"metadata": {"annotations": {DRAINING_LABEL: value}}}
        await drained.plane.client.patch(f"{PODS}/{one}", patch, kind=PatchKind.MERGE)

        async def seen(phase: str = phase) -> bool:
            return await drained.phases() == {one: phase, other: "ready"}

        await until(seen, 20, f"{one} is {phase}")


async def test_a_cordon_of_the_only_node_takes_nothing_out_of_the_pool(drained: Drained) -> None:
    node = f"/api/v1/nodes/{NODE}"
    try:
        await drained.plane.client.patch(node, {"spec": {"unschedulable": True}}, kind=PatchKind.MERGE)
        streams = Streams(drained.url)
        async with aiohttp.ClientSession() as session:
            for number in range(10):
                await streams.one(session, number, 4)
                await asyncio.sleep(0.1)
        assert streams.problems == []
        assert set((await drained.phases()).values()) == {"ready"}
    finally:
        await drained.plane.client.patch(node, {"spec": {"unschedulable": False}}, kind=PatchKind.MERGE)
