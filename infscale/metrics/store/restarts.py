"""Whether an engine lost what it had between two looks at it: it began anew, or emptied its prefix cache."""

from collections.abc import Iterator
from typing import Final

from infscale.metrics.sample import Counts, EngineSample

_ANEW_BELOW: Final = 0.5


def began_anew(before: EngineSample, after: EngineSample) -> bool:
    """Whether the engine of `after` no longer has what that of `before` had.

    Another start time of its process says so, and so do counts that fall: an engine that begins anew counts from 0. A
    count that falls by less than half while most others do not is the engine's own mistake and says nothing.
    """
    if before.started_at is not None and after.started_at is not None and before.started_at != after.started_at:
        return True
    return _restarted(before.counts, after.counts)


def same_process(before: EngineSample | None, after: EngineSample) -> bool:
    """Whether start times prove that both samples are of one process."""
    return before is not None and after.started_at is not None and before.started_at == after.started_at


def _restarted(before: Counts, after: Counts) -> bool:
    # Nearly every page: of the same layout, and nothing fell. Sums may be unknown (NaN), which is no fall.
    if before.layout is after.layout and not (after.row < before.row).any():
        return False
    counted, counting = dict(_totals(before)), dict(_totals(after))
    positive = {key: count for key, count in counted.items() if count > 0}
    fallen = [key for key, count in positive.items() if counting.get(key, 0.0) < count]
    if not fallen:
        return False
    return 2 * len(fallen) >= len(positive) or any(
        counting.get(key, 0.0) < _ANEW_BELOW * positive[key] for key in fallen
    )


def _totals(counts: Counts) -> Iterator[tuple[object, float]]:
    """Every counter and the number of observations of every histogram, by name and model."""
    layout, row = counts.layout, counts.row
    yield from zip(layout.counters, row[: len(layout.counters)].tolist(), strict=True)
    for (key, _), place in zip(layout.histograms, layout.buckets, strict=True):
        yield key, float(row[place.stop - 1])
