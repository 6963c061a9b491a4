"""Real HPAs on a query of a real Prometheus, which scrapes the simulated model servers."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio

from infscale.endpoint import ObjectKey
from lab import documents
from lab.controlplane import ControlPlane
from lab.pods import PodServers
from lab.system import Ports, configuration, infscale, until_ready
from tests.cluster.watching import Watched, until
from tests.prometheus.real_prometheus import RealPrometheus, Scraped, prometheus

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.prometheus,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
]

NAMESPACE = "queries"
MODEL = "meta-llama/Llama-3.1-8B"
METRIC = "requests_seen_by_prometheus"
QUERY = 'sum(vllm:num_requests_running{namespace="${namespace}",pool="${pool}"})'
REQUESTS = 4
CALM_SECONDS = 4
FORMS = {
    "object": documents.pool_metric("object", METRIC, "2"),
    "external": documents.external_metric(METRIC, "2", pool="external"),
}


@dataclass(frozen=True)
class Asked:
    """The parts under test, and the address of each workload's first pod."""

    seen: Watched
    prometheus: RealPrometheus
    urls: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def asked(
    plane: ControlPlane, servers: PodServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Asked, None]:
    del servers
    ports, folder = Ports.free(), tmp_path_factory.mktemp("queries")
    await plane.apply(documents.new_namespace(NAMESPACE), *documents.registration(ports.adapter))
    for name in FORMS:
        # So slow that a request outlasts the test.
        slow = documents.deployment(NAMESPACE, name, MODEL, max_num_seqs="8", speed="0.01")
        await plane.apply(slow, documents.pool(NAMESPACE, name))
    for name in FORMS:
        await until_ready(plane, ObjectKey(NAMESPACE, name), 1)
    pods = (await plane.client.get(f"/api/v1/namespaces/{NAMESPACE}/pods"))["items"]
    places = {each["metadata"]["labels"]["app"]: f"{each['status']['podIP']}:8000" for each in pods}
    targets = [Scraped(place, {"namespace": NAMESPACE, "pool": name}) for name, place in places.items()]
    async with prometheus(folder, targets) as running:
        queries = [{"name": METRIC, "query": QUERY, "interval_seconds": 0.5, "staleness_limit_seconds": 3}]
        section = {"servers": {"main": {"url": running.url, "timeout_seconds": 1}}, "queries": queries}
        async with infscale(folder, ports, configuration(plane, ports, NAMESPACE, prometheus=section)):
            urls = {name: f"http://{place}/v1/completions" for name, place in places.items()}
            yield Asked(Watched(plane, NAMESPACE), running, urls)


@contextlib.asynccontextmanager
async def requests_at(*urls: str) -> AsyncGenerator[None]:
    """Some requests at each server, for as long as the block runs."""
    body = {"model": MODEL, "prompt": "Hello", "max_tokens": 4_000, "stream": True}
    async with aiohttp.ClientSession() as session, contextlib.AsyncExitStack() as stack:
        for url in urls:
            for _ in range(REQUESTS):
                await stack.enter_async_context(session.post(url, json=body))
        yield


async def test_hpas_follow_a_query_up_stay_while_prometheus_is_silent_and_go_down_with_it(asked: Asked) -> None:
    seen, names = asked.seen, tuple(FORMS)

    async def all_are(replicas: int) -> bool:
        return [await seen.replicas(name) for name in names] == [replicas] * len(names)

    async def told() -> str:
        return str([(await seen.condition(name), await seen.replicas(name)) for name in names])

    await seen.plane.apply(
        *(documents.autoscaler(NAMESPACE, name, FORMS[name], maximum=3, calm_seconds=CALM_SECONDS) for name in names)
    )
    for name in names:
        await until(lambda name=name: seen.is_active(name), 60, f"{name} is read: {await told()}")  # type: ignore[misc]
    async with requests_at(*asked.urls.values()):
        await until(lambda: all_are(REQUESTS // 2), 30, f"a replica for two requests: {await told()}")
        asked.prometheus.pause(stopped=True)

        async def unknown() -> bool:
            conditions = [await seen.condition(name) for name in names]
            return all(status == "False" and "timed out" in message for status, message in conditions)

        await until(unknown, 30, f"the HPAs say why there is no value: {await told()}")
    loop = asyncio.get_running_loop()
    end = loop.time() + CALM_SECONDS + 2 * documents.SYNC_SECONDS
    while loop.time() < end:
        assert await all_are(REQUESTS // 2), f"an unknown value scales nothing: {await told()}"
        await asyncio.sleep(0.1)
    asked.prometheus.pause(stopped=False)
    await until(lambda: all_are(1), 40, f"one replica without requests: {await told()}")
