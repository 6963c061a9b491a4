"""How many requests the batch of an endpoint takes, where its pages show that it takes no more.

Engines limit their batches by a setting that no page tells (vLLM's ``max_num_seqs``). Where requests wait at two
scrapes one after the other and no more run at the second, the batch was full: what runs is its limit. Prompts that are
being computed are no such queue: between two scrapes they join the batch. What waits for a KV cache that is as good as
full says nothing of the batch: its room is judged by itself. A limit is forgotten when more run than it says. So it is
never lower than what the endpoint does, and it costs no trial to find out that it rose: one request more than the limit
is always let go, which runs where it can.
"""

from typing import Final

import numpy as np

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import BoolArray, PoolSnapshot

_CACHE_FULL: Final = 0.9


class BatchLimits:
    """The limits of one pool's endpoints, infinite where none is known; rows are those last given to `sync`.

    The memory of the pool owns and writes it; the gate of its queue reads.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[EndpointKey, str], int] = {}
        self._observed_at: FloatArray = np.zeros(0)
        self._seen: FloatArray = np.zeros(0)
        self._running: FloatArray = np.zeros(0)
        self._waited: BoolArray = np.zeros(0, dtype=np.bool_)
        self.limits: FloatArray = np.zeros(0)
        """Of every row: requests in a full batch."""

    def sync(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Follow the pool; an endpoint that is new, or at another address, has no limit."""
        before = self._places
        self._places = {(each.key, each.authority): row for row, each in enumerate(endpoints)}
        kept = np.array([before.get(identity, -1) for identity in self._places], dtype=np.int64)
        known = kept >= 0
        rows = kept[known]
        seen, running = np.full(len(kept), -np.inf), np.full(len(kept), np.nan)
        waited, limits = np.zeros(len(kept), dtype=np.bool_), np.full(len(kept), np.inf)
        seen[known], running[known] = self._seen[rows], self._running[rows]
        waited[known], limits[known] = self._waited[rows], self.limits[rows]
        self._seen, self._running, self._waited, self.limits = seen, running, waited, limits
        self._observed_at = seen

    def observe(self, snapshot: PoolSnapshot) -> bool:
        """Learn from the endpoints that were scraped since they were last looked at; whether limits changed."""
        columns = snapshot.columns
        observed_at = columns.observed_at
        if observed_at is self._observed_at:
            return False
        self._observed_at = observed_at
        gauges = columns.gauges
        running, waits = gauges.running, (gauges.waiting > 0.0) & ~(gauges.kv_utilization > _CACHE_FULL)
        new = observed_at > self._seen
        full = new & waits & self._waited & (running <= self._running) & (running != self.limits)
        more = new & (running > self.limits)
        changed = bool(np.count_nonzero(full | more))
        if changed:
            self.limits = np.where(more, np.inf, np.where(full, running, self.limits))
        self._running = np.where(new, running, self._running)
        self._waited = np.where(new, waits, self._waited)
        self._seen = np.where(new, observed_at, self._seen)
        return changed
