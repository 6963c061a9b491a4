"""What went elsewhere: how many of each pool are at each target now, and what was counted since the start."""

from typing import NamedTuple

from infscale.endpoint import ObjectKey
from picker.directing.falling_back.fallback_target import FallbackReason, FallbackTarget
from picker.request import Decision


class Way(NamedTuple):
    """From the pool that requests are for to one of its targets."""

    pool: ObjectKey
    target: FallbackTarget


class FallbackBooks:
    """Owner of the requests that are elsewhere, waiting there or in flight, and of the counts of them."""

    def __init__(self) -> None:
        self.there: dict[Way, int] = {}
        """Requests that wait or are in flight there now."""
        self.went: dict[tuple[Way, FallbackReason], int] = {}
        """Requests that were sent to an endpoint there since the start."""
        self.limited: dict[Way, int] = {}
        """Requests that could not go there at some time, as many were there as may be; since the start."""
        # By the identity of the pick's record, which goes from a decision into those that replace it.
        self._running: dict[int, Way] = {}

    def has_room(self, way: Way, endpoints: int, takes_each: float) -> bool:
        """Whether one more may go `way`, to a pool of so many ready endpoints that each take so many requests."""
        target, there = way.target, self.there.get(way, 0)
        most = float("inf") if target.max_requests is None else float(target.max_requests)
        if target.max_share is not None:
            # A share of a small pool is one request at least, or nothing would ever go there.
            most = min(most, max(1.0, target.max_share * endpoints * takes_each))
        return there + 1 <= most

    def kept_away(self, way: Way) -> None:
        """A request could not go `way`, as many are there as may be; to be told once for each."""
        self.limited[way] = self.limited.get(way, 0) + 1

    def entered(self, way: Way) -> None:
        """A request waits at the target."""
        self.there[way] = self.there.get(way, 0) + 1

    def left(self, way: Way) -> None:
        """A request that waited at the target does not any more."""
        self.there[way] -= 1

    def began(self, way: Way, why: FallbackReason, decision: Decision) -> None:
        """A request that has `entered` goes to an endpoint there."""
        key = way, why
        self.went[key] = self.went.get(key, 0) + 1
        if decision.record is None:
            self.left(way)
        else:
            self._running[id(decision.record)] = way

    def ended(self, decision: Decision) -> None:
        """An exchange is over, of whatever request."""
        way = self._running.pop(id(decision.record), None)
        if way is not None:
            self.left(way)
