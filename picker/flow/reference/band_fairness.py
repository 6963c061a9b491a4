"""The reference's orders of the flows of one band that remember nothing of what requests cost."""

from collections.abc import Mapping

from picker.flow.policies import Ordering
from picker.flow.waiting import Waiting


class GlobalStrict:
    """One order for all requests of a band, as if it had one flow (``global-strict-fairness-policy``, the default)."""

    def __init__(self, ordering: Ordering) -> None:
        self._ordering = ordering

    def waits(self, flow: str, now: float) -> None:
        """Changes nothing."""

    def waits_no_more(self, flow: str, now: float) -> None:
        """Changes nothing."""

    def choose(self, heads: Mapping[str, Waiting], now: float) -> str | None:
        """The flow whose head is first by the band's ordering."""
        key = self._ordering.key
        return min(heads, key=lambda flow: (key(heads[flow]), heads[flow].number), default=None)

    def dispatched(self, waiting: Waiting, now: float) -> None:
        """Changes nothing."""

    def ended(self, waiting: Waiting, cost_seconds: float, now: float) -> None:
        """Changes nothing."""

    def forget(self, flow: str) -> None:
        """There is nothing to forget."""


class RoundRobin:
    """One request of each flow in turn, in order of their names (``round-robin-fairness-policy``).

    A turn is a request, whatever it costs: flows with long answers get more, as they do in the reference.
    """

    def __init__(self) -> None:
        self._last: str | None = None

    def waits(self, flow: str, now: float) -> None:
        """Changes nothing."""

    def waits_no_more(self, flow: str, now: float) -> None:
        """Changes nothing."""

    def choose(self, heads: Mapping[str, Waiting], now: float) -> str | None:
        """The next flow after the one that went last; the first where no flow waits after it."""
        if not heads:
            self._last = None
            return None
        last = self._last
        after = [flow for flow in heads if last is not None and flow > last]
        return min(after or heads)

    def dispatched(self, waiting: Waiting, now: float) -> None:
        """The turn goes on from this flow."""
        self._last = waiting.flow

    def ended(self, waiting: Waiting, cost_seconds: float, now: float) -> None:
        """Changes nothing."""

    def forget(self, flow: str) -> None:
        """Turns begin anew where the one that went last is gone."""
        if self._last == flow:
            self._last = None
