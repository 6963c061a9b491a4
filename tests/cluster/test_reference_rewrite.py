"""The reference's case that needs its definitions: a rewrite read from a real API server, by its own command line."""

import asyncio
import contextlib
import json
from pathlib import Path

import grpc.aio
import pytest

from infscale.kube.api.errors import NotFound
from lab import documents
from lab.controlplane import ControlPlane
from tests.cli.test_reference_line import running
from tests.cluster.watching import until
from tests.e2e.reference.reference_pool import objects
from tests.e2e.reference.test_reference_cases import answers, metrics_page
from tests.e2e.reference.test_reference_line_cases import arguments, fresh, page
from tests.picker.reference_cases import MORE, NEEDS_CRDS
from tests.picker.transport.gateway import open_stream
from tests.picker.vector_checks import CHECKS, check_metrics
from tests.picker.vector_pool import FIXTURE, NAMESPACE, Case

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

(CASE,) = [case for case in MORE if case["number"] == NEEDS_CRDS]
PORT = 8000


def pod(name: str) -> documents.Document:
    """A pod of the pool; nothing of the lab's serves on its address."""
    container = {"name": "model-server", "image": "simulated", "ports": [{"containerPort": PORT}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": FIXTURE["pool"]["selector"]},
        "spec": {"containers": [container]},
    }


async def address_of(plane: ControlPlane, name: str) -> str:
    """The address of a pod once it is ready."""
    found: list[str] = []

    async def ready() -> bool:
        with contextlib.suppress(NotFound):
            status = (await plane.client.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}"))["status"]
            conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
            found[:] = [status.get("podIP", "")]
            return conditions.get("Ready") == "True" and bool(found[0])
        return False

    await until(ready, 30, f"pod {name} is ready")
    return found[0]


async def test_a_rewrite_of_a_real_cluster_is_the_reference_s(plane: ControlPlane, tmp_path: Path) -> None:
    for each in objects():
        each["metadata"]["namespace"] = NAMESPACE
        await plane.apply(each)
    name = CASE["pods"][0]["name"]
    await plane.apply(pod(name))
    address = await address_of(plane, name)
    case: Case = json.loads(json.dumps(CASE).replace("192.168.1.1", address))
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(metrics_page(case["pods"][0], PORT))
        given = await asyncio.to_thread(arguments, tmp_path, case, str(plane.kubeconfig))
        line = await stack.enter_async_context(running(*given))
        await fresh(line.metrics, 1)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{line.grpc}"))
        CHECKS[case["expect"]["kind"]](await answers(open_stream(channel), case), case["expect"])
        check_metrics(await page(line.metrics), case)
