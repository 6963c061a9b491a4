"""Where the next request of a session goes: where the session is, unless it has to leave.

A session leaves an endpoint that may not get its request any more (it drains, is gone, or says nothing), and where its
kind yields to load, one that is saturated while others are not. Where it goes then follows from its name by highest
random weight, so that requests which leave at once, of any replica, meet again; and it is an endpoint that will last:
while a rollout replaces endpoints one by one, one of those that came with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from infscale.endpoint import Endpoint
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray, PoolSnapshot, count_of
from picker.sessions.session_settings import SessionSettings, Strategy
from picker.sessions.session_tokens import endpoint_mark

Numbers = NDArray[np.uint64]
NOWHERE: Final = -1
"""The row of a session that has none."""

ROLLOUT_LABELS: Final = ("pod-template-hash", "controller-revision-hash")
"""Labels that tell the pods of one rollout from those of another."""

# Both sides are random already; two products mix them, of which the upper bits depend on all of the lower ones.
_FIRST_FACTOR, _SECOND_FACTOR, _SHIFT = (
    np.array(each, dtype=np.uint64) for each in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 32)
)
"""Arrays without a dimension, which take half as long as scalars."""


@dataclass(frozen=True, slots=True)
class Past:
    """When an endpoint appeared (monotonic seconds, -inf: it was there before this picker), and its rollout."""

    appeared_at: float
    rollout: str

    @classmethod
    def of(cls, endpoint: Endpoint, appeared_at: float) -> "Past":
        """That of an endpoint which appeared then."""
        found = (endpoint.labels.get(label, "") for label in ROLLOUT_LABELS)
        return cls(appeared_at, next(filter(None, found), ""))


class Places:
    """The endpoints of a pool as places for sessions, one entry per row."""

    def __init__(self, endpoints: Sequence[Endpoint], pasts: Sequence[Past]) -> None:
        marks = [endpoint_mark(str(each.key)) for each in endpoints]
        self.rows = {mark: row for row, mark in enumerate(marks)}
        self.marks = marks
        self.pasts = pasts
        self._numbers: Numbers = np.array([int.from_bytes(mark[:8], "big") for mark in marks], dtype=np.uint64)
        self._appeared: FloatArray = np.array([past.appeared_at for past in pasts], dtype=np.float64)

    def chosen(self, session: int, rows: IntArray) -> int:
        """The row among `rows`, at least one, that has the highest weight for a session of this number."""
        weights = (self._numbers[rows] ^ np.array(session, dtype=np.uint64)) * _FIRST_FACTOR
        weights = (weights ^ (weights >> _SHIFT)) * _SECOND_FACTOR
        return int(rows[weights.argmax()])

    def lasting(self, rows: IntArray, left: Past | None, placed_at: float) -> IntArray:
        """Those of `rows` that a rollout under way does not replace as well, as far as one can know.

        First pods of another rollout than that of the endpoint which is `left`, unless they came before it; then what
        came since the session was placed; then what came after the endpoint. None of these: all.
        """
        appeared = self._appeared[rows]
        tiers = [appeared > placed_at]
        if left is not None:
            tiers.append(appeared > left.appeared_at)
            if left.rollout:
                others = [self.pasts[row].rollout not in ("", left.rollout) for row in rows.tolist()]
                # Of those that were there before this picker it is not known which came first.
                tiers.insert(0, (appeared >= left.appeared_at) & np.array(others, dtype=np.bool_))
        return next((rows[tier] for tier in tiers if tier.any()), rows)


@dataclass(slots=True, eq=False, init=False)
class Session:
    """What one request says of its session, looked up in the endpoints of one snapshot.

    `name` is the session's, `row` where it is, `NOWHERE` where that endpoint has left the pool, and `placed_at` since
    when (monotonic seconds). `left` is what is remembered of that endpoint, if anything is. `renew`: its client has to
    be told again where it is, although it stays.
    """

    settings: Final[SessionSettings]
    places: Final[Places]
    name: Final[bytes]
    row: Final[int]
    placed_at: Final[float]
    left: Final[Past | None]
    renew: Final[bool]

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        settings: SessionSettings,
        places: Places,
        name: bytes,
        row: int,
        placed_at: float,
        left: Past | None = None,
        renew: bool = False,
    ) -> None:
        self.settings = settings
        self.places = places
        self.name = name
        self.row = row
        self.placed_at = placed_at
        self.left = left
        self.renew = renew

    def place(self, snapshot: PoolSnapshot, rows: IntArray, now: float) -> int:
        """The row among `rows` that this request should go to; `NOWHERE`: any, it is for others to say.

        Sessions of a strategy that yields to no load stay while they can and have no say where they go then.
        """
        if self._is_among(rows) and not self._crowded(snapshot, rows, now):
            return self.row
        return self._elsewhere(snapshot, rows, now)

    def fallback(self, snapshot: PoolSnapshot, rows: IntArray, place: int, now: float) -> int:
        """Where it goes if `place`, where it would go, cannot be reached; `NOWHERE`: it is for others to say."""
        return self._elsewhere(snapshot, rows if place == self.row else rows[rows != place], now)

    def _is_among(self, rows: IntArray) -> bool:
        row, count = self.row, len(rows)
        if row == NOWHERE or not count:
            return False
        # Mostly every endpoint is one of them, and then it has its own place; they are ascending.
        place = row if row < count and rows[row] == row else int(rows.searchsorted(row))
        return place < count and int(rows[place]) == row

    def _crowded(self, snapshot: PoolSnapshot, rows: IntArray, now: float) -> bool:
        """Whether its endpoint is saturated and one of `rows` is not, and it was there for long enough."""
        settings = self.settings
        if settings.strategy is not Strategy.SIGNED or now - self.placed_at < settings.min_stay_seconds:
            return False
        saturation = snapshot.saturation(now)
        return float(saturation[self.row]) >= 1.0 and count_of(saturation.take(rows) < 1.0) > 0

    def _elsewhere(self, snapshot: PoolSnapshot, rows: IntArray, now: float) -> int:
        """Where it goes if it cannot stay: a row among `rows` that is not saturated, if there is one."""
        if self.settings.strategy is not Strategy.SIGNED:
            return NOWHERE
        others = rows[rows != self.row]
        if not len(others):
            return NOWHERE
        room = snapshot.saturation(now).take(others) < 1.0
        if 0 < count_of(room) < len(others):
            others = others[room]
        if self.row == NOWHERE or not snapshot.columns.ready[self.row]:
            others = self.places.lasting(others, self.left, self.placed_at)
        return self.places.chosen(self.number, others)

    @property
    def number(self) -> int:
        """Its name as a number of 64 bits."""
        return int.from_bytes(self.name[:8], "big")


Sessions = dict[SessionSettings, Session]
"""The sessions that a request belongs to, by their kinds."""
NO_SESSIONS: Final[Sessions] = {}
