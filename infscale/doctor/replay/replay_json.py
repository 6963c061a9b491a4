"""A replay as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import orjson

from infscale.doctor.replay.controller_replay import ReplayedSync
from infscale.doctor.replay.replay_text import NOTES, Replay, outcome


def document(replays: Sequence[Replay], metrics: Sequence[str]) -> str:
    """One object: of each replay its outcome and every sync. Values are the totals of metrics, null where unknown."""
    found = {
        "notes": NOTES,
        "replays": [
            {
                "name": each.name,
                "outcome": asdict(outcome(each.syncs)),
                "syncs": [_sync(sync, metrics) for sync in each.syncs],
            }
            for each in replays
        ],
    }
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()


def _sync(sync: ReplayedSync, metrics: Sequence[str]) -> Mapping[str, object]:
    values = [None if each is None else each / 1000 for each in sync.values_milli]
    return {
        "at": sync.at,
        "values": dict(zip(metrics, values, strict=True)),
        "recorded": sync.recorded,
        "replicas": sync.replicas,
        "proposed": sync.proposed,
        "desired": sync.desired,
        "reason": sync.reason,
        "explanation": sync.explanation,
    }
