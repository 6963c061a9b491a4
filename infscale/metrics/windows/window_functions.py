"""Window functions with PromQL's meaning over samples in time order.

`times` are seconds, ascending; `values` are the samples, one row per time, optionally with columns (one per histogram
bucket) that are treated alike. A window is ``[start, end]``. Too few samples give None: unknown, never 0.

Source: Prometheus ``promql/functions.go`` (`extrapolatedRate`, `bucketQuantile`) as documented under "Query functions".
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, islice
from operator import gt

import numpy as np

from infscale.metrics.sample import FloatArray, Histogram


def _within(times: FloatArray, values: FloatArray, start: float, end: float) -> tuple[FloatArray, FloatArray]:
    low = int(np.searchsorted(times, start, side="left"))
    high = int(np.searchsorted(times, end, side="right"))
    return times[low:high], values[low:high]


def coverage(times: FloatArray, start: float, end: float) -> float:
    """Seconds of the window that lie between its first and last sample."""
    low = int(np.searchsorted(times, start, side="left"))
    high = int(np.searchsorted(times, end, side="right"))
    return float(times[high - 1] - times[low]) if high - low >= 2 else 0.0


def raw_increase(times: FloatArray, values: FloatArray, start: float, end: float) -> FloatArray | None:
    """How much counters grew between the first and the last sample of the window, resets taken out.

    A counter that falls has restarted from 0, so that its new value is what it grew by.
    """
    times, values = _within(times, values, start, end)
    if len(times) < 2:
        return None
    steps = np.diff(values, axis=0)
    if steps.size and steps.min() < 0:
        steps = np.where(steps < 0, values[1:], steps)
    grown: FloatArray = np.asarray(steps.sum(axis=0), dtype=np.float64)
    return grown


def increase(times: FloatArray, values: FloatArray, start: float, end: float) -> float | None:
    """PromQL `increase` of one counter: the growth extrapolated to the window's edges.

    Extrapolation reaches an edge when the gap to it is under 1.1 average sample intervals, else half an interval, and
    never below the time at which the counter would have been 0.
    """
    grown = raw_increase(times, values, start, end)
    if grown is None:
        return None
    times, values = _within(times, values, start, end)
    growth, first = float(grown), float(values[0])
    sampled = float(times[-1] - times[0])
    if sampled <= 0:
        return None
    interval = sampled / (len(times) - 1)
    to_start, to_end = float(times[0] - start), float(end - times[-1])
    if to_start >= interval * 1.1:
        to_start = interval / 2
    if growth > 0 and first >= 0:
        to_start = min(to_start, sampled * first / growth)
    if to_end >= interval * 1.1:
        to_end = interval / 2
    return growth * (sampled + to_start + to_end) / sampled


def rate(times: FloatArray, values: FloatArray, start: float, end: float) -> float | None:
    """PromQL `rate`: `increase` per second of the window."""
    grown = increase(times, values, start, end)
    return None if grown is None or end <= start else grown / (end - start)


def avg_over_time(times: FloatArray, values: FloatArray, start: float, end: float) -> float | None:
    """Mean of the samples in the window."""
    _, values = _within(times, values, start, end)
    return float(values.mean()) if len(values) else None


def max_over_time(times: FloatArray, values: FloatArray, start: float, end: float) -> float | None:
    """Largest sample in the window."""
    _, values = _within(times, values, start, end)
    return float(values.max()) if len(values) else None


def histogram_quantile(q: float, bounds: Sequence[float], counts: Sequence[float]) -> float:
    """PromQL `histogram_quantile` of one histogram with cumulative `counts`.

    Linear within the bucket the quantile falls into; the lowest bucket starts at 0 when its bound is positive, and a
    quantile in the +Inf bucket is the highest finite bound. NaN where nothing was observed. `q` is within 0 to 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile is within 0 to 1, not {q}")
    cumulative = counts
    if any(map(gt, counts, islice(counts, 1, None))):
        cumulative = list(accumulate(counts, max))
    last = len(bounds) - 1
    if not last or not cumulative[-1] > 0:
        return math.nan
    rank = q * cumulative[-1]
    bucket = bisect_left(cumulative, rank, 0, last)
    if bucket == last:
        return bounds[last - 1]
    if not bucket and bounds[0] <= 0:
        return bounds[0]
    low, below = (bounds[bucket - 1], cumulative[bucket - 1]) if bucket else (0.0, 0.0)
    inside = cumulative[bucket] - below
    return low + (bounds[bucket] - low) * (rank - below) / inside if inside > 0 else low


def merged(histograms: list[Histogram]) -> Histogram | None:
    """The sum of histograms with the same bounds; others are brought to the bounds all of them have."""
    if len(histograms) < 2:
        return histograms[0] if histograms else None
    bounds = histograms[0].bounds
    # Bounds are mostly one object, and counting looks at identities before it compares numbers.
    if [each.bounds for each in histograms].count(bounds) < len(histograms):
        bounds = tuple(sorted(set(bounds).intersection(*(histogram.bounds for histogram in histograms))))
        counts = np.array(
            [histogram.counts[[histogram.bounds.index(bound) for bound in bounds]] for histogram in histograms]
        )
    else:
        counts = np.concatenate([histogram.counts for histogram in histograms]).reshape(len(histograms), -1)
    return Histogram(bounds, counts.sum(axis=0), sum([histogram.sum for histogram in histograms]))
