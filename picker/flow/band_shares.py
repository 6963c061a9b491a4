"""What bands are guaranteed of a pool's GPU time, although bands are strict otherwise.

Of each GPU second that is given away while a band waits for some, its share is owed to it. A band that is owed
something goes before all others, the one that is owed most first. What is owed to a band is thus never more than a few
requests, and what no band is owed goes to the highest one. A band of which nothing waits is owed nothing: it saves
nothing up, and leaves its share to the others. What it gets by being the highest costs it no more than that request.
"""

from collections.abc import Collection, Mapping

from picker.flow.waiting import Waiting


class BandShares:
    """Owner of what bands are owed, in GPU seconds. `shares` are of those bands that are guaranteed one."""

    def __init__(self, shares: Mapping[int, float]) -> None:
        self._shares = dict(shares)
        if any(not share > 0 for share in self._shares.values()) or sum(self._shares.values()) > 1.0 + 1e-9:
            raise ValueError("shares of bands are above 0, and together at most 1")
        self._owed: dict[int, float] = dict.fromkeys(self._shares, 0.0)
        # The bands that waited when a request was dispatched which still runs, where any has a share.
        self._rivals: dict[int, tuple[int, ...]] = {}

    def share(self, priority: int) -> float:
        """The share that a band is guaranteed, 0 where it is none."""
        return self._shares.get(priority, 0.0)

    def owed(self, waiting: Collection[int]) -> int | None:
        """The band among those `waiting` that is owed most; None: nothing is owed to any of them."""
        owed = self._owed
        if not owed:
            return None
        return max([each for each in waiting if owed.get(each, 0.0) > 0.0], key=owed.__getitem__, default=None)

    def owed_seconds(self, priority: int) -> float:
        """GPU seconds that a band is owed; below 0 it was given more than its share."""
        return self._owed.get(priority, 0.0)

    def dispatched(self, waiting: Waiting, rivals: Collection[int]) -> None:
        """A request has gone, when these bands, its own among them, had requests that could have gone instead."""
        with_share = tuple([each for each in rivals if each in self._shares])
        if not with_share:
            return
        self._rivals[waiting.number] = with_share
        self._book(waiting.priority, waiting.cost_seconds, with_share)
        if waiting.priority in self._owed:
            # What went because nothing else could does not count against the band for longer than that request.
            self._owed[waiting.priority] = max(self._owed[waiting.priority], -waiting.cost_seconds)

    def ended(self, waiting: Waiting, more_seconds: float) -> None:
        """A request that was dispatched is over, and has cost so much more than it was expected to."""
        self._book(waiting.priority, more_seconds, self._rivals.pop(waiting.number, ()))

    def waits_no_more(self, priority: int) -> None:
        """Nothing of the band waits any more."""
        if self._owed.get(priority, 0.0) > 0.0:
            self._owed[priority] = 0.0

    def _book(self, priority: int, seconds: float, rivals: Collection[int]) -> None:
        for each in rivals:
            self._owed[each] += self._shares[each] * seconds
        if priority in rivals and priority in self._owed:
            self._owed[priority] -= seconds
