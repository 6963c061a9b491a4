"""Lanes: requests that wait for the same endpoints, so that one which finds no room there speaks for those behind it.

A lane is named by what narrows the endpoints of a request (its session, the gateway's hint, filters by label, model or
LoRA adapter), whatever that is: by the endpoints that are left. One that may go to every candidate is in the lane
`EVERYWHERE`. How fast tokens are wanted is part of the name too, since that is what room depends on.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from infscale.endpoint import Endpoint
from infscale.metrics.snapshot import IntArray, PoolSnapshot

EVERYWHERE: Final = ""
LOOSE: Final = "?"
"""The lane of requests that speak for no other: what keeps them is not known, or there are too many lanes."""
MOST_LANES: Final = 128
LOOK_AGAIN_SECONDS: Final = 0.25
"""How long a lane without an open endpoint is passed by: filters that go by load may leave others by then."""
_MOST_NAMED: Final = 8
_BETWEEN: Final = "\n"


def lane_of(snapshot: PoolSnapshot, rows: IntArray, now: float, tpot_seconds: float = 0.0) -> str:
    """The lane of a request that may go to `rows` and wants a token in each `tpot_seconds` (0: it does not say)."""
    # Wishes that are nearly alike are taken for alike, so that clients cannot make as many lanes as they like.
    wish = f"@{round(2.0 * math.log2(tpot_seconds * 1e3))}" if tpot_seconds else ""
    if len(rows) == len(snapshot.candidates(now)):
        return wish or EVERYWHERE
    endpoints = snapshot.endpoints
    names = [endpoints[row].authority for row in rows.tolist()]
    if len(names) > _MOST_NAMED:
        names = ["#" + blake2b(_BETWEEN.join(names).encode(), digest_size=12).hexdigest()]
    return _BETWEEN.join([wish, *names])


class Lanes:
    """Which lanes have an endpoint that may have room; owned by one queue."""

    def __init__(self) -> None:
        self._endpoints: tuple[Endpoint, ...] = ()
        self._rows: dict[str, int] = {}
        self._looked_at: dict[str, float] = {}

    def looked_at(self, lane: str, now: float) -> None:
        """The first request of this lane found no room."""
        self._looked_at[lane] = now

    def closed(self, lanes: Iterable[str], snapshot: PoolSnapshot, open_rows: list[bool], now: float) -> set[str]:
        """Those of `lanes` that need not be looked at now: none of their endpoints is one of the open rows.

        What is remembered of others than `lanes` is forgotten.
        """
        if self._endpoints is not snapshot.endpoints:
            self._endpoints = snapshot.endpoints
            self._rows = {each.authority: row for row, each in enumerate(snapshot.endpoints)}
        given = list(lanes)
        self._looked_at = {lane: at for lane in given if (at := self._looked_at.get(lane)) is not None}
        return {lane for lane in given if self._is_closed(lane, open_rows, now)}

    def _is_closed(self, lane: str, open_rows: list[bool], now: float) -> bool:
        looked_at = self._looked_at.get(lane)
        if looked_at is None or now - looked_at >= LOOK_AGAIN_SECONDS:
            return False
        names = lane.split(_BETWEEN)[1:]
        if not names:
            return not any(open_rows)
        if names[0].startswith("#"):
            return False
        rows = [self._rows.get(name) for name in names]
        # Of an endpoint that has left it is not known where its requests go.
        return all([row is not None and not open_rows[row] for row in rows])
