"""A bill in the form in which OpenCost answers for allocations (`/allocation`, `AllocationJSON` of its core).

One set of allocations by their names. The time in which GPUs did nothing is `__idle__`, as OpenCost calls it; what was
wasted, of requests without an answer and what engines computed again, is `__wasted__`, which it has no name for. What
is not known, as the cost of CPUs, is null. Numbers are not rounded, so that they add up.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from infscale.viewing.billed.told_bill import BilledPool, summed

IDLE: Final = "__idle__"
WASTED: Final = "__wasted__"
UNALLOCATED: Final = "__unallocated__"
"""The name of what has none, such as no LoRA adapter."""
_HOUR: Final = 3600.0
_MINUTE: Final = 60.0
_UNKNOWN: Final = ("cpuCost", "ramCost", "pvCost", "networkCost", "loadBalancerCost", "sharedCost", "externalCost")


def allocations(pools: Sequence[BilledPool], by: Sequence[str], price: float | None) -> Mapping[str, object]:
    """The answer for `pools`, at least one, summed up `by` names; `price` is that of a GPU hour, None: not known."""
    groups = summed(pools, by)
    parts: dict[str, tuple[dict[str, str], float]] = {}
    for names, sums in groups.items():
        labels = {label: name for label, name in zip(by, names, strict=True) if name}
        parts["/".join(name or UNALLOCATED for name in names)] = labels, sums.used
    wasted = sum(sum(sums.wasted.values()) for sums in groups.values()) + sum(pool.recomputed for pool in pools)
    parts[WASTED] = {}, wasted
    parts[IDLE] = {}, sum(pool.idle for pool in pools)
    first = pools[0]
    named = {name: _allocation(name, labels, seconds, first, price) for name, (labels, seconds) in parts.items()}
    return {"code": 200, "data": [named]}


def _allocation(
    name: str, labels: Mapping[str, str], gpu_seconds: float, pool: BilledPool, price: float | None
) -> Mapping[str, object]:
    seconds = _between(pool.start, pool.end)
    hours = gpu_seconds / _HOUR
    cost = None if price is None else hours * price
    return {
        "name": name,
        "properties": {"labels": dict(labels)},
        "window": {"start": pool.start or None, "end": pool.end or None},
        "start": pool.start or None,
        "end": pool.end or None,
        "minutes": None if seconds is None else seconds / _MINUTE,
        "gpuCount": gpu_seconds / seconds if seconds else None,
        "gpuHours": hours,
        "gpuCost": cost,
        **dict.fromkeys(_UNKNOWN),
        "totalCost": cost,
    }


def _between(start: str, end: str) -> float | None:
    try:
        return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (TypeError, ValueError):
        return None
