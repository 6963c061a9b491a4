"""What the time machine computes is what a real controller did, at every sync.

It looks at half a minute. RECORDINGS_FOLDER and RECORDING_SECONDS keep longer recordings: `make recordings` makes those
of ten minutes in tests/doctor/recordings, which are replayed without a cluster.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from adapter.registering.ownership import API_SERVICES
from infscale.doctor.replay.controller_replay import replayed, start_replicas
from infscale.doctor.replay.history_file import read_history
from infscale.doctor.replay.past_syncs import PastSync
from infscale.doctor.replay.replayed_hpa import ReplayedHpa, read_hpa
from infscale.documents.strict_document import load
from lab.certificates import Authority
from lab.controlplane import ControlPlane
from tests.cluster.replay.recorded_syncs import RecordingAdapter
from tests.cluster.replay.replayed_workloads import FORMS, kept, record
from tests.cluster.second_adapter import registered

SECONDS = float(os.environ.get("RECORDING_SECONDS", "30"))
DECIDED_WITHIN = 0.3
"""The seconds, on a busy machine, within which the controller decides from what it was answered."""

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
        found, real, at_edges = await asyncio.to_thread(_both, folder, name)
        assert found == real, name
        changes = sum(earlier != later for earlier, later in pairwise(real))
        measured.append(f"{name}: {len(real)} syncs replayed as they were, {changes} changes of replicas")
        if at_edges:
            measured.append(f"{name}: {at_edges} syncs at the end of a window, decided as the controller's clock was")
        moved += changes
    assert moved >= SECONDS / 30 * len(FORMS), "the controllers had something to do"


def _both(folder: Path, name: str) -> tuple[list[int], list[int | None], int]:
    """The replicas that are replayed, those that there were, and how many syncs were at the end of a window."""
    hpa = read_hpa(load((folder / f"{name}.hpa.json").read_text(), name))
    syncs = read_history(folder / f"{name}.json")
    timed = _timed(hpa, syncs)
    start = start_replicas(timed)
    assert start is not None
    at_edges = sum(one.at != other.at for one, other in zip(timed, syncs, strict=True))
    return [each.replicas for each in replayed(hpa, timed, start)], [each.replicas for each in syncs], at_edges


def _timed(hpa: ReplayedHpa, syncs: Sequence[PastSync]) -> list[PastSync]:
    """The syncs at the times at which the controller decided, as far as that shows.

    It decides a little later than it asks. Whether an event is still in a window can hang on that, and only then are
    other replicas right for another time.
    """
    timed = [*syncs]
    for at, later in enumerate(syncs[1:]):
        for delay in (0.0, DECIDED_WITHIN, -DECIDED_WITHIN):
            timed[at] = replace(syncs[at], at=syncs[at].at + delay)
            *_, last = replayed(hpa, timed[: at + 2], start_replicas(syncs) or 0)
            if last.replicas == later.replicas:
                break
        else:
            timed[at] = syncs[at]
    return timed
