"""The queue of one pool: bands, flows in a band, requests in a flow; pure, it decides nothing about endpoints.

Bands are strict: what a higher one has goes first. Within a band its `Fairness` says which flow goes next, within a
flow the `Ordering` which request. Requests that may go to the same endpoints for the same model share a *lane*: where
the first of a lane finds no room, the others behind it, of its band and of lower ones, find none either, and those of
other lanes and of higher bands may.

A request is in the queue from `add` until exactly one of these: it has `left`, it was `removed`, or it `expired`. It is
only looked at before that, so that what could not be placed is where it was.
"""

from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

from picker.flow.budgets import NO_LIMIT, Budget, Full, Sums
from picker.flow.policies import Fairness, Ordering
from picker.flow.waiting import Waiting

_Place = tuple[tuple[float, ...], int]
"""What requests of a flow are sorted by: their key, and the number of their arrival."""

_GARBAGE_RATIO: Final = 2
"""Entries of requests that have gone are thrown away where there are more than so many for one that waits."""


class _Flow:
    """The requests of one flow, by lane. Entries of those that are gone stay until they come to the top."""

    __slots__ = ("lanes", "waiting")

    def __init__(self) -> None:
        self.lanes: dict[str, list[tuple[_Place, Waiting]]] = {}
        self.waiting = 0


class _Band:
    __slots__ = ("fairness", "flows", "held")

    def __init__(self, fairness: Fairness) -> None:
        self.fairness = fairness
        self.flows: dict[str, _Flow] = {}
        self.held = Sums()


class FlowQueue:
    """Owner of the requests of one pool that wait; call it from one thread only.

    `fairness` makes the policy of a band when its first request comes; it stays from then on. `band_budget` is that of
    every band which `band_budgets` does not name.
    """

    def __init__(
        self,
        ordering: Ordering,
        fairness: Callable[[int], Fairness],
        budget: Budget = NO_LIMIT,
        band_budget: Budget = NO_LIMIT,
        band_budgets: Mapping[int, Budget] | None = None,
    ) -> None:
        self._ordering = ordering
        self._fairness = fairness
        self._budget = budget
        self._band_budget = band_budget
        self._band_budgets = dict(band_budgets or {})
        self._bands: dict[int, _Band] = {}
        self._entries: dict[int, tuple[Waiting, str]] = {}
        self._lanes: dict[str, dict[int, int]] = {}
        self._expiries: list[tuple[float, int]] = []
        self.held = Sums()
        """What waits in all bands."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    @property
    def priorities(self) -> list[int]:
        """The bands in which requests wait, highest first."""
        return sorted([priority for priority, band in self._bands.items() if band.held.requests], reverse=True)

    def band(self, priority: int) -> Sums:
        """What waits in one band."""
        band = self._bands.get(priority)
        return Sums() if band is None else band.held

    def flows(self) -> Iterator[tuple[int, str, int]]:
        """Band, flow, and how many requests of it wait, where any does."""
        for priority, band in self._bands.items():
            for name, flow in band.flows.items():
                yield priority, name, flow.waiting

    def fairness(self, priority: int) -> Fairness:
        """The policy of a band."""
        return self._band(priority).fairness

    def add(self, waiting: Waiting, lane: str, now: float) -> Full | None:
        """Let a request wait; or say which budget has no room for it, and nothing has happened.

        Raises ValueError for a number that waits already.
        """
        if waiting.number in self._entries:
            raise ValueError(f"request {waiting.number} waits already")
        band = self._bands.get(waiting.priority)
        held = Sums() if band is None else band.held
        if not held.takes(self._band_budgets.get(waiting.priority, self._band_budget), waiting.size_bytes):
            return "band"
        if not self.held.takes(self._budget, waiting.size_bytes):
            return "all"
        band = self._band(waiting.priority)
        flow = band.flows.get(waiting.flow)
        if flow is None:
            flow = band.flows[waiting.flow] = _Flow()
            band.fairness.waits(waiting.flow, now)
        place = self._ordering.key(waiting), waiting.number
        heappush(flow.lanes.setdefault(lane, []), (place, waiting))
        flow.waiting += 1
        self._entries[waiting.number] = waiting, lane
        bands = self._lanes.setdefault(lane, {})
        bands[waiting.priority] = bands.get(waiting.priority, 0) + 1
        if waiting.expires_at != float("inf"):
            heappush(self._expiries, (waiting.expires_at, waiting.number))
        self._count(band, waiting, 1)
        return None

    def removed(self, number: int, now: float) -> Waiting | None:
        """Take out a request that waits no longer; None where it does not wait."""
        entry = self._entries.pop(number, None)
        if entry is None:
            return None
        waiting, lane = entry
        self._leave_lane(lane, waiting.priority)
        band = self._bands[waiting.priority]
        flow = band.flows[waiting.flow]
        flow.waiting -= 1
        self._count(band, waiting, -1)
        if not flow.waiting:
            del band.flows[waiting.flow]
            band.fairness.waits_no_more(waiting.flow, now)
        else:
            self._tidy(flow, lane)
        if len(self._expiries) > _GARBAGE_RATIO * len(self._entries):
            self._expiries = [each for each in self._expiries if each[1] in self._entries]
            heapify(self._expiries)
        return waiting

    def expired(self, now: float) -> list[Waiting]:
        """Take out the requests whose time to wait is over, the longest overdue first."""
        found: list[Waiting] = []
        while self._expiries and self._expiries[0][0] <= now:
            waiting = self.removed(heappop(self._expiries)[1], now)
            if waiting is not None:
                found.append(waiting)
        return found

    @property
    def next_expiry(self) -> float:
        """When the next request expires, infinite where none does."""
        while self._expiries and self._expiries[0][1] not in self._entries:
            heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else float("inf")

    def turn(self) -> "Turn":
        """Go through the requests in order."""
        return Turn(self)

    def head(self, priority: int, name: str, blocked: Mapping[str, int]) -> Waiting | None:
        """The first request of a flow whose lane is not `blocked` up to a priority that is not lower."""
        flow = self._bands[priority].flows.get(name)
        if flow is None:
            return None
        first: tuple[_Place, Waiting] | None = None
        for lane, entries in flow.lanes.items():
            up_to = blocked.get(lane)
            free = up_to is None or priority > up_to
            if entries and free and (first is None or entries[0][0] < first[0]):
                first = entries[0]
        return None if first is None else first[1]

    def lane(self, number: int) -> str:
        """The lane of a request that waits."""
        return self._entries[number][1]

    def waits(self, priority: int, flow: str) -> bool:
        """Whether any request of a flow waits."""
        band = self._bands.get(priority)
        return band is not None and flow in band.flows

    def waits_in(self, lane: str, priority: int) -> bool:
        """Whether any request of a lane waits that is of this band or of a higher one."""
        return any([each >= priority for each in self._lanes.get(lane, ())])

    def flow_names(self, priority: int) -> list[str]:
        """The flows of a band that have requests waiting."""
        band = self._bands.get(priority)
        return [] if band is None else list(band.flows)

    def _band(self, priority: int) -> _Band:
        band = self._bands.get(priority)
        if band is None:
            band = self._bands[priority] = _Band(self._fairness(priority))
        return band

    def _leave_lane(self, lane: str, priority: int) -> None:
        bands = self._lanes[lane]
        bands[priority] -= 1
        if not bands[priority]:
            del bands[priority]
            if not bands:
                del self._lanes[lane]

    def _tidy(self, flow: _Flow, lane: str) -> None:
        """Let the first entry of a lane be of a request that waits."""
        entries = flow.lanes[lane]
        while entries and entries[0][1].number not in self._entries:
            heappop(entries)
        if not entries:
            del flow.lanes[lane]
        elif len(entries) > _GARBAGE_RATIO * flow.waiting:
            flow.lanes[lane] = entries = [each for each in entries if each[1].number in self._entries]
            heapify(entries)

    def _count(self, band: _Band, waiting: Waiting, sign: int) -> None:
        for held in (band.held, self.held):
            held.count(sign, waiting)


class Turn:
    """One way through a queue, in the order in which requests may go.

    `next` gives a request; then it has `left`, or its lane is `blocked` for the rest of the turn. What goes from the
    queue meanwhile is passed over, what comes is for the next turn.
    """

    def __init__(self, queue: FlowQueue) -> None:
        self._queue = queue
        self._blocked: dict[str, int] = {}
        self._priorities = queue.priorities
        self._heads: dict[int, dict[str, Waiting]] = {}

    def next(self, now: float) -> Waiting | None:
        """The request that goes next; None: there is none that may go in this turn."""
        for priority in self._priorities:
            while heads := self._of_band(priority):
                chosen = self._queue.fairness(priority).choose(heads, now)
                if chosen is None:
                    break
                if heads[chosen].number in self._queue:
                    return heads[chosen]
                self._look(heads, priority, chosen)
        return None

    def left(self, waiting: Waiting, now: float) -> None:
        """Take the request out of the queue, as it is on its way, and have its flow pay what it says that it costs."""
        self._queue.fairness(waiting.priority).dispatched(waiting, now)
        self._queue.removed(waiting.number, now)
        self._look(self._heads[waiting.priority], waiting.priority, waiting.flow)

    def blocked(self, waiting: Waiting) -> None:
        """There is no room for the request, nor for those behind it in its lane, of its band and of lower ones."""
        lane = self._queue.lane(waiting.number)
        self._blocked[lane] = max(waiting.priority, self._blocked.get(lane, waiting.priority))
        self._heads.clear()

    def _of_band(self, priority: int) -> dict[str, Waiting]:
        heads = self._heads.get(priority)
        if heads is None:
            heads = self._heads[priority] = {}
            for name in self._queue.flow_names(priority):
                self._look(heads, priority, name)
        return heads

    def _look(self, heads: dict[str, Waiting], priority: int, name: str) -> None:
        head = self._queue.head(priority, name, self._blocked)
        if head is not None:
            heads[name] = head
        else:
            heads.pop(name, None)
