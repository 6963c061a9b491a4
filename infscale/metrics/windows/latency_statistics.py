"""What is said of observed latencies, worked out of the histograms of a window."""

import math
from collections.abc import Mapping
from typing import Final, get_args

from infscale.metrics.sample import CounterName, Histogram, HistogramName, Statistic
from infscale.metrics.windows.merged_histograms import histogram_quantile, merged

STATISTICS: Final[tuple[Statistic, ...]] = get_args(Statistic)
"""Every statistic, in the order in which they are published."""

_QUANTILES: Final[Mapping[Statistic, float]] = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
PUBLISHED_LATENCIES: Final[tuple[HistogramName, ...]] = ("queue_time", "time_to_first_token", "inter_token_latency")
"""The latencies whose statistics are published."""


def quantile_of(statistic: Statistic) -> float | None:
    """The quantile a statistic is; None for the mean."""
    return _QUANTILES.get(statistic)


def statistic_of(histogram: Histogram, statistic: Statistic) -> float:
    """Seconds; NaN where nothing was observed, and for a mean whose sum the engine does not publish."""
    return _of(histogram, (statistic,))[0]


def with_wholes(
    histograms: Mapping[tuple[HistogramName, str], Histogram],
) -> dict[tuple[HistogramName, str | None], Histogram]:
    """The histograms by model, and under None those of all models together, where something was observed."""
    by_name: dict[HistogramName, list[Histogram]] = {}
    for (name, _), histogram in histograms.items():
        by_name.setdefault(name, []).append(histogram)
    found: dict[tuple[HistogramName, str | None], Histogram] = dict(histograms.items())
    for name, parts in by_name.items():
        # One that observed nothing adds nothing, and may have no sum.
        whole = merged([part for part in parts if part.total > 0] or parts[:1])
        if whole is not None:
            found[name, None] = whole
    return found


def statistics(
    histograms: Mapping[tuple[HistogramName, str | None], Histogram],
) -> dict[str | None, dict[tuple[HistogramName, Statistic], float]]:
    """By model, the statistics of each published latency of which something was observed."""
    found: dict[str | None, dict[tuple[HistogramName, Statistic], float]] = {}
    known: dict[int, list[float]] = {}
    for (name, model), histogram in histograms.items():
        # All that is published is NaN where nothing was observed.
        if name in PUBLISHED_LATENCIES and histogram.total > 0:
            values = known.get(id(histogram))
            if values is None:
                values = known[id(histogram)] = _of(histogram, STATISTICS)
            of_model = found.setdefault(model, {})
            for statistic, value in zip(STATISTICS, values, strict=True):
                of_model[name, statistic] = value
    return found


def _of(histogram: Histogram, wanted: tuple[Statistic, ...]) -> list[float]:
    counts: list[float] = histogram.counts.tolist()
    total = counts[-1]
    mean = histogram.sum / total if total > 0 else math.nan
    values: list[float] = []
    for statistic in wanted:
        q = _QUANTILES.get(statistic)
        values.append(mean if q is None else _bounded(histogram_quantile(q, histogram.bounds, counts), q, mean))
    return values


def _bounded(quantile: float, q: float, mean: float) -> float:
    """`quantile`, but never above mean ÷ (1 - q), which no quantile of non-negative values exceeds.

    Engines' first buckets are wide (vLLM's queue time: 0.3 s); interpolation alone would report 0.27 s as the p90 of
    waits of a millisecond. Source of the bound: Markov's inequality. An unknown mean bounds nothing.
    """
    return min(quantile, mean / (1 - q)) if mean >= 0 else quantile


def leaving_rates(
    histograms: Mapping[tuple[HistogramName, str], Histogram],
    rates: Mapping[tuple[CounterName, str], float],
    covered_seconds: float,
) -> dict[str | None, float]:
    """Requests per second that left the queue, by model, and of all models together under None.

    Engines without a queue-time histogram count by those that finish. Left out where neither is published, or nothing
    was observed for any time.
    """
    if not covered_seconds:
        return {}
    left = {model: histogram.total for (name, model), histogram in histograms.items() if name == "queue_time"}
    leaving: dict[str | None, float] = {
        model: rate for (name, model), rate in rates.items() if name == "requests_finished"
    }
    if not left and not leaving:
        return {}
    whole = sum(left.values()) / covered_seconds if left else sum(leaving.values())
    leaving |= {model: total / covered_seconds for model, total in left.items()}
    return {**leaving, None: whole}


def prefill_seconds(
    histograms: Mapping[tuple[HistogramName, str | None], Histogram],
    rates: Mapping[tuple[CounterName, str], float],
    covered_seconds: float,
) -> dict[str | None, float]:
    """Seconds of prefill for each prompt token that had to be computed, by model and of all together under None.

    It is the mean prefill of a request over the mean of its computed tokens. Engines that do not publish prefill times
    are taken at the mean time to the first token without the mean time in the queue; engines observe the latter when a
    request ends, so this is right only once the queue has been as it is for longer than an answer takes. What an engine
    computes at the same time makes each request wait for the others: this is what a token costs under the load of the
    window, not what the hardware could do. Left out where nothing says so.
    """
    found: dict[str | None, float] = {}
    for (name, model), first_tokens in histograms.items():
        if name != "time_to_first_token" or first_tokens.total <= 0:
            continue
        seconds = _mean_prefill(histograms, model)
        tokens = _computed_per_second(rates, model) * covered_seconds / first_tokens.total
        if seconds > 0 and tokens > 0:
            found[model] = seconds / tokens
    return found


def _mean_prefill(histograms: Mapping[tuple[HistogramName, str | None], Histogram], model: str | None) -> float:
    """Seconds; NaN where nothing says so."""

    def mean(name: HistogramName) -> float:
        histogram = histograms.get((name, model))
        return histogram.sum / histogram.total if histogram is not None and histogram.total > 0 else math.nan

    if ("prefill_time", model) in histograms:
        return mean("prefill_time")
    return mean("time_to_first_token") - mean("queue_time")


def _computed_per_second(rates: Mapping[tuple[CounterName, str], float], model: str | None) -> float:
    """Prompt tokens that were not found in the prefix cache."""

    def rate(counter: CounterName) -> float:
        if model is not None:
            return rates.get((counter, model), 0.0)
        return sum(each for (name, _), each in rates.items() if name == counter)

    prompt, looked_up = rate("prompt_tokens"), rate("prefix_queries")
    return prompt * (1.0 - min(1.0, rate("prefix_hits") / looked_up)) if looked_up > 0 else prompt
