"""The queue of one pool: bands, flows in a band, requests in a flow; pure, it decides nothing about endpoints.

What a higher band has goes first, but for the shares that lower ones are guaranteed. Within a band its `Fairness` says
which flow goes next, within a flow the `Ordering` which request. Requests that may go to the same endpoints share a
*lane* (`picker.flow.lanes`): where the first of a lane finds no room, the others behind it, of its band and of lower
ones, find none either, and those of other lanes and of higher bands may.

A request is in the queue from `add` until exactly one of these: it has `left`, it was `removed`, or it `expired`. It is
only looked at before that, so that what could not be placed is where it was.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from itertools import islice
from typing import Final

from picker.flow.band_shares import BandShares
from picker.flow.budgets import NO_LIMIT, Budget, Full, Sums
from picker.flow.lane_work import LaneWork
from picker.flow.lanes import LOOSE, MOST_LANES
from picker.flow.policies import Fairness, Ordering
from picker.flow.waiting import Waiting

_Place = tuple[tuple[float, ...], int]
"""What requests of a flow are sorted by: their key, and the number of their arrival."""
_NONE: Final[dict[str, float]] = {}
_NO_NUMBERS: Final[Set[int]] = frozenset()
_LOWEST: Final = float("-inf")
_HIGHEST: Final = float("inf")


class _Flow:
    """The requests of one flow by lane, each in order; those that are parked are in no lane."""

    __slots__ = ("lanes", "waiting")

    def __init__(self) -> None:
        self.lanes: dict[str, list[tuple[_Place, Waiting]]] = {}
        self.waiting = 0

    def head(self, blocked: Mapping[str, float], passed: Set[int], priority: int) -> Waiting | None:
        """The first request, but for those `passed`, in a lane that is not `blocked` for requests of this priority."""
        first: tuple[_Place, Waiting] | None = None
        for lane, entries in self.lanes.items():
            if blocked.get(lane, _LOWEST) >= priority:
                continue
            found = next((each for each in entries if each[1].number not in passed), None) if passed else entries[0]
            if found is not None and (first is None or found[0] < first[0]):
                first = found
        return None if first is None else first[1]


class _Band:
    """`heads` are the first requests of its flows, whatever their lanes."""

    __slots__ = ("fairness", "flows", "heads", "held")

    def __init__(self, fairness: Fairness) -> None:
        self.fairness = fairness
        self.flows: dict[str, _Flow] = {}
        self.heads: dict[str, Waiting] = {}
        self.held = Sums()


class _Entry:
    """A request that waits; `lane` None: it is parked."""

    __slots__ = ("lane", "place", "waiting")

    def __init__(self, waiting: Waiting, lane: str, place: _Place) -> None:
        self.waiting = waiting
        self.lane: str | None = lane
        self.place = place


class FlowQueue:
    """Owner of the requests of one pool that wait; call it from one thread only.

    `fairness` makes the policy of a band when its first request comes; it stays from then on. `band_budget` is that of
    every band which `band_budgets` does not name. `shares` has what bands are guaranteed; None: nothing.
    """

    def __init__(  # what one pool's queue goes by
        self,
        ordering: Ordering,
        fairness: Callable[[int], Fairness],
        budget: Budget = NO_LIMIT,
        band_budget: Budget = NO_LIMIT,
        band_budgets: Mapping[int, Budget] | None = None,
        shares: BandShares | None = None,
    ) -> None:
        self._ordering = ordering
        self._fairness = fairness
        self._budget = budget
        self._band_budget = band_budget
        self._band_budgets = dict(band_budgets or {})
        self._bands: dict[int, _Band] = {}
        self._entries: dict[int, _Entry] = {}
        self._lanes: dict[str, dict[int, int]] = {}
        # By when each has to go, the first first; what cannot be parted is parted by numbers.
        self._expiries: list[tuple[float, int]] = []
        # What speaks for no lane, the one that was looked at last at the end.
        self._parked: dict[int, None] = {}
        self._turn: Turn | None = None
        self.shares = shares or BandShares({})
        """What bands are guaranteed."""
        self.held = Sums()
        """What waits in all bands."""
        self.work = LaneWork()
        """What waits in each lane."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    @property
    def priorities(self) -> list[int]:
        """The bands in which requests wait, highest first."""
        return sorted([priority for priority, band in self._bands.items() if band.held.requests], reverse=True)

    @property
    def lanes(self) -> list[str]:
        """The lanes in which requests wait; of what is parked none."""
        return list(self._lanes)

    @property
    def parked(self) -> int:
        """How many requests wait without a lane."""
        return len(self._parked)

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

    # --- coming -------------------------------------------------------------------------------------------------------

    def add(self, waiting: Waiting, lane: str, now: float) -> Full | None:
        """Let a request wait; or say which budget has no room for it, and nothing has happened.

        Where there are many lanes already it is in the one of those that speak for no other. Raises ValueError for a
        number that waits already.
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
        flow.waiting += 1
        entry = self._entries[waiting.number] = _Entry(waiting, lane, (self._ordering.key(waiting), waiting.number))
        if waiting.expires_at != float("inf"):
            insort(self._expiries, (waiting.expires_at, waiting.number))
        self._count(band, waiting, 1)
        self._enter(entry, lane)
        return None

    def move(self, number: int, lane: str) -> None:
        """A request that waits is of another lane than was thought."""
        entry = self._entries[number]
        if entry.lane != lane:
            self._leave(entry)
            self._enter(entry, lane)

    def park(self, number: int) -> None:
        """Nothing may go to any endpoint by this request's lane: it is in none until it is recalled."""
        self._leave(self._entries[number])
        self._parked[number] = None

    def recall(self, most: int) -> None:
        """Have the `most` requests looked at again that were parked for longest."""
        for number in list(islice(self._parked, most)):
            entry = self._entries[number]
            del self._parked[number]
            self._enter(entry, LOOSE)

    # --- going --------------------------------------------------------------------------------------------------------

    def removed(self, number: int, now: float) -> Waiting | None:
        """Take out a request that waits no longer; None where it does not wait."""
        entry = self._entries.get(number)
        if entry is None:
            return None
        waiting = entry.waiting
        self._leave(entry)
        del self._entries[number]
        if waiting.expires_at != float("inf"):
            del self._expiries[bisect_left(self._expiries, (waiting.expires_at, number))]
        band = self._bands[waiting.priority]
        flow = band.flows[waiting.flow]
        flow.waiting -= 1
        self._count(band, waiting, -1)
        if not flow.waiting:
            del band.flows[waiting.flow]
            band.fairness.waits_no_more(waiting.flow, now)
            if not band.held.requests:
                self.shares.waits_no_more(waiting.priority)
        return waiting

    def expired(self, now: float, most: int | None = None) -> list[Waiting]:
        """Take out the requests whose time to wait is over, the longest overdue first, `most` at a time."""
        found: list[Waiting] = []
        while self._expiries and self._expiries[0][0] <= now and (most is None or len(found) < most):
            waiting = self.removed(self._expiries[0][1], now)
            if waiting is not None:
                found.append(waiting)
        return found

    @property
    def next_expiry(self) -> float:
        """When the next request expires, infinite where none does."""
        return self._expiries[0][0] if self._expiries else float("inf")

    def turn(self, closed: Collection[str] = (), aside: Collection[str] = (), *, last: bool = True) -> "Turn":
        """Go through the requests in order, but for those of lanes that are `closed`. Ends the turn before.

        Flows that are set `aside` go when no other may go any more, or not at all where they do not go `last`.
        """
        self._turn = Turn(self, dict.fromkeys(closed, _HIGHEST), set(aside), last=last)
        return self._turn

    def end_turn(self) -> None:
        """The turn is over, whatever it has come to."""
        self._turn = None

    def numbers(self, most: int) -> list[int]:
        """The numbers of what waits, `most` of them."""
        return list(islice(self._entries, most))

    # --- looking ------------------------------------------------------------------------------------------------------

    def head(
        self, priority: int, name: str, blocked: Mapping[str, float], passed: Set[int] = _NO_NUMBERS
    ) -> Waiting | None:
        """The first request of a flow, but for those `passed`, whose lane is not `blocked` up to its priority."""
        band = self._bands[priority]
        if not blocked and not passed:
            return band.heads.get(name)
        flow = band.flows.get(name)
        return None if flow is None else flow.head(blocked, passed, priority)

    def heads(self, priority: int) -> dict[str, Waiting]:
        """The first request of each flow of a band, as far as it is in a lane; a copy."""
        band = self._bands.get(priority)
        return {} if band is None else dict(band.heads)

    def lane(self, number: int) -> str | None:
        """The lane of a request that waits; None: it is parked."""
        return self._entries[number].lane

    def waits(self, priority: int, flow: str) -> bool:
        """Whether any request of a flow waits."""
        band = self._bands.get(priority)
        return band is not None and flow in band.flows

    def waiting_of(self, flow: str) -> int:
        """How many requests of a flow wait, in all bands."""
        return sum([band.flows[flow].waiting for band in self._bands.values() if flow in band.flows])

    def waits_in(self, lane: str, priority: float = _LOWEST) -> bool:
        """Whether any request of a lane waits that is of this band or a higher one, and speaks for others of it."""
        return lane != LOOSE and any([each >= priority for each in self._lanes.get(lane, ())])

    def flow_names(self, priority: int) -> list[str]:
        """The flows of a band that have requests waiting."""
        band = self._bands.get(priority)
        return [] if band is None else list(band.flows)

    # --- in between ---------------------------------------------------------------------------------------------------

    def _band(self, priority: int) -> _Band:
        band = self._bands.get(priority)
        if band is None:
            band = self._bands[priority] = _Band(self._fairness(priority))
        return band

    def _enter(self, entry: _Entry, lane: str) -> None:
        if lane not in self._lanes and len(self._lanes) >= MOST_LANES:
            lane = LOOSE
        entry.lane = lane
        waiting = entry.waiting
        bands = self._lanes.setdefault(lane, {})
        bands[waiting.priority] = bands.get(waiting.priority, 0) + 1
        self.work.enter(waiting, lane)
        insort(self._bands[waiting.priority].flows[waiting.flow].lanes.setdefault(lane, []), (entry.place, waiting))
        self._look(waiting)

    def _leave(self, entry: _Entry) -> None:
        waiting, lane = entry.waiting, entry.lane
        if lane is None:
            del self._parked[waiting.number]
            return
        entry.lane = None
        self.work.leave(waiting, lane)
        bands = self._lanes[lane]
        bands[waiting.priority] -= 1
        if not bands[waiting.priority]:
            del bands[waiting.priority]
        if not bands:
            del self._lanes[lane]
        lanes = self._bands[waiting.priority].flows[waiting.flow].lanes
        entries = lanes[lane]
        # A pair is before all that begin with it, and places are all different.
        del entries[bisect_left(entries, (entry.place,))]
        if not entries:
            del lanes[lane]
        self._look(waiting)

    def _look(self, waiting: Waiting) -> None:
        """What is first in the flow of `waiting` may be another request now."""
        band = self._bands[waiting.priority]
        head = band.flows[waiting.flow].head(_NONE, _NO_NUMBERS, waiting.priority)
        if head is None:
            band.heads.pop(waiting.flow, None)
        else:
            band.heads[waiting.flow] = head
        if self._turn is not None:
            self._turn.look(waiting.priority, waiting.flow)

    def _count(self, band: _Band, waiting: Waiting, sign: int) -> None:
        for held in (band.held, self.held):
            held.count(sign, waiting)


class Turn:
    """One way through a queue, in the order in which requests may go; it may take long, and the queue change meanwhile.

    `next` gives a request; then it has `left`, or it is `passed` or its lane `blocked` for the rest of the turn. What
    comes takes part unless its lane is blocked. `blocked` has lanes, each with the highest priority that finds no room
    in it.
    """

    def __init__(self, queue: FlowQueue, blocked: dict[str, float], aside: set[str], *, last: bool) -> None:
        self._queue = queue
        self._blocked = blocked
        self._aside = aside
        self._last = last
        self._released = False
        self._passed: set[int] = set()
        self._heads: dict[int, dict[str, Waiting]] = {}
        for priority in queue.priorities:
            heads = queue.heads(priority)
            for flow in aside:
                heads.pop(flow, None)
            self._heads[priority] = self._unblocked(heads, priority)

    def next(self, now: float) -> Waiting | None:
        """The request that goes next; None: there is none that may go in this turn."""
        found = self._next(now)
        if found is not None or not self._aside or not self._last:
            return found
        # No other may go any more: what was set aside has its turn.
        released, self._aside, self._released = self._aside, set[str](), True
        for priority in self._queue.priorities:
            for flow in released:
                self.look(priority, flow)
        return self._next(now)

    def _next(self, now: float) -> Waiting | None:
        waiting = {priority for priority, heads in self._heads.items() if heads}
        while waiting:
            priority = self._queue.shares.owed(waiting)
            if priority is None:
                priority = max(waiting)
            heads = self._heads[priority]
            chosen = self._queue.fairness(priority).choose(heads, now)
            if chosen is not None:
                return heads[chosen]
            waiting.discard(priority)
        return None

    def left(self, waiting: Waiting, now: float) -> None:
        """Take the request out of the queue, as it is on its way, and have its flow pay what it says that it costs."""
        rivals = [priority for priority, heads in self._heads.items() if heads]
        self._queue.shares.dispatched(waiting, rivals)
        self._queue.fairness(waiting.priority).dispatched(waiting, now)
        self._queue.removed(waiting.number, now)

    def set_aside(self, flow: str) -> None:
        """Have a flow go after all others from now on, or not at all; where no other may go any more it stays."""
        if not self._released:
            self._aside.add(flow)
            for heads in self._heads.values():
                heads.pop(flow, None)

    def passed(self, waiting: Waiting) -> None:
        """There is no room for the request, and there may be for those behind it."""
        self._passed.add(waiting.number)
        self.look(waiting.priority, waiting.flow)

    def blocked(self, waiting: Waiting) -> None:
        """There is no room for the request, nor for those behind it in its lane, of its band and of lower ones."""
        lane = self._queue.lane(waiting.number)
        if lane is None or self._blocked.get(lane, _LOWEST) >= waiting.priority:
            return
        self._blocked[lane] = waiting.priority
        for priority, heads in self._heads.items():
            self._heads[priority] = self._unblocked(heads, priority)

    def look(self, priority: int, flow: str) -> None:
        """Something has changed in this flow."""
        if flow in self._aside:
            return
        heads = self._heads.setdefault(priority, {})
        head = self._queue.head(priority, flow, self._blocked, self._passed)
        if head is None:
            heads.pop(flow, None)
        else:
            heads[flow] = head

    def _unblocked(self, heads: dict[str, Waiting], priority: int) -> dict[str, Waiting]:
        """`heads`, with others in place of those whose lane is blocked."""
        blocked, lane = self._blocked, self._queue.lane
        if not blocked:
            return heads
        gone = [name for name, head in heads.items() if blocked.get(lane(head.number) or "", _LOWEST) >= priority]
        for name in gone:
            head = self._queue.head(priority, name, blocked, self._passed)
            if head is None:
                del heads[name]
            else:
                heads[name] = head
        return heads
