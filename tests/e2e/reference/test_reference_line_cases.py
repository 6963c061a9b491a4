"""The reference's ext_proc cases against `infscale-picker` with the reference's own command line and configuration."""

import asyncio
import contextlib
import json
from pathlib import Path

import aiohttp
import grpc.aio
import pytest

from infscale.demo.child_processes import free_ports
from tests.cli.test_reference_line import kubeconfig, running
from tests.e2e.reference.reference_pool import POOL, on_loopback
from tests.e2e.reference.test_reference_cases import answers, metrics_page
from tests.fakes.cluster import FakeCluster as FakeReviews
from tests.kube import cluster_objects as made
from tests.kube.api_server import serving
from tests.kube.fake_cluster import FakeCluster
from tests.picker.reference_cases import MORE, NEEDS_CRDS, OF_VECTORS
from tests.picker.session_cases import SESSIONS
from tests.picker.transport.gateway import open_stream
from tests.picker.vector_checks import CHECKS, PLAYED, check_metrics
from tests.picker.vector_pool import FIXTURE, NAMESPACE, Case, labels_of

pytestmark = pytest.mark.timeout(60)


async def cluster_of(case: Case, port: int) -> FakeCluster:
    """A cluster with the fixture's pool, objectives and rewrites, and the pods of the case."""
    cluster = FakeCluster()
    app = FIXTURE["pool"]["selector"]["app"]
    pool = made.pool(POOL, port, app=app, namespace=NAMESPACE)
    await cluster.apply("inference.networking.k8s.io", "inferencepools", pool)
    reference = {"poolRef": {"name": POOL}}
    objects: list[tuple[str, str, str, made.Json]] = [
        ("inferenceobjectives", "InferenceObjective", name, {**reference, "priority": priority})
        for name, priority in FIXTURE["objectives"].items()
    ]
    for rewrite in FIXTURE["rewrites"]:
        matches = [{"model": {"type": "Exact", "value": rewrite["match"]["model"]}}]
        spec = {**reference, "rules": [{"matches": matches, "targets": rewrite["targets"]}]}
        objects.append(("inferencemodelrewrites", "InferenceModelRewrite", rewrite["name"], spec))
    for plural, kind, name, spec in objects:
        item = made.inference(kind, name, spec)
        item["metadata"]["namespace"] = NAMESPACE
        await cluster.apply("llm-d.ai", plural, item)
    for pod in case["pods"]:
        item = made.pod(pod["name"], pod["ip"], labels=labels_of(pod), namespace=NAMESPACE)
        await cluster.apply("", "pods", item)
    return cluster


async def fresh(metrics_port: int, pods: int) -> None:
    """Wait until the picker says that it has scraped every pod; the test's timeout is the limit."""
    wanted = f'infscale_pool_fresh_endpoints{{pool="{NAMESPACE}/{POOL}"}} {float(pods)}'
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://127.0.0.1:{metrics_port}/metrics") as response:
                if wanted in await response.text():
                    return
            await asyncio.sleep(0.05)


async def page(metrics_port: int) -> str:
    """The picker's own metrics page."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{metrics_port}/metrics") as response,
    ):
        return await response.text()


def arguments(folder: Path, case: Case, config: str) -> list[str]:
    """What whoever runs the reference writes, beside ports."""
    (folder / "epp.yaml").write_text(json.dumps(case.get("config") or FIXTURE["config"]))
    given = [
        f"--pool-name={POOL}",
        f"--pool-namespace={NAMESPACE}",
        f"--config-file={folder / 'epp.yaml'}",
        f"--kubeconfig={config}",
        "--secure-serving=false",
        "--metrics-endpoint-auth=false",
        "--allow-experimental-plugins",
    ]
    if "x-gateway-destination-endpoint-scores" in case["expect"].get("dynamic_metadata_has", {}).get("envoy.lb", ()):
        given.append("--emit-endpoint-scores")
    return given


ALL = [*PLAYED, *MORE]


@pytest.mark.parametrize("case", ALL, ids=[case["name"] for case in ALL])
async def test_the_reference_s_command_line_answers_as_the_reference(tmp_path: Path, case: Case) -> None:
    (port,) = free_ports(1)
    case = on_loopback(case, port)
    cluster = await cluster_of(case, port)
    async with contextlib.AsyncExitStack() as stack:
        for pod in case["pods"]:
            await stack.enter_async_context(metrics_page(pod, port))
        url = await stack.enter_async_context(serving(cluster, FakeReviews()))
        config = await asyncio.to_thread(kubeconfig, tmp_path, url)
        given = await asyncio.to_thread(arguments, tmp_path, case, config)
        line = await stack.enter_async_context(running(*given))
        await fresh(line.metrics, len(case["pods"]))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{line.grpc}"))
        CHECKS[case["expect"]["kind"]](await answers(open_stream(channel), case), case["expect"])
        check_metrics(await page(line.metrics), case)


def test_40_of_the_41_cases_are_played_and_the_one_that_needs_crds() -> None:
    names = {case["name"] for case in PLAYED}
    assert set(OF_VECTORS.values()) == names
    played = OF_VECTORS.keys() | {case["number"] for case in MORE} | SESSIONS.keys()
    assert played == set(range(1, 42))
    assert len(played - {NEEDS_CRDS}) == 40
