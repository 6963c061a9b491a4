"""What a queue asks of its policies: who goes next, and how full the pool may be for it. One thread calls them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from infscale.metrics.snapshot import PoolSnapshot
from picker.flow.waiting import Waiting


class Ordering(Protocol):
    """The order of the requests of one flow."""

    def key(self, waiting: Waiting) -> tuple[float, ...]:
        """What the request is sorted by: the smaller leaves its flow earlier, of equals the one that came earlier.

        Must not change while the request waits.
        """
        ...


class Fairness(Protocol):
    """The order of the flows of one band; it owns what it remembers of them.

    A flow waits from `waits` to `waits_no_more`, which come by turns, and only the heads of flows that wait are chosen
    from. What is dispatched without having waited comes to `dispatched` alone.
    """

    def waits(self, flow: str, now: float) -> None:
        """A request of the flow waits, and none did before."""
        ...

    def waits_no_more(self, flow: str, now: float) -> None:
        """The last request of the flow that waited has left, was removed or has expired."""
        ...

    def choose(self, heads: Mapping[str, Waiting], now: float) -> str | None:
        """The flow whose head goes next, of those whose heads are given; None: none goes now. Charges nothing."""
        ...

    def dispatched(self, waiting: Waiting, now: float) -> None:
        """The request has left for an endpoint."""
        ...

    def ended(self, waiting: Waiting, cost_seconds: float, now: float) -> None:
        """A request that was dispatched is over, and has cost so many seconds of GPU time in all.

        Called exactly once for each request of `dispatched`, also when it was aborted.
        """
        ...

    def forget(self, flow: str) -> None:
        """Nothing of the flow waits or runs any more: what is kept of it may go."""
        ...


class Ceilings(Protocol):
    """How full the pool may be for each band."""

    def limits(self, saturation: float, priorities: Sequence[int]) -> Sequence[float]:
        """One limit for each of `priorities`, which come highest first: the band waits while `saturation` reaches it.

        Called once for each turn of a queue.
        """
        ...


class Saturation(Protocol):
    """How full a pool is."""

    def of(self, snapshot: PoolSnapshot, now: float) -> float:
        """0: idle; 1 and more: saturated."""
        ...
