"""Latencies that users want of a pool."""

import pytest

from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.latency_goals import read_goals


@pytest.mark.parametrize("text", ["ttft_p90=1s", "itl_mean=40ms", "queue_p99=1m"])
def test_a_goal_names_a_published_latency(text: str) -> None:
    [found] = read_goals(text)
    assert BY_NAME[found.metric.name] is found.metric


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ttft=1s", "expected ttft, itl or queue with a statistic"),
        ("ttft_p95=1s", "did you mean ttft_p99 or ttft_p90"),
        ("ttft_p90", "with a statistic and a duration"),
        ("ttft_p90=0", "expected a duration from 1ms"),
        ("ttft_p90=2h", "expected a duration from 1ms"),
        ("ttft_p90=1s,ttft_p90=2s", "is given twice"),
        (",".join(["ttft_p90=1s"] * 9), "expected at most 8 goals, got 9"),
        ("", "expected ttft, itl or queue"),
    ],
)
def test_a_goal_that_cannot_be_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_goals(text)
