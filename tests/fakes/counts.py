"""Counts of engines made of plain mappings, and back."""

from collections.abc import Mapping

import numpy as np

from infscale.metrics.sample import CounterKey, CountLayout, Counts, Histogram, HistogramKey


def counts_of(
    histograms: Mapping[HistogramKey, Histogram] | None = None, counters: Mapping[CounterKey, float] | None = None
) -> Counts:
    """These histograms and counters as one row."""
    histograms, counters = histograms or {}, counters or {}
    layout = CountLayout(tuple(counters), tuple((key, each.bounds) for key, each in histograms.items()))
    buckets = [each.counts for each in histograms.values()]
    return Counts(layout, np.concatenate([[*counters.values()], *buckets, [each.sum for each in histograms.values()]]))


def counters_of(counts: Counts) -> dict[CounterKey, float]:
    """The counters in a row."""
    return dict(zip(counts.layout.counters, counts.row.tolist(), strict=False))
