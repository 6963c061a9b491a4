"""A bill as lines of text."""

from collections.abc import Iterator, Sequence

from infscale.viewing.billed.told_bill import BilledPool, summed
from infscale.viewing.words import UNKNOWN, shown

_HOUR = 3600.0


def bill_lines(pools: Sequence[BilledPool], by: Sequence[str], price: float | None) -> Iterator[str]:
    """The table of what each had, what was wasted and idle, and their sum; `price` is that of a GPU hour."""
    total = sum(pool.gpu_seconds for pool in pools)
    idle, again = sum(pool.idle for pool in pools), sum(pool.recomputed for pool in pools)
    names, begin, end = ", ".join(shown(pool.pool) for pool in pools), pools[0].start, pools[0].end
    yield f"{names}, from {begin or UNKNOWN} to {end or UNKNOWN}"
    yield ""
    head = [*by, "used", "evicted", "aborted", "failed", "GPU-s", "share", *(["cost"] if price is not None else [])]
    rows = [head]
    groups = summed(pools, by)
    for group, sums in groups.items():
        cells = [*sums.wasted.values(), sums.seconds]
        rows.append([*map(_named, group), *map(_seconds, (sums.used, *cells)), *_of(sums.seconds, total, price)])
    blank = [""] * (len(by) - 1 + 4)
    for name, seconds in (("idle", idle), ("computed again", again), ("together", total)):
        rows.append([name, *blank, _seconds(seconds), *_of(seconds, total, price)])
    yield from _aligned(rows, len(by))
    guessed = sum(pool.guessed_endpoints for pool in pools)
    if guessed:
        yield ""
        yield (
            f"{guessed} endpoints are counted as one GPU each: neither the label infscale.dev/gpus nor an exporter "
            "says how many they have"
        )


def _named(name: str) -> str:
    return shown(name) or UNKNOWN


def _seconds(value: float) -> str:
    return f"{value:,.1f}"


def _of(seconds: float, total: float, price: float | None) -> list[str]:
    share = f"{seconds / total:.1%}" if total else UNKNOWN
    return [share] if price is None else [share, f"{seconds / _HOUR * price:,.2f}"]


def _aligned(rows: Sequence[Sequence[str]], names: int) -> Iterator[str]:
    """Rows in columns: the first ones, of names, to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place < names else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
