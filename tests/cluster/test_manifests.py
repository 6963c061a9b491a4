"""A real API server takes what operators apply."""

from pathlib import Path

import pytest

from lab import documents
from lab.controlplane import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

MANIFESTS = Path(__file__).parent.parent.parent / "manifests"
TRIED = ("apply", "--server-side", "--force-conflicts", "--dry-run=server")


async def test_the_adapter_s_manifests_are_taken(plane: ControlPlane) -> None:
    # Other tests have one of this name, with a port of theirs.
    service = ("service", documents.SERVICE, "-n", documents.SYSTEM)
    await plane.kubectl("delete", *service, "--ignore-not-found")
    said = await plane.kubectl(*TRIED, "-k", str(MANIFESTS / "adapter"))
    assert "deployment.apps/infscale serverside-applied" in said
    assert "configmap/infscale-" in said, "named by its content, so that a change restarts the pod"


async def test_the_examples_of_hpas_are_taken(plane: ControlPlane) -> None:
    await plane.apply(documents.new_namespace("llm"))
    said = await plane.kubectl(*TRIED, "-f", str(MANIFESTS / "examples" / "hpa.yaml"))
    assert said.count("horizontalpodautoscaler") == 3
