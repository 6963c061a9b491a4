"""A real API server takes the adapter's discovery and OpenAPI for its own: nothing is stale, renamed or unexplained."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from adapter.server.adapter_server import AdapterServer, AdapterSettings
from infscale.errors import StartError
from infscale.metrics.published.catalogue import PUBLISHED
from lab import documents
from lab.controlplane import ControlPlane, Document
from tests.adapter.support import World

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

SECONDS = 60
NAMES = {metric.name for metric in PUBLISHED}
EXTERNAL = "external.metrics.k8s.io"
EXTERNAL_V1BETA1 = f"{EXTERNAL}/v1beta1"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def aggregated(plane: ControlPlane) -> AsyncGenerator[ControlPlane, None]:
    """A cluster that asks an adapter of this process for both APIs."""
    async with AdapterServer(AdapterSettings(documents.ADAPTER_HOST, 0), World(a=1).provider) as server:
        assert server.ca_pem is not None
        trusted = base64.b64encode(server.ca_pem).decode()
        registration = [_trusting(each, trusted) for each in documents.registration(server.port)]
        await plane.apply(*registration)
        services = [f"apiservice/{each['metadata']['name']}" for each in registration if each["kind"] == "APIService"]
        await plane.kubectl("wait", "--for=condition=Available", f"--timeout={SECONDS}s", *services)
        async with asyncio.timeout(SECONDS):
            while not NAMES.issubset(await resources(plane)):
                await asyncio.sleep(0.5)
        yield plane


def _trusting(document: Document, ca: str) -> Document:
    if document["kind"] != "APIService":
        return document
    return {**document, "spec": {**document["spec"], "caBundle": ca}}


async def resources(plane: ControlPlane) -> list[str]:
    """The external metrics the cluster lists, read anew; a group that is in doubt is an error."""
    try:
        listed = await plane.kubectl("api-resources", "--cached=false", f"--api-group={EXTERNAL}", "-o", "name")
    except StartError as error:
        return [str(error)]
    return [line.removesuffix(f".{EXTERNAL}") for line in listed.split()]


async def test_no_group_is_stale(aggregated: ControlPlane) -> None:
    """One entry that the cluster cannot convert would make it doubt the group, and keep namespaces from ending."""
    assert "pods" in await aggregated.kubectl("api-resources", "--cached=false")
    await aggregated.apply(documents.new_namespace("passing"))
    await aggregated.kubectl("delete", "namespace", "passing", f"--timeout={SECONDS}s")


@pytest.mark.parametrize("version", ["plaintext", "plaintext-openapiv2"])
async def test_kubectl_explains_an_external_metric(aggregated: ControlPlane, version: str) -> None:
    arguments = ("explain", "waiting_requests", f"--api-version={EXTERNAL_V1BETA1}", f"--output={version}")
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                said = await aggregated.kubectl(*arguments)
                break
            except StartError:
                # Documents of OpenAPI are read in turns of their own.
                await asyncio.sleep(1)
    assert "ExternalMetricValueList" in said
    assert "revision of the metrics store" in said


async def test_the_cluster_s_documents_have_ours_and_nothing_is_renamed(aggregated: ControlPlane) -> None:
    ours = f"/apis/{EXTERNAL_V1BETA1}/namespaces/{{namespace}}/waiting_requests"
    async with asyncio.timeout(SECONDS):
        while True:
            merged = json.loads(await aggregated.kubectl("get", "--raw", "/openapi/v2"))
            if ours in merged["paths"]:
                break
            await asyncio.sleep(1)
    renamed = [name for name in merged["definitions"] if name.endswith("_v2")]
    assert not renamed
    index = json.loads(await aggregated.kubectl("get", "--raw", "/openapi/v3"))["paths"]
    for part in ("custom.metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta2", EXTERNAL_V1BETA1):
        found = json.loads(await aggregated.kubectl("get", "--raw", index[f"apis/{part}"]["serverRelativeURL"]))
        assert all(path.startswith(f"/apis/{part}/") for path in found["paths"])
