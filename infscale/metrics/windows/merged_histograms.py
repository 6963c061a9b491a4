"""Histograms of a window: their quantiles, with PromQL's meaning, and their sum.

Source: Prometheus ``promql/quantile.go`` (`bucketQuantile`) as documented under "Query functions".
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, islice
from operator import gt

import numpy as np

from infscale.metrics.sample import Histogram


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
