"""A whole cluster of the lab: control plane, a node, the inference kinds and the adapter's registration."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from infscale.kube.errors import NotFound
from lab import documents
from lab.controlplane import ControlPlane, control_plane
from lab.definitions import definitions
from lab.kwok import kubelets

_SECONDS = 30.0
_PAUSE_SECONDS = 0.05


@contextlib.asynccontextmanager
async def cluster(folder: Path, sync_seconds: int = documents.SYNC_SECONDS) -> AsyncGenerator[ControlPlane, None]:
    """Run a cluster with its files in `folder` until the block ends."""
    async with control_plane(folder, sync_seconds) as plane, kubelets(plane):
        await plane.apply(*definitions(), documents.new_namespace(documents.SYSTEM))
        async with asyncio.timeout(_SECONDS):
            for definition in definitions():
                await _until_served(plane, definition)
        yield plane


async def _until_served(plane: ControlPlane, definition: documents.Document) -> None:
    spec = definition["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
    while True:
        with contextlib.suppress(NotFound):
            await plane.client.get(path)
            return
        await asyncio.sleep(_PAUSE_SECONDS)
