"""The last decisions as a document for people: what was chosen, on which data, how long that took, and refusals."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from heapq import nlargest
from types import MappingProxyType
from typing import Final

from infscale.endpoint import ObjectKey
from picker.pick_record import PickEnd, PickRecord
from picker.remote_work import remote_document
from picker.request import Reason

SHOWN: Final = 256
"""Of all pools together; the newest are shown."""

Picks = Mapping[ObjectKey, tuple[Iterable[PickRecord], Mapping[str, str]]]
"""Each pool's records, and the names of the endpoints that it has now, by their authorities."""

Refusals = Mapping[str, Mapping[tuple[Reason, int], int]]
"""How often requests were refused since the start, by pool ("": none was found for them), reason and HTTP status."""

NO_REFUSALS: Final[Refusals] = MappingProxyType({})


def picks_document(picks: Picks, now: float, wall: datetime, refusals: Refusals = NO_REFUSALS) -> dict[str, object]:
    """The newest first; `now` is monotonic and the same moment as `wall`.

    An endpoint that has left its pool is named by its authority alone. What was not known or not asked for is null.
    """
    found = [(record, pool, names) for pool, (records, names) in picks.items() for record in records]
    newest = nlargest(SHOWN, found, key=lambda each: each[0].now)
    return {
        "picks": [
            _pick(record, pool, names, wall - timedelta(seconds=now - record.now)) for record, pool, names in newest
        ],
        "refusals": [
            {"pool": pool, "reason": reason.value, "status": status, "requests": count}
            for pool, counted in refusals.items()
            for (reason, status), count in counted.items()
        ],
    }


def _pick(record: PickRecord, pool: ObjectKey, names: Mapping[str, str], at: datetime) -> dict[str, object]:
    return {
        "time": at.isoformat(timespec="milliseconds"),
        "request_id": record.request_id,
        "pool": str(pool),
        "revision": record.revision,
        "model": record.model,
        "destinations": [{"endpoint": names.get(each), "authority": each} for each in record.destinations],
        "candidates": record.candidates,
        "score": record.score,
        "scores": dict(record.scores) or None,
        "observed_age_seconds": record.observed_age_seconds,
        "charged_tokens": record.tokens,
        "decision_seconds": record.seconds,
        "waited_seconds": record.waited_seconds,
        "waited_for": record.waited_for,
        "remote": remote_document(record.remote, names),
        "fallback": record.fallback,
        "sessions": [{"outcome": each.outcome, "reason": each.reason} for each in record.sessions],
        "end": None if record.end is None else _end(record.end),
    }


def _end(end: PickEnd) -> dict[str, object]:
    return {
        "outcome": end.kind,
        "status": end.status,
        "first_byte_seconds": end.first_byte_seconds,
        "seconds_per_output_token": end.seconds_per_token,
        "duration_seconds": end.duration_seconds,
        "evicted_for": end.evicted_for,
    }
