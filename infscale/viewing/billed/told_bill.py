"""The bill of some time as it is told at `/debug/bill`, and its sums by whatever is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infscale.viewing.document_parts import Part

GROUPS: Final = ("tenant", "model", "adapter", "priority", "pool")
"""What a bill can be summed up by."""
_WASTED: Final = ("evicted", "aborted", "failed")


@dataclass(frozen=True, slots=True)
class BilledPool:
    """What is told of one pool, in GPU-seconds; `start` and `end` are times of the day as they are written."""

    pool: str
    start: str
    end: str
    gpu_seconds: float
    idle: float
    recomputed: float
    ready_gpus: float
    guessed_endpoints: int
    rows: tuple["BilledRow", ...]


@dataclass(frozen=True, slots=True)
class BilledRow:
    """What is told of the requests of one tenant, model, adapter and priority; `named` has these and the pool."""

    named: Mapping[str, str]
    used: float
    wasted: Mapping[str, float]


@dataclass(slots=True)
class Summed:
    """What requests had together: `used` for answers, and `wasted` in others by what became of these."""

    used: float = 0.0
    wasted: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_WASTED, 0.0))

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.used + sum(self.wasted.values())


def told_pools(document: object, pool: str | None = None) -> tuple[BilledPool, ...]:
    """The pools of a document, or the one of that name. Raises `DocumentError` where it is none."""
    found = Part(document, "bill").each("pools", _pool)
    return found if pool is None else tuple(each for each in found if each.pool == pool)


def _pool(part: Part) -> BilledPool:
    name = part.text("pool")
    return BilledPool(
        name,
        part.text("start"),
        part.text("end"),
        part.number("gpu_seconds") or 0.0,
        part.number("idle") or 0.0,
        part.number("recomputed") or 0.0,
        part.number("ready_gpus") or 0.0,
        part.count("endpoints_counted_as_one_gpu"),
        part.each("rows", lambda row: _row(row, name)),
    )


def _row(part: Part, pool: str) -> BilledRow:
    named = {name: part.text(name) for name in ("tenant", "model", "adapter")}
    named |= {"priority": str(part.count("priority")), "pool": pool}
    return BilledRow(named, part.number("used") or 0.0, {each: part.number(each) or 0.0 for each in _WASTED})


def summed(pools: Sequence[BilledPool], by: Sequence[str]) -> dict[tuple[str, ...], Summed]:
    """The sums of all rows that are the same in what is asked for, the largest first."""
    found: dict[tuple[str, ...], Summed] = {}
    for pool in pools:
        for row in pool.rows:
            sums = found.setdefault(tuple(row.named[each] for each in by), Summed())
            sums.used += row.used
            for ending, seconds in row.wasted.items():
                sums.wasted[ending] += seconds
    return dict(sorted(found.items(), key=lambda each: -each[1].seconds))
