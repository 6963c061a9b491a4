"""A whole cluster of the lab: control plane, a node, the inference kinds and infscale's rights."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import yaml

from infscale.kube.api.errors import NotFound, Unreachable
from lab import documents
from lab.controlplane import ControlPlane, control_plane
from lab.definitions import definitions
from lab.kwok import kubelets

MANIFESTS = Path(__file__).parent.parent / "manifests" / "adapter"
_SECONDS = 30.0
_PAUSE_SECONDS = 0.05


@contextlib.asynccontextmanager
async def cluster(folder: Path, sync_seconds: int = documents.SYNC_SECONDS) -> AsyncGenerator[ControlPlane, None]:
    """Run a cluster with its files in `folder` until the block ends."""
    async with control_plane(folder, sync_seconds) as plane, kubelets(plane) as kwok:
        plane = replace(plane, parts={**plane.parts, "kwok": kwok})
        await plane.apply(*definitions(), *await asyncio.to_thread(_manifests))
        async with asyncio.timeout(_SECONDS):
            for definition in definitions():
                await _until_served(plane, definition)
        yield plane


def _manifests() -> list[documents.Document]:
    """The manifests that operators apply, as far as a cluster without a kubelet has use for them."""
    texts = [(MANIFESTS / name).read_text() for name in ("namespace.yaml", "rbac.yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text)]


async def _until_served(plane: ControlPlane, definition: documents.Document) -> None:
    spec = definition["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
    while True:
        with contextlib.suppress(NotFound, Unreachable):
            await plane.client.get(path)
            return
        await asyncio.sleep(_PAUSE_SECONDS)
