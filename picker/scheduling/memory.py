"""What a pool's director remembers of its endpoints from one decision to the next, for stages that look back."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.sample import FloatArray, Life
from infscale.metrics.snapshot import BoolArray, IntArray, PoolSnapshot
from picker.request import Promise
from picker.scheduling.costs.adapter_slots import AdapterNames
from picker.scheduling.costs.batch_limits import BatchLimits
from picker.scheduling.costs.learnt_limits import LearntLimits
from picker.scheduling.costs.prefill_clock import PrefillClock, Work
from picker.scheduling.costs.protected_load import ProtectedBooks, ProtectedLoad
from picker.scheduling.costs.step_costs import step_costs


@dataclass(slots=True)
class _Past:
    """One endpoint's past beside its numbers: `row` is its place among these, and among the endpoints of the pool.

    `media` are hashes of what it was sent to encode in the `life` it has, least recently first.
    """

    row: int
    media: OrderedDict[int, None] = field(default_factory=OrderedDict[int, None])
    promised: set[Promise] = field(default_factory=set[Promise])
    life: Life | None = None


NUMBERS: Final = 6
"""How many numbers are remembered of each endpoint."""
_COLD, _FAILURES, _FAILED_AT, _TIGHTEST, _BATCH, _LEARNT = range(NUMBERS)
_NOTHING: Final = (0.0, 0.0, -math.inf, math.inf, math.inf, math.inf)


class PoolMemory:
    """Cold requests, failures, media, promises, clock and batch of each endpoint, adapters and load of the pool.

    The director of the pool owns and writes it; stages only read. It holds one record per endpoint of the pool, and an
    endpoint that leaves takes its record along: the same pod at another address starts anew. `discovered` are the
    endpoints of all pools that are followed, the very same tuple until discovery says something new.

    `numbers` has of every endpoint the number of its last cold request (0: none); then of each failures in a row; when
    the last was; the fewest seconds per output token that a request on it was promised; its full batch; and how many
    requests it may have while no steps are known, both infinite where that is not known. `version` is another one
    whenever one of them is.
    """

    def __init__(self) -> None:
        self.discovered: tuple[Endpoint, ...] = ()
        self._endpoints: tuple[Endpoint, ...] = ()
        self._lives: Sequence[Life | None] = ()
        self._past: dict[tuple[EndpointKey, str], _Past] = {}
        self._rows: list[_Past] = []
        self._by_authority: dict[str, _Past] = {}
        self._cold = 0
        self._failing = 0
        self.numbers: FloatArray = np.zeros(0)
        self._columns: FloatArray = self.numbers.reshape(NUMBERS, 0)
        self.version = 0
        self.clock = PrefillClock()
        self.adapters = AdapterNames()
        self._batches = BatchLimits()
        self._learnt = LearntLimits()
        self.protected = ProtectedBooks()

    @staticmethod
    def of(
        endpoints: tuple[Endpoint, ...],
        numbers: FloatArray,
        held: Sequence[tuple[int, ...]],
        discovered: tuple[Endpoint, ...],
        clock: PrefillClock,
        protected: ProtectedLoad,
    ) -> "PoolMemory":
        """A memory that answers as one did of which this is known; `held` are the media of each row, or empty."""
        memory = PoolMemory()
        memory.sync(endpoints)
        memory._remember_in(numbers)
        memory.discovered = discovered
        memory.clock = clock
        memory.protected = ProtectedBooks.of(protected)
        memory._failing = int(np.count_nonzero(memory._columns[_FAILURES]))
        for past, media in zip(memory._rows, held, strict=False):
            past.media.update(dict.fromkeys(media))
        return memory

    def __contains__(self, authority: str) -> bool:
        return authority in self._by_authority

    def sync(self, endpoints: tuple[Endpoint, ...], lives: Sequence[Life | None] = ()) -> None:
        """Follow the pool; rows are those of `endpoints` from now on.

        An engine of another life has encoded nothing yet; where no `lives` are given, none has changed.
        """
        if endpoints is not self._endpoints:
            self._place(endpoints)
            self._batches.sync(endpoints)
            self._limit_batches()
            self._learnt.sync(endpoints, lives)
            self._limit_requests()
        self.clock.sync(endpoints, lives)
        if lives is self._lives or not lives:
            return
        self._lives = lives
        self._learnt.sync(endpoints, lives)
        self._limit_requests()
        for past, life in zip(self._rows, lives, strict=True):
            if past.life is not life:
                past.life = life
                past.media.clear()

    def _place(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._endpoints = endpoints
        before, kept = self._past, self._columns
        self._remember_in(np.repeat(np.array(_NOTHING), len(endpoints)))
        self._past = {}
        for row, each in enumerate(endpoints):
            identity = (each.key, each.authority)
            past = before.get(identity)
            if past is None:
                past = _Past(row)
            else:
                self._columns[:, row] = kept[:, past.row]
                past.row = row
            self._past[identity] = past
        self._rows = list(self._past.values())
        self._by_authority = {authority: past for (_, authority), past in self._past.items()}
        self._failing = int(np.count_nonzero(self._columns[_FAILURES]))

    def observe(self, snapshot: PoolSnapshot) -> None:
        """Learn from what was scraped since it was last looked at how large batches get."""
        if self._batches.observe(snapshot):
            self._limit_batches()
        if not step_costs(snapshot).known and self._learnt.observe(snapshot):
            self._limit_requests()

    def _limit_batches(self) -> None:
        self.version += 1
        self._columns[_BATCH] = self._batches.limits

    def _limit_requests(self) -> None:
        self.version += 1
        self._columns[_LEARNT] = self._learnt.requests

    @property
    def learnt_limits(self) -> FloatArray:
        """Of every row: how many requests it may have at a time while nothing is known of the steps of the pool."""
        limits: FloatArray = self._columns[_LEARNT]
        return limits

    @property
    def batch_limits(self) -> FloatArray:
        """Of every row: requests in a full batch, infinite where that is not known."""
        limits: FloatArray = self._columns[_BATCH]
        return limits

    def _remember_in(self, numbers: FloatArray) -> None:
        self.version += 1
        self.numbers = numbers
        self._columns = numbers.reshape(NUMBERS, -1)

    def dispatched(self, row: int, number: int, work: Work, now: float) -> None:
        """Request `number` was sent to the endpoint of `row`."""
        self.clock.dispatched(row, number, work, now)
        if not work.sheddable:
            self.protected.dispatched(number, work.seconds, work.context_tokens, now)

    def ended(self, number: int, now: float, *, answered: bool) -> None:
        """Request `number` has ended; `answered`: the endpoint made tokens for it."""
        self.clock.ended(number, now, answered=answered)
        self.protected.ended(number, now)

    def moved(self, number: int, to: int, row: int, now: float) -> None:
        """Request `number` went to the endpoint of `row` instead, where it is number `to`."""
        self.clock.moved(number, to, row, now)
        self.protected.moved(number, to)

    def served_cold(self, row: int) -> None:
        """The endpoint of `row` was sent a request of whose prompt no candidate had anything cached."""
        self._cold += 1
        self.version += 1
        self._columns[_COLD, row] = self._cold

    def sent_media(self, row: int, media: tuple[int, ...], capacity: int) -> None:
        """The endpoint of `row` encodes these media, if it has not; it holds the last `capacity` of all it was sent."""
        held = self._rows[row].media
        for each in media:
            held[each] = None
            held.move_to_end(each)
        while len(held) > capacity:
            held.popitem(last=False)

    def held_media(self, rows: IntArray, media: tuple[int, ...]) -> FloatArray:
        """How many of `media` each row is believed to hold."""
        past = self._rows
        return np.array([sum(each in past[row].media for each in media) for row in rows.tolist()], dtype=np.float64)

    def keep(self, promise: Promise) -> None:
        """Remember `promise` until it is `over`; that of an endpoint that has left is dropped."""
        past = self._by_authority.get(promise.authority)
        if past is not None:
            past.promised.add(promise)
            self._tighten(past)

    def over(self, promise: Promise) -> None:
        """The request of `promise` has ended, or went elsewhere."""
        past = self._by_authority.get(promise.authority)
        if past is not None:
            past.promised.discard(promise)
            self._tighten(past)

    def _tighten(self, past: _Past) -> None:
        self.version += 1
        wanted = [each.seconds_per_token for each in past.promised]
        self._columns[_TIGHTEST, past.row] = min(wanted, default=math.inf)

    def media_of(self, media: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Which of `media` each row is believed to hold."""
        return [tuple([each for each in media if each in past.media]) for past in self._rows]

    def tightest(self) -> FloatArray:
        """Of every row: the fewest seconds per output token that any request on it was promised, +inf for none."""
        tightest: FloatArray = self._columns[_TIGHTEST].copy()
        return tightest

    def answered(self, authority: str, *, failed: bool, now: float) -> None:
        """An endpoint answered, or failed to; one that has left has no record."""
        past = self._by_authority.get(authority)
        if past is None:
            return
        failures, row = self._columns[_FAILURES], past.row
        was_failing = float(failures[row]) > 0.0
        if not failed and not was_failing:
            return
        self.version += 1
        failures[row] = failures[row] + 1.0 if failed else 0.0
        self._failing += failed - was_failing
        if failed:
            self._columns[_FAILED_AT, row] = now

    def cold_numbers(self) -> FloatArray:
        """Of every row: the number of its last cold request, higher the later, 0 where there was none."""
        cold: FloatArray = self._columns[_COLD].copy()
        return cold

    def out(self, rows: IntArray, failures: int, since: float) -> BoolArray | None:
        """Which of `rows` failed at least `failures` times in a row, the last time after `since`; None: none did."""
        if not self._failing:
            return None
        found: BoolArray = (self._columns[_FAILURES, rows] >= failures) & (self._columns[_FAILED_AT, rows] > since)
        return found
