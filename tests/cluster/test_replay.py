"""What the time machine computes is what a real controller did, at every sync.

RECORDINGS_FOLDER and RECORDING_SECONDS keep longer recordings: so those of tests/doctor/recordings were made.
"""

import asyncio
import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from adapter.registering.ownership import API_SERVICES
from infscale.doctor.replay.controller_replay import replayed, start_replicas
from infscale.doctor.replay.history_file import read_history
from infscale.doctor.replay.replayed_hpa import read_hpa
from infscale.documents.strict_document import load
from lab.certificates import Authority
from lab.controlplane import ControlPlane
from tests.cluster.replay.recorded_syncs import RecordingAdapter
from tests.cluster.replay.replayed_workloads import FORMS, kept, record
from tests.cluster.second_adapter import registered

SECONDS = float(os.environ.get("RECORDING_SECONDS", "70"))

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(int(2 * SECONDS) + 120),
]


async def test_the_replayed_replicas_are_the_real_controller_s(
    plane: ControlPlane, measured: list[str], tmp_path: Path
) -> None:
    """For each form of metric, from the first sync to the last, with loads that rise, fall and are unknown at times."""
    await plane.kubectl("delete", "apiservice", *API_SERVICES, "--ignore-not-found")
    made = RecordingAdapter(plane, Authority.made("second-adapter-ca", datetime.now(UTC)))
    async with registered(made, tmp_path):
        await record(plane, made, datetime.now(UTC).timestamp(), SECONDS)
    folder = Path(os.environ.get("RECORDINGS_FOLDER", str(tmp_path)))
    await kept(plane.client, made, folder)
    moved = 0
    for name in FORMS:
        # Files are read here, which blocks.
        found, real = await asyncio.to_thread(_both, folder, name)
        assert found == real, name
        changes = sum(earlier != later for earlier, later in pairwise(real))
        measured.append(f"{name}: {len(real)} syncs replayed as they were, {changes} changes of replicas")
        moved += changes
    assert moved >= 2 * len(FORMS), "the controllers had something to do"


def _both(folder: Path, name: str) -> tuple[list[int], list[int | None]]:
    """The replicas that are replayed, and those that there were."""
    hpa = read_hpa(load((folder / f"{name}.hpa.json").read_text(), name))
    syncs = read_history(folder / f"{name}.json")
    start = start_replicas(syncs)
    assert start is not None
    return [each.replicas for each in replayed(hpa, syncs, start)], [each.replicas for each in syncs]
