"""One run in numbers: what counts as answered, as good, and over which seconds."""

from dataclasses import replace

import numpy as np
import pytest

from infscale.simulate.findings.summaries import ALL, RunSummary
from infscale.simulate.policy import named_policy
from infscale.simulate.run_result import RequestTable, RunResult
from infscale.simulate.scenario import Goal
from infscale.simulate.simulation import simulate
from tests.simulate.scenarios import SharedPrefixes, scenario

TABLE = RequestTable(
    ("batch", "interactive"),
    ("refused: saturated", "stream cut"),
    np.array([0.0, 1.0, 2.0, 3.0]),
    np.array([0.5, 3.0, np.nan, np.nan]),
    np.array([1.5, 5.0, 2.1, 10.0]),
    np.array([100, 300, 50, 50]),
    np.array([50, 50, 0, 0]),
    np.array([11, 1, 20, 20]),
    np.array([0, 1, -1, 0]),
    np.array([1, 1, 0, 1]),
    np.array([-1, -1, 0, 1]),
    np.array([False, False, True, False]),
    (),
    np.array([-1, -1, -1, -1]),
    np.array([-1, -1, -1, -1]),
)
RESULT = RunResult("infscale", 1, TABLE, (), (), 10.0, 0, 0.0, {})


def test_a_run_in_numbers() -> None:
    whole = RunSummary.of(RESULT, Goal())
    found = whole.classes[ALL]
    assert (found.requests, found.answered, found.refused, found.failed) == (4, 2, 1, 1)
    assert (found.throughput_rps, found.output_tokens_per_second) == pytest.approx((0.2, 1.2))
    assert found.prefix_hit_ratio == 0.25
    assert (found.ttft.p50, found.e2e.p50) == (1.25, 2.75)
    # An answer of one token has no time per token.
    assert found.tpot.p99 == 0.1
    assert whole.failures == {"refused: saturated": 1, "stream cut": 1}
    assert (whole.classes["batch"].refused, whole.classes["interactive"].answered) == (1, 2)
    assert whole.classes["batch"].prefix_hit_ratio is None


@pytest.mark.parametrize(
    ("goal", "good"),
    [(Goal(), 2), (Goal(ttft=1.0), 1), (Goal(tpot=0.05), 1), (Goal(ttft=1.0, tpot=0.05), 0), (Goal(e2e=1.5), 1)],
)
def test_what_is_within_the_goal(goal: Goal, good: int) -> None:
    """What has nothing to be measured is not too late; what was not answered is not good."""
    found = RunSummary.of(RESULT, goal).classes[ALL]
    assert found.good == good
    assert found.goodput_rps == good / 10
    assert found.good_ratio == good / 4


def test_of_no_requests_there_is_nothing_to_say() -> None:
    table = RequestTable.of([])
    found = RunSummary.of(replace(RESULT, requests=table), Goal()).classes[ALL]
    assert (found.requests, found.throughput_rps, found.prefix_hit_ratio, found.ttft.p50) == (0, 0.0, None, None)


def test_what_arrives_in_the_warm_up_is_played_and_not_counted() -> None:
    traffic = SharedPrefixes(requests=60)
    all_of_it = simulate(scenario(traffic=traffic), named_policy("round-robin"), 1).requests
    counted = simulate(scenario(traffic=traffic, warmup_seconds=3.0), named_policy("round-robin"), 1).requests
    late = all_of_it.arrived >= 3.0
    assert 0 < len(counted) < 60
    assert counted.ended.tolist() == all_of_it.ended[late].tolist()
