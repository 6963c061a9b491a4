"""Fairness in GPU time among the flows of one band: each pays at dispatch what its request is expected to cost.

Every flow has a virtual time, the GPU seconds that it was charged ÷ its weight. A dispatch charges the estimate, the
end of the request corrects it by what it has cost, so that no flow gains by answers that come late or are given up. A
flow that comes back from idle starts at the least served of those that wait: it has saved up nothing while it was away.

The least served flow may always go; another as well if it stays within one *quantum* of it by that, and of all that may
the one goes whose prompt is cached best. Virtual times of flows that wait are thus never further apart than the larger
of the quantum and the dearest request. Between any two flows that wait all the time, GPU seconds ÷ weight differ by at
most twice that.

A flow that waits for endpoints which have no room, while others go elsewhere, neither gains nor loses by that: its
virtual time goes on with that of those that are served. So neither does it take all once there is room, nor does what
comes meanwhile begin as far behind.
"""

from collections.abc import Callable, Mapping
from heapq import nsmallest
from typing import Final

from picker.flow.waiting import Waiting

_WEIGHT_OF_NEW: Final = 0.05
FAIRNESS_HEADERS: Final = ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")
"""Headers in which a gateway says whose a request is; of the two spellings the first counts."""
MOST_TENANTS: Final = 1_000
"""Of more, flows that are idle are forgotten although they were served more than others."""


_MOST_COMPARED: Final = 16
"""Of so many flows that are within a quantum of the least served, the least served ones, it is asked what is cached."""


class _Tenant:
    """`virtual` is in GPU seconds ÷ weight, `running` what was dispatched of the flow and has not ended, by number.

    `charged` is what its requests were charged since it is known, in GPU seconds: estimates, corrected at their ends.
    """

    __slots__ = ("charged", "running", "virtual", "weight")

    def __init__(self, weight: float, virtual: float) -> None:
        self.weight = weight
        self.virtual = virtual
        self.charged = 0.0
        self.running: dict[int, float] = {}


class CostFairness:
    """See the module; a `Fairness`.

    `weights` are positive, 1 for flows that are not in it. `hit_share` says how much of a prompt is cached where it
    would go, 0–1. A request that costs nothing is charged `least_cost_seconds`, so that all get their turns.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        hit_share: Callable[[Waiting], float] | None = None,
        least_cost_seconds: float = 1e-6,
    ) -> None:
        self._weights = dict(weights or {})
        if any(not weight > 0 for weight in self._weights.values()):
            raise ValueError("weights are positive")
        self._hit_share = hit_share
        self._least = least_cost_seconds
        self._tenants: dict[str, _Tenant] = {}
        self._waiting: dict[str, _Tenant] = {}
        # Of flows that wait, their virtual times, and of equal ones which has waited for longest.
        self._ranks: dict[str, tuple[float, int]] = {}
        self._came = 0
        # Those that competed for the last choice, others wait for endpoints without room; and where the least
        # of them stood.
        self._heads: Mapping[str, Waiting] = {}
        self._stood = 0.0
        # Where the least served flow stood at the last dispatch.
        self._last = 0.0
        self.quantum_seconds = 0.0
        """What a request moves its flow by on average: as far may one get ahead of others for a cached prompt."""

    def __len__(self) -> int:
        """Flows that are remembered."""
        return len(self._tenants)

    def __contains__(self, flow: str) -> bool:
        return flow in self._tenants

    def virtual_seconds(self, flow: str) -> float:
        """The GPU seconds ÷ weight at which a flow stands: of one that is unknown, where it would begin."""
        tenant = self._tenants.get(flow)
        return self._last if tenant is None else tenant.virtual

    def charged_seconds(self, flow: str) -> float:
        """The GPU seconds that a flow was charged, corrected for what has ended, since it is remembered."""
        tenant = self._tenants.get(flow)
        return 0.0 if tenant is None else tenant.charged

    def outstanding_seconds(self, flow: str) -> float:
        """What a flow was charged for requests that have not ended."""
        tenant = self._tenants.get(flow)
        return 0.0 if tenant is None else sum(tenant.running.values())

    def waits(self, flow: str, now: float) -> None:
        """See `Fairness`: the flow starts where the least served of those that are served stands, if not above it."""
        del now
        tenant = self._tenant(flow)
        tenant.virtual = max(tenant.virtual, self._last)
        self._waiting[flow] = tenant
        self._came += 1
        self._ranks[flow] = tenant.virtual, self._came

    def waits_no_more(self, flow: str, now: float) -> None:
        """See `Fairness`."""
        del now
        if self._waiting.pop(flow, None) is not None:
            del self._ranks[flow]

    def choose(self, heads: Mapping[str, Waiting], now: float) -> str | None:
        """See `Fairness`."""
        del now
        if not heads:
            return None
        self._heads, ranks = heads, self._ranks
        first = min(heads, key=ranks.__getitem__)
        self._stood = ranks[first][0]
        if self._hit_share is None or len(heads) == 1:
            return first
        limit = ranks[first][0] + self.quantum_seconds
        near = [name for name in heads if ranks[name][0] < limit]
        if len(near) > _MOST_COMPARED:
            near = nsmallest(_MOST_COMPARED, near, key=ranks.__getitem__)
        best, best_share = first, self._hit_share(heads[first])
        for name in near:
            head = heads[name]
            if name == first or ranks[name][0] + self._cost(head) / self._waiting[name].weight > limit:
                continue
            share = self._hit_share(head)
            if share > best_share:
                best, best_share = name, share
        return best

    def dispatched(self, waiting: Waiting, now: float) -> None:
        """See `Fairness`."""
        del now
        tenant = self._tenant(waiting.flow)
        if waiting.flow in self._waiting:
            self._advance()
        else:
            # It did not have to wait, so it has nothing to catch up on.
            tenant.virtual = max(tenant.virtual, self._last)
            if not self._waiting:
                self._last = tenant.virtual
        cost = self._cost(waiting)
        tenant.running[waiting.number] = cost
        tenant.charged += cost
        virtual = cost / tenant.weight
        self._move(waiting.flow, tenant, virtual)
        self.quantum_seconds += (_WEIGHT_OF_NEW if self.quantum_seconds else 1.0) * (virtual - self.quantum_seconds)

    def ended(self, waiting: Waiting, cost_seconds: float, now: float) -> None:
        """See `Fairness`."""
        del now
        tenant = self._tenants.get(waiting.flow)
        charged = None if tenant is None else tenant.running.pop(waiting.number, None)
        if tenant is not None and charged is not None:
            tenant.charged += cost_seconds - charged
            self._move(waiting.flow, tenant, (cost_seconds - charged) / tenant.weight)

    def forget(self, flow: str) -> None:
        """See `Fairness`. A flow that was served more than others is remembered for it, as long as there is room."""
        tenant = self._tenants.get(flow)
        if tenant is None or tenant.running or flow in self._waiting:
            return
        if tenant.virtual <= self._last or len(self._tenants) > MOST_TENANTS:
            del self._tenants[flow]

    def _advance(self) -> None:
        """Go on to where the least served of those that compete stands; what waits for others keeps its distance."""
        more = self._stood - self._last
        if more <= 0.0:
            return
        self._last = self._stood
        if len(self._heads) < len(self._waiting):
            for name in self._waiting.keys() - self._heads.keys():
                self._move(name, self._waiting[name], more)

    def _move(self, flow: str, tenant: _Tenant, virtual: float) -> None:
        tenant.virtual += virtual
        rank = self._ranks.get(flow)
        if rank is not None:
            self._ranks[flow] = tenant.virtual, rank[1]

    def _tenant(self, flow: str) -> _Tenant:
        tenant = self._tenants.get(flow)
        if tenant is None:
            tenant = self._tenants[flow] = _Tenant(self._weights.get(flow, 1.0), self._last)
        return tenant

    def _cost(self, waiting: Waiting) -> float:
        return max(waiting.cost_seconds, self._least)
