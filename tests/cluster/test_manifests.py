"""A real API server takes what operators apply, runs a pod of it, and an overlay takes only what it says."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from adapter.registering.ownership import API_SERVICES, CUSTOM_V1BETA2, OVERLAYS, Overlay
from infscale.kube.api.errors import NotFound
from lab import documents, kwok
from lab.controlplane import ControlPlane
from lab.system import ACCOUNT, ACCOUNT_GROUPS
from tests.cluster.watching import until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

MANIFESTS = Path(__file__).parent.parent.parent / "manifests"
TRIED = ("apply", "--server-side", "--force-conflicts", "--dry-run=server")
APPLIED = ("apply", "--server-side", "--force-conflicts", "-k")
# Other tests have services of these names, with ports of theirs; the namespace and the rights stay.
LEFT = (
    "deployment/infscale",
    "service/infscale-adapter",
    "service/infscale-picker",
    "pdb/infscale",
    "networkpolicy/infscale",
)


async def swept(plane: ControlPlane) -> None:
    await plane.kubectl("delete", "apiservice", *API_SERVICES, "--ignore-not-found")
    await plane.kubectl("-n", documents.SYSTEM, "delete", *LEFT, "--ignore-not-found")
    await plane.kubectl(
        "-n", documents.SYSTEM, "delete", "pod", "-l", "app=infscale", "--ignore-not-found", "--wait=false"
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def installed(plane: ControlPlane) -> AsyncGenerator[str]:
    """What applying the base says."""
    await swept(plane)
    yield await plane.kubectl(*APPLIED, str(MANIFESTS / "adapter"))
    await swept(plane)


async def test_the_base_runs_a_pod_and_takes_no_api(plane: ControlPlane, installed: str) -> None:
    """The namespace takes restricted pods alone, so a pod that is there is one."""
    assert "deployment.apps/infscale serverside-applied" in installed
    assert "configmap/infscale-" in installed, "named by its content, so that a change restarts the pod"
    assert "apiservice" not in installed

    async def running() -> bool:
        path = f"/api/v1/namespaces/{documents.SYSTEM}/pods"
        return bool((await plane.client.get(path, {"labelSelector": "app=infscale"}))["items"])

    await until(running, 30, "a pod of infscale's Deployment")
    for name in API_SERVICES:
        with pytest.raises(NotFound):
            await plane.client.get(f"/apis/apiregistration.k8s.io/v1/apiservices/{name}")


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda each: each.name)
async def test_an_overlay_takes_what_it_says_and_gives_it_back(
    plane: ControlPlane, installed: str, overlay: Overlay
) -> None:
    del installed
    folder = str(MANIFESTS / "adapter" / "overlays" / overlay.name)
    said = await plane.kubectl(*APPLIED, folder)
    taken = {name for name in API_SERVICES if f"apiservice.apiregistration.k8s.io/{name} " in said}
    assert taken == set(overlay.api_services)
    await plane.kubectl("delete", "-k", folder)
    listed = await plane.kubectl("get", "apiservices", "-o", "name")
    assert not any(name in listed for name in API_SERVICES)
    assert await plane.kubectl("-n", documents.SYSTEM, "get", "deployment", "infscale"), "infscale itself stays"


async def test_the_network_policy_is_taken(plane: ControlPlane, installed: str) -> None:
    del installed
    assert "networkpolicy" in await plane.kubectl(*APPLIED, str(MANIFESTS / "adapter" / "overlays" / "network-policy"))


GPU_NODE = "node-with-a-gpu"
AGENT = "infscale-node-agent"


def write_agent(folder: Path, *, component: bool) -> None:
    """A kustomization of the agent as an operator has it, beside the RuntimeClass that NVIDIA's operator makes."""
    base = MANIFESTS / "node-agent"
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "n"}
    (folder / "runtime.yaml").write_text(yaml.safe_dump(runtime))
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["runtime.yaml", os.path.relpath(base, folder)],
        "components": [os.path.relpath(base / "shared-gpus", folder)] if component else [],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))


@pytest.mark.parametrize("component", [False, True], ids=["base", "shared-gpus"])
async def test_the_node_agent_runs_on_nodes_with_a_gpu_and_only_there(
    plane: ControlPlane, tmp_path: Path, component: bool
) -> None:
    write_agent(tmp_path, component=component)
    gpu_node = kwok.node(GPU_NODE)
    gpu_node["metadata"]["labels"]["nvidia.com/gpu.present"] = "true"
    try:
        await plane.apply(gpu_node, kwok.node("node-without"))
        await plane.kubectl(*APPLIED, str(tmp_path))
        path = f"/api/v1/namespaces/{AGENT}/pods"

        async def pods() -> list[dict[str, Any]]:
            return (await plane.client.get(path, {"labelSelector": f"app={AGENT}"}))["items"]

        async def running() -> bool:
            return bool(await pods())

        await until(running, 30, "a pod of the node agent")
        [pod] = await pods()
        [[wanted]] = [
            term["matchFields"]
            for term in pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
                "nodeSelectorTerms"
            ]
        ]
        assert wanted["values"] == [GPU_NODE]
        assert pod["spec"].get("hostPID", False) is component
        assert ("--host-pid" in pod["spec"]["containers"][0]["args"]) is component
        assert not any("token" in str(each) for each in pod["spec"]["volumes"]), "nothing is mounted for the API server"
    finally:
        await plane.kubectl("-n", AGENT, "delete", f"daemonset/{AGENT}", "--ignore-not-found")
        await plane.kubectl("-n", AGENT, "delete", "pod", "-l", f"app={AGENT}", "--force", "--ignore-not-found")
        await plane.kubectl("delete", "node", GPU_NODE, "node-without", "--ignore-not-found")
        await plane.kubectl("delete", "runtimeclass", "nvidia", "--ignore-not-found")


async def test_the_examples_of_hpas_are_taken_one_a_file(plane: ControlPlane) -> None:
    await plane.apply(documents.new_namespace("llm"))
    for path in sorted((MANIFESTS / "examples").glob("hpa*.yaml")):
        said = await plane.kubectl(*TRIED, "-f", str(path))
        assert said.count("horizontalpodautoscaler") == 1


async def test_the_account_has_the_rights_that_are_told_and_not_the_next_ones(
    plane: ControlPlane, installed: str
) -> None:
    del installed

    async def may(verb: str, resource: str, namespace: str = "", name: str = "") -> bool:
        what, _, subresource = resource.partition("/")
        plural, _, group = what.partition(".")
        asked = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, "name": name}
        spec = {
            "user": ACCOUNT,
            "groups": list(ACCOUNT_GROUPS),
            "resourceAttributes": {**asked, "namespace": namespace},
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await plane.client.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    services = "apiservices.apiregistration.k8s.io"
    assert await may("create", "events", documents.SYSTEM)
    assert await may("patch", f"{services}/status", name=CUSTOM_V1BETA2)
    assert not await may("create", "events", "default")
    assert not await may("patch", services, name="v1.apps")
    assert not await may("patch", f"{services}/status", name="v1.apps")
    assert not await may("create", services)
    assert not await may("get", "secrets", "kube-system", "any")
    assert not await may("get", "pods.custom.metrics.k8s.io/queue_length", "llm", "*"), "only with the overlay beside"
