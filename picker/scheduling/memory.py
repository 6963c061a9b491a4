"""What a pool's director remembers of its endpoints from one decision to the next, for stages that look back."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.sample import FloatArray, Life
from infscale.metrics.snapshot import BoolArray, IntArray
from picker.request import Promise
from picker.scheduling.costs.adapter_slots import AdapterNames
from picker.scheduling.costs.prefill_clock import PrefillClock


@dataclass(slots=True)
class _Past:
    """One endpoint's past: the number of its last cold request (0: none), failures in a row, when the last was.

    `media` are hashes of what it was sent to encode in the `life` it has, least recently first.
    """

    cold: int = 0
    failures: int = 0
    failed_at: float = -math.inf
    media: OrderedDict[int, None] = field(default_factory=OrderedDict[int, None])
    promised: set[Promise] = field(default_factory=set[Promise])
    life: Life | None = None


class PoolMemory:
    """Cold requests, failures, media and promises per endpoint, its prefill clock, and the adapters of the pool.

    The director of the pool owns and writes it; stages only read. It holds one record per endpoint of the pool, and an
    endpoint that leaves takes its record along: the same pod at another address starts anew. `discovered` are the
    endpoints of all pools that are followed, the very same tuple until discovery says something new.
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
        self.clock = PrefillClock()
        self.adapters = AdapterNames()

    def __contains__(self, authority: str) -> bool:
        return authority in self._by_authority

    def sync(self, endpoints: tuple[Endpoint, ...], lives: Sequence[Life | None] = ()) -> None:
        """Follow the pool; rows are those of `endpoints` from now on.

        An engine of another life has encoded nothing yet; where no `lives` are given, none has changed.
        """
        if endpoints is not self._endpoints:
            self._place(endpoints)
        self.clock.sync(endpoints, lives)
        if lives is self._lives or not lives:
            return
        self._lives = lives
        for past, life in zip(self._rows, lives, strict=True):
            if past.life is not life:
                past.life = life
                past.media.clear()

    def _place(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._endpoints = endpoints
        self._past = {
            identity: self._past.get(identity) or _Past()
            for identity in ((each.key, each.authority) for each in endpoints)
        }
        self._rows = list(self._past.values())
        self._by_authority = {authority: past for (_, authority), past in self._past.items()}
        self._failing = sum(past.failures > 0 for past in self._rows)

    def served_cold(self, row: int) -> None:
        """The endpoint of `row` was sent a request of whose prompt no candidate had anything cached."""
        self._cold += 1
        self._rows[row].cold = self._cold

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

    def over(self, promise: Promise) -> None:
        """The request of `promise` has ended, or went elsewhere."""
        past = self._by_authority.get(promise.authority)
        if past is not None:
            past.promised.discard(promise)

    def tightest(self) -> FloatArray:
        """Of every row: the fewest seconds per output token that any request on it was promised, +inf for none."""
        return np.array(
            [min((each.seconds_per_token for each in past.promised), default=math.inf) for past in self._rows],
            dtype=np.float64,
        )

    def answered(self, authority: str, *, failed: bool, now: float) -> None:
        """An endpoint answered, or failed to; one that has left has no record."""
        past = self._by_authority.get(authority)
        if past is None:
            return
        was_failing = past.failures > 0
        past.failures = past.failures + 1 if failed else 0
        self._failing += failed - was_failing
        if failed:
            past.failed_at = now

    def cold_numbers(self) -> FloatArray:
        """Of every row: the number of its last cold request, higher the later, 0 where there was none."""
        return np.array([past.cold for past in self._rows], dtype=np.float64)

    def out(self, rows: IntArray, failures: int, since: float) -> BoolArray | None:
        """Which of `rows` failed at least `failures` times in a row, the last time after `since`; None: none did."""
        if not self._failing:
            return None
        past = self._rows
        return np.array([past[row].failures >= failures and past[row].failed_at > since for row in rows.tolist()])
