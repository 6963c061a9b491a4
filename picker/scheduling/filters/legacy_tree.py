"""The scheduling of the reference picker up to v0.3: a tree of filters, then any of the survivors.

Requests that are not sheddable go through the tree; sheddable ones only to endpoints with capacity to spare, and
through the tree among those. The tree, where endpoints with a short queue exist:

    low queue → LoRA affinity → least queue → least KV cache

and where none does:

    least queue → LoRA affinity → least KV cache

A filter that would leave nothing leaves everything. An unknown queue is not short and an unknown value is in no least
bucket; the reference reads both as 0, which would make the endpoint of which nothing is known the best. In a blind
decision requests and tokens in flight stand for queue and KV cache, and no capacity is known to be lacking.
"""

from dataclasses import dataclass

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext


@dataclass(frozen=True, slots=True)
class LegacyTreeFilter:
    """The tree; thresholds are the reference's environment variables with their defaults.

    `queue_threshold_critical` waiting requests and `kv_cache_threshold` are the capacity that sheddable requests need,
    `queueing_threshold_lora` is the longest short queue, `lora_affinity_threshold` how likely a request for a LoRA
    adapter stays with the endpoints that have it while others have room.
    """

    kv_cache_threshold: float = 0.8
    queue_threshold_critical: float = 5.0
    queueing_threshold_lora: float = 128.0
    lora_affinity_threshold: float = 0.999

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The rows the tree ends with; none for a sheddable request while no endpoint has capacity."""
        columns, waiting = context.snapshot.columns, context.queued
        if context.request.priority < 0 and not context.blind:
            spare = waiting[rows] <= self.queue_threshold_critical
            spare &= columns.gauges.kv_utilization[rows] <= self.kv_cache_threshold
            rows = rows[spare]
            if not len(rows):
                return rows
        short = rows[waiting[rows] <= self.queueing_threshold_lora]
        if len(short):
            rows = least_bucket(waiting, self._lora(context, short))
        else:
            rows = self._lora(context, least_bucket(waiting, rows))
        return least_bucket(context.snapshot.in_flight_tokens if context.blind else columns.gauges.kv_utilization, rows)

    def _lora(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        """The endpoints that have the target model as a LoRA adapter, or (seldom, or where none has) room for it."""
        target, states = context.request.target_model, context.snapshot.columns.lora
        having: list[int] = []
        with_room: list[int] = []
        for row in rows.tolist():
            state = states[row]
            if state is None:
                continue
            if target in state.names:
                having.append(row)
            elif state.max_adapters is not None and len(state.running) + len(state.waiting) < state.max_adapters:
                with_room.append(row)
        if having and with_room:
            chosen = having if context.rng.random() < self.lora_affinity_threshold else with_room
        else:
            chosen = having or with_room
        return np.array(chosen, dtype=np.intp) if chosen else rows


def least_bucket(column: FloatArray, rows: IntArray) -> IntArray:
    """The rows in the lowest of as many equal slices of the range as there are rows; all where nothing is known."""
    values = column[rows]
    low, high = np.fmin.reduce(values), np.fmax.reduce(values)
    kept = rows[values <= low + (high - low) / len(rows)]
    return kept if len(kept) else rows
