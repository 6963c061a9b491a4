"""The reference's eviction of requests in flight, for requests of higher bands that wait: when, whose, and how many.

A decision takes back few requests at once, and the next waits until each of them has ended and the pool has had time to
show the room. Times are monotonic seconds; saturations are those the ceilings are compared with.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from infscale.metrics.saturation import SaturationKind
from infscale.telemetry.histogram import Histogram

MOST_AT_ONCE: Final = 2
# The type is said: the compiler does not set a tuple of floats whose length it knows.
CONFIRMATION_BOUNDS: Final[tuple[float, ...]] = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONFIRMATION_TIMEOUT_SECONDS: Final = 10.0
_GRACE_OF_COUNTS_SECONDS: Final = 0.01
_ABORT_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class InFlight:
    """A request that was dispatched and has not ended.

    `fetching`: its first token was not seen, and its endpoint may be fetching what is cached of it from another one.
    """

    number: int
    priority: int
    dispatched_at: float
    fetching: bool = False


class EvictionFilter(Protocol):
    """Which requests in flight may be taken back."""

    def accepts(self, request: InFlight) -> bool:
        """Whether this one may."""
        ...


class EvictionOrder(Protocol):
    """Which of them are taken back first."""

    def key(self, request: InFlight) -> tuple[float, ...]:
        """The smallest is first."""
        ...


@dataclass(frozen=True, slots=True)
class SheddableOnly:
    """Requests of priorities below 0 (``sheddable-eviction-filter``)."""

    def accepts(self, request: InFlight) -> bool:
        """See `EvictionFilter`."""
        return request.priority < 0


@dataclass(frozen=True, slots=True)
class LowestThenNewest:
    """The lowest priority, of equals what was dispatched last (``priority-then-time-eviction-order-policy``)."""

    def key(self, request: InFlight) -> tuple[float, ...]:
        """See `EvictionOrder`."""
        return (request.priority, -request.dispatched_at, -request.number)


@dataclass(frozen=True, slots=True)
class Victims:
    """The requests in flight that may be taken back, in the order in which they are.

    None is one whose cache is being fetched, which the reference does not look at: an engine may not survive that it is
    aborted then (LMCache#4938).
    """

    filter: EvictionFilter = SheddableOnly()
    order: EvictionOrder = LowestThenNewest()

    def of(self, in_flight: Iterable[InFlight]) -> Sequence[InFlight]:
        """Those of `in_flight`."""
        allowed = (each for each in in_flight if not each.fetching and self.filter.accepts(each))
        return sorted(allowed, key=self.order.key)


@dataclass(frozen=True, slots=True)
class Demand:
    """A band that waits and may have others' room: its priority and ceiling."""

    priority: int
    ceiling: float


def demand(
    saturation: float, priorities: Sequence[int], ceilings: Sequence[float], waiting: Collection[int], victim: int
) -> Demand | None:
    """The highest band that its ceiling holds back, that is among those `waiting`, and that is above `victim`.

    `victim` is the lowest priority that may be taken back. `priorities` come highest first. A ceiling of 0 says that
    the band must not go at all, whatever room there is.
    """
    for priority, ceiling in zip(priorities, ceilings, strict=True):
        if priority <= victim:
            return None
        if 0.0 < ceiling <= saturation and priority in waiting:
            return Demand(priority, ceiling)
    return None


def confirmation_grace(kind: SaturationKind, scrape_interval_seconds: float, staleness_limit_seconds: float) -> float:
    """How long a pool takes to show the room of a request that has ended.

    What is in flight is known at once; what engines report is scraped, may be a little stale, and follows their abort.
    """
    if kind is not SaturationKind.UTILIZATION:
        return _GRACE_OF_COUNTS_SECONDS
    return scrape_interval_seconds + staleness_limit_seconds + _ABORT_SECONDS


class Reclamation:
    """How many requests are taken back, and when the next may be: guards what was taken back and is not shown yet."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        # By the number of the request: its share of the saturation, and when it was asked to end.
        self._outstanding: dict[int, tuple[float, float]] = {}
        # Shares of what has ended, each with the time until which the pool may not show it.
        self._cooling: list[tuple[float, float]] = []
        self.issued: dict[int, int] = {}
        """Requests that were taken back, by the priority of the band that got their room …"""
        self.timed_out = 0
        """… those of them that did not end in time …"""
        self.confirmations = Histogram(CONFIRMATION_BOUNDS)
        """… and how long the others took to end, seconds."""
        self.missing = 0.0
        """By how much the saturation was above the ceiling at the last decision."""

    @property
    def pending(self) -> float:
        """The saturation that what was taken back will give free."""
        outstanding = sum(share for share, _ in self._outstanding.values())
        return outstanding + sum(share for share, _ in self._cooling)

    @property
    def decides_at(self) -> float:
        """When the next decision may be, if nothing ends meanwhile; of the past: at once."""
        outstanding = [at + CONFIRMATION_TIMEOUT_SECONDS for _, at in self._outstanding.values()]
        return max([*outstanding, *[until for _, until in self._cooling]], default=-math.inf)

    def may_decide(self, now: float) -> bool:
        """Whether all that was taken back has ended, long enough ago to be seen."""
        late = [each for each, (_, at) in self._outstanding.items() if now - at >= CONFIRMATION_TIMEOUT_SECONDS]
        for number in late:
            self._retire(number, now)
            self.timed_out += 1
        self._cooling = [each for each in self._cooling if now < each[1]]
        return not self._outstanding and not self._cooling

    def take_back(
        self, saturation: float, asked: Demand, in_flight: int, victims: Sequence[InFlight], now: float
    ) -> Sequence[InFlight]:
        """The requests to take back for `asked`, from the first of `victims` on, which are below it.

        Each is taken to use as much as the mean of all `in_flight`. To be called where `may_decide`.
        """
        share = saturation / in_flight if in_flight > 0 else 0.0
        pending = self.pending
        self.missing = saturation - asked.ceiling
        missing = self.missing - pending
        if share <= 0.0 or not math.isfinite(share) or missing < 0.0 or (pending and not missing):
            return ()
        wanted = min(MOST_AT_ONCE, max(1, math.ceil(missing / share)))
        taken: list[InFlight] = []
        for each in victims[:wanted]:
            if each.priority >= asked.priority:
                break
            taken.append(each)
            self._outstanding[each.number] = share, now
        self.issued[asked.priority] = self.issued.get(asked.priority, 0) + len(taken)
        return taken

    def ended(self, number: int, now: float) -> None:
        """A request has ended; one that was not taken back changes nothing."""
        if number in self._outstanding:
            self.confirmations.observe(now - self._outstanding[number][1])
            self._retire(number, now)

    def _retire(self, number: int, now: float) -> None:
        share, _ = self._outstanding.pop(number)
        self._cooling.append((share, now + self._grace_seconds))
