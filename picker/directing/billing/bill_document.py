"""The bill of some time as a document, for `/debug/bill/SECONDS` and what asks for it."""

from collections.abc import Callable, Mapping
from datetime import datetime

from infscale.endpoint import ObjectKey
from picker.directing.billing.billed_request import ENDINGS
from picker.directing.billing.minutes import KEPT_MINUTES, MINUTE_SECONDS, minute_of
from picker.directing.billing.pool_bill import PoolBill

MOST_SECONDS = KEPT_MINUTES * int(MINUTE_SECONDS)


def asked_seconds(name: str) -> int | None:
    """The seconds that the name of a document asks for; None: it is no number of seconds that are kept."""
    if not (name.isascii() and name.isdecimal() and len(name) <= 6):
        return None
    seconds = int(name)
    return seconds if 0 < seconds <= MOST_SECONDS else None


def bill_document(
    bills: Mapping[ObjectKey, PoolBill], seconds: float, now: float, wall: Callable[[float], datetime | None]
) -> object:
    """What the pools' GPU-seconds of the last `seconds` were, of whole minutes up to `now`; `wall` tells its time.

    All is in GPU-seconds. What requests had that have not ended is among what is used.
    """
    first = minute_of(now - seconds)
    pools = [_pool(str(pool), bill, first, now, wall) for pool, bill in bills.items()]
    return {"pools": pools}


def _pool(
    name: str, bill: PoolBill, first: int, now: float, wall: Callable[[float], datetime | None]
) -> dict[str, object]:
    sums = bill.minutes.since(first)
    rows = [
        {**bill.rows.all[place].key._asdict(), **{ending: sums.of(place, ending) for ending in ENDINGS}}
        for place in sums.places
    ]
    return {
        "pool": name,
        "start": _text(wall(max(bill.since, first * MINUTE_SECONDS))),
        "end": _text(wall(now)),
        "gpu_seconds": sums.counted,
        "idle": sums.idle,
        "recomputed": sums.recomputed,
        "ready_gpus": bill.ready_gpus,
        "endpoints_counted_as_one_gpu": bill.unknown_gpus,
        "rows": rows,
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")
