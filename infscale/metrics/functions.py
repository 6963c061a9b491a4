"""Window functions with PromQL's meaning over samples in time order.

`times` are seconds, ascending; `values` are the samples, one row per time, optionally with columns (one per histogram
bucket) that are treated alike. A window is ``[start, end]``. Too few samples give None: unknown, never 0.

Source: Prometheus ``promql/functions.go`` (`extrapolatedRate`, `bucketQuantile`) as documented under "Query functions".
"""

import math

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


def histogram_quantile(q: float, histogram: Histogram) -> float | None:
    """PromQL `histogram_quantile`: linear within the bucket the quantile falls into.

    The lowest bucket starts at 0 when its bound is positive; a quantile in the +Inf bucket is the highest finite bound.
    None where nothing was observed. `q` is within 0 to 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile is within 0 to 1, not {q}")
    counts, bounds = np.maximum.accumulate(histogram.counts), histogram.bounds
    total = float(counts[-1])
    if total <= 0 or math.isnan(total) or len(bounds) < 2:
        return None
    rank = q * total
    bucket = int(np.searchsorted(counts[:-1], rank, side="left"))
    if bucket == len(bounds) - 1:
        return bounds[-2]
    if bucket == 0 and bounds[0] <= 0:
        return bounds[0]
    low = bounds[bucket - 1] if bucket else 0.0
    below = float(counts[bucket - 1]) if bucket else 0.0
    inside = float(counts[bucket]) - below
    return low + (bounds[bucket] - low) * (rank - below) / inside if inside else low


def merged(histograms: list[Histogram]) -> Histogram | None:
    """The sum of histograms with the same bounds; others are brought to the bounds all of them have."""
    if not histograms:
        return None
    shared = set(histograms[0].bounds).intersection(*(histogram.bounds for histogram in histograms[1:]))
    bounds = tuple(sorted(shared))
    counts = np.zeros(len(bounds))
    for histogram in histograms:
        if histogram.bounds == bounds:
            counts += histogram.counts
        else:
            counts += histogram.counts[[histogram.bounds.index(bound) for bound in bounds]]
    return Histogram(bounds, counts, sum(histogram.sum for histogram in histograms))
