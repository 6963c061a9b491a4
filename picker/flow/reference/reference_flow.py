"""The reference's flow control of one pool, a state machine: requests wait, one goes in a turn, or their time is over.

A turn is taken for each request that comes and each millisecond while any waits, and lets at most one go: what engines
report stays as it is between two scrapes, and all that waits would go by it at once.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from infscale.metrics.saturation import SaturationKind
from infscale.metrics.snapshot import PoolSnapshot
from picker.flow.budgets import Budget
from picker.flow.flow_queue import FlowQueue
from picker.flow.reference.flow_counts import PoolGauges
from picker.flow.reference.flow_settings import ReferenceFlowSettings
from picker.flow.reference.pool_bands import PoolBands
from picker.flow.reference.pool_saturation import PoolSaturation, Stages
from picker.flow.reference.queue_outcomes import QueueOutcome
from picker.flow.reference.revocation import InFlight, Reclamation, demand
from picker.flow.reference.usage_limits import SoftReflective
from picker.flow.reference.wait_budgets import WaitBudget
from picker.flow.waiting import Waiting

TURN_SECONDS: Final = 0.001
MOST_SHOWN: Final = 64
"""Of how many programs the books are shown."""
SWEEP_SECONDS: Final = 1.0
"""How often it is looked for requests whose time is over."""

# One rule for all: which endpoints a request may have does not matter to when it goes.
_LANE: Final = ""
_NO_LANES: Final[Mapping[str, int]] = MappingProxyType({})
_BY_ENGINES: Final = "utilization-detector"
_NOT_MEASURED: Final = Stages(None, None, 0)


class ReferenceFlow:
    """Owner of what waits for one pool. Call it from one thread only.

    `grace_seconds` is how long the pool takes to show the room that an evicted request leaves.
    """

    def __init__(self, settings: ReferenceFlowSettings, grace_seconds: float) -> None:
        self._settings = settings
        self._bands = PoolBands(settings)
        self._ceilings = settings.ceilings.made()
        self._saturation = PoolSaturation()
        self._requests: dict[int, tuple[Waiting, WaitBudget]] = {}
        self._heads: dict[int, dict[str, Waiting]] = {}
        self._empty = False
        self._changed_at = -math.inf
        self._swept_at = -math.inf
        self._demanded: tuple[float, Sequence[int], Sequence[float]] | None = None
        self.queue = FlowQueue(self._bands, self._bands.fairness, Budget(settings.max_requests, settings.max_bytes))
        """What waits."""
        self.reclamation = Reclamation(grace_seconds)
        """What was evicted."""
        self.goes_on = False
        """Whether another turn may let a request go before anything changes."""
        self.stages = _NOT_MEASURED
        """How full the pool was in the last turn …"""
        self.detector = _BY_ENGINES
        """… and what measured it."""

    @property
    def bands(self) -> PoolBands:
        """The bands and their policies."""
        return self._bands

    def enter(self, waiting: Waiting, budget: WaitBudget, now: float) -> QueueOutcome | None:
        """Let a request wait for as long as `budget` says; or how its wait has ended before it began."""
        self._bands.use(waiting.priority, now)
        takes = self.queue.band(waiting.priority).takes(self._bands.budget(waiting.priority), waiting.size_bytes)
        if not takes or self.queue.add(waiting, _LANE, now) is not None:
            return QueueOutcome.REJECTED_NO_ENDPOINTS if self._empty else QueueOutcome.REJECTED_CAPACITY
        self._requests[waiting.number] = waiting, budget
        self._look(waiting.priority, waiting.flow)
        return None

    def turn(self, snapshot: PoolSnapshot | None, now: float) -> Waiting | None:
        """The request that goes to scheduling now, if one does. It waits no longer, whatever becomes of it there."""
        self._see(snapshot, now)
        saturation = self.stages.effective
        priorities = self._bands.priorities(self.queue.priorities, now)
        ceilings = self._ceilings.limits(saturation, priorities)
        self._demanded = None
        # These count turns, so that a turn may let one go although nothing has changed.
        self.goes_on = isinstance(self._ceilings, SoftReflective)
        for place, (priority, ceiling) in enumerate(zip(priorities, ceilings, strict=True)):
            if saturation >= ceiling:
                # No lower band passes one that is held back, not even one in which nothing waits.
                self._demanded = saturation, priorities[place:], ceilings[place:]
                return None
            heads = self._heads.get(priority)
            flow = self._bands.fairness(priority).choose(heads, now) if heads else None
            if heads is not None and flow is not None:
                waiting = heads[flow]
                self._bands.fairness(priority).dispatched(waiting, now)
                self.left(waiting.number, now)
                self.goes_on = True
                return waiting
        return None

    def may_evict(self, now: float) -> bool:
        """Whether requests in flight may be taken back now for those that the last turn held back."""
        held_back = self._settings.evicting is not None and self._demanded is not None and bool(self._requests)
        return held_back and self.reclamation.may_decide(now)

    def evicted(self, in_flight: Sequence[InFlight], now: float) -> Sequence[InFlight]:
        """The requests `in_flight` to take back for those that the last turn held back."""
        if self._settings.evicting is None or self._demanded is None or not self.may_evict(now):
            return ()
        victims = self._settings.evicting.of(in_flight)
        if not victims:
            return ()
        saturation, priorities, ceilings = self._demanded
        asked = demand(saturation, priorities, ceilings, self.queue.priorities, victims[0].priority)
        if asked is None:
            return ()
        return self.reclamation.take_back(saturation, asked, len(in_flight), victims, now)

    def left(self, number: int, now: float) -> Waiting | None:
        """A request waits no longer, such as one whose client has left; None: it does not wait."""
        waiting = self.queue.removed(number, now)
        if waiting is not None:
            del self._requests[number]
            self._look(waiting.priority, waiting.flow)
        return waiting

    def ended(self, waiting: Waiting, tokens: tuple[float, float] | None, now: float) -> None:
        """A request that went is over; `tokens` are those of its prompt and of its answer, where they are known."""
        self._bands.fairness(waiting.priority).ended(waiting, 0.0, now)
        if tokens is not None:
            self._bands.served(waiting, *tokens, now)
        self.reclamation.ended(waiting.number, now)

    def swept(self, snapshot: PoolSnapshot | None, now: float) -> Sequence[tuple[Waiting, QueueOutcome]]:
        """The requests whose time is over, and how their wait ended; looked for once a second."""
        self._see(snapshot, now)
        if now - self._swept_at < SWEEP_SECONDS:
            return ()
        self._swept_at = now
        late = [waiting for waiting, budget in self._requests.values() if self._over(waiting, budget) <= now]
        for waiting in late:
            self.left(waiting.number, now)
        outcome = QueueOutcome.EVICTED_NO_ENDPOINTS if self._empty else QueueOutcome.EVICTED_TTL
        return [(waiting, outcome) for waiting in late]

    def gauges(self) -> PoolGauges:
        """What is shown of it."""
        measured = {"prefill": self.stages.prefill, "decode": self.stages.decode, "effective": self.stages.effective}
        stages = {name: value for name, value in measured.items() if value is not None}
        bands = {each: self._shares(each) for each in self._bands.known}
        held, settings = self.queue.held, self._settings
        overall = _share(held.requests, settings.max_requests), _share(held.size_bytes, settings.max_bytes)
        programs = self._bands.programs
        shown = {flow: program for each in programs for flow, program in each.latest(MOST_SHOWN).items()}
        index = min((each.fairness_index() for each in programs), default=None)
        reclamation = None if settings.evicting is None else self.reclamation
        return PoolGauges(stages, self.detector, self.stages.stale, bands, overall, reclamation, shown, index)

    def close(self, now: float) -> Collection[Waiting]:
        """All that waits, which waits no longer: the picker is shutting down."""
        return [waiting for number in list(self._requests) if (waiting := self.left(number, now)) is not None]

    def _shares(self, priority: int) -> tuple[float | None, float | None]:
        """Of what of a band may wait, the share that waits, in requests and in bytes."""
        held, budget = self.queue.band(priority), self._bands.budget(priority)
        return _share(held.requests, budget.requests), _share(held.size_bytes, budget.size_bytes)

    def _over(self, waiting: Waiting, budget: WaitBudget) -> float:
        """When the wait is over: by the budget for the pool as it is, at last by the longer one from the beginning."""
        longest = max(budget.seconds, budget.without_endpoints_seconds) + 2.0 * SWEEP_SECONDS
        expires_at = budget.expires_at(waiting.arrived_at, self._changed_at, empty=self._empty)
        return min(expires_at, waiting.arrived_at + longest)

    def _see(self, snapshot: PoolSnapshot | None, now: float) -> None:
        """Measure the pool, and notice that it got its first endpoint or lost its last."""
        self.stages = _NOT_MEASURED
        if snapshot is not None:
            self.stages = self._saturation.stages(snapshot, now)
            by_engines = snapshot.state.settings.saturation.kind is SaturationKind.UTILIZATION
            self.detector = _BY_ENGINES if by_engines else "concurrency-detector"
        empty = snapshot is None or not bool((snapshot.columns.ready & ~snapshot.columns.asleep).any())
        if empty != self._empty:
            self._empty, self._changed_at = empty, now

    def _look(self, priority: int, flow: str) -> None:
        """Keep the head of a flow."""
        heads = self._heads.setdefault(priority, {})
        head = self.queue.head(priority, flow, _NO_LANES)
        if head is None:
            heads.pop(flow, None)
        else:
            heads[flow] = head


def _share(held: int, limit: int | None) -> float | None:
    return None if limit is None else held / limit
