"""Finding picks by what clients and logs know of them."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from infscale.endpoint import ObjectKey
from picker.explaining.explanation import Document, bare_explanation, explanation
from picker.explaining.pick_log import PickLog
from picker.pick_record import KEPT_CHARACTERS, PickRecord

MOST_FOUND: Final = 16
"""Picks that one id finds: a client may use the same again and again."""

Kept = Mapping[ObjectKey, tuple[PickLog | None, Iterable[PickRecord]]]
"""Of each pool its log, and the records of its last choices, with those of requests without a body."""


def explained(kept: Kept, name: str, wall: Callable[[float], datetime | None]) -> Document | None:
    """The explanations of the picks whose request id or whose own id is `name`, the newest first; None: there is none.

    A pick's own id is the revision that it was decided on. Of the oldest choices the inputs may be gone already.
    """
    wanted = name[:KEPT_CHARACTERS]
    found: list[tuple[float, Document]] = []
    for pool, (log, records) in kept.items():
        seen: set[int] = set()
        for sheet in () if log is None else log.sheets():
            for place, kept_pick in enumerate(sheet.picks):
                record = kept_pick.record
                if wanted in (record.request_id, record.revision):
                    seen.add(id(record))
                    document = explanation(sheet.inputs(place), sheet.config, wall)
                    found.append((record.now, document))
            if len(found) >= MOST_FOUND:
                break
        found += [
            (record.now, bare_explanation(record, str(pool), wall))
            for record in (*records, *(() if log is None else log.refusals))
            if id(record) not in seen and wanted in (record.request_id, record.revision)
        ]
    found.sort(key=lambda each: each[0], reverse=True)
    return {"picks": [document for _, document in found[:MOST_FOUND]]} if found else None
