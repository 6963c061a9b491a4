"""Scorers of queues, running requests and the KV cache."""

from typing import Any

import numpy as np
import pytest

from picker.scheduling.profile import bounded
from picker.scheduling.scorers.load import (
    ActiveRequestScorer,
    KvCacheUtilizationScorer,
    LoadAwareScorer,
    QueueScorer,
    RunningRequestsScorer,
)
from picker.scheduling.stages import Scorer
from tests.fakes.pools import FakePool, context
from tests.picker.scheduling.scorers.scoring import scores
from tests.reference_tables import TABLES


@pytest.mark.parametrize("case", TABLES["queue-scorer"])
def test_queue_vectors_hold(case: dict[str, Any]) -> None:
    pool = FakePool(len(case["waiting"]), waiting=case["waiting"])
    assert scores(QueueScorer(), pool) == pytest.approx(case["scores"])


@pytest.mark.parametrize("case", TABLES["running-requests-size-scorer"])
def test_running_vectors_hold(case: dict[str, Any]) -> None:
    pool = FakePool(len(case["running"]), running=case["running"])
    assert scores(RunningRequestsScorer(), pool) == pytest.approx(case["scores"])


@pytest.mark.parametrize("case", TABLES["kv-cache-utilization-scorer"])
def test_kv_vectors_hold(case: dict[str, Any]) -> None:
    pool = FakePool(len(case["kv"]), kv=case["kv"])
    assert scores(KvCacheUtilizationScorer(), pool) == pytest.approx(case["scores"])


@pytest.mark.parametrize("case", TABLES["load-aware-scorer"])
def test_load_aware_vectors_hold(case: dict[str, Any]) -> None:
    pool = FakePool(len(case["waiting"]), waiting=case["waiting"])
    assert scores(LoadAwareScorer(case["threshold"]), pool) == pytest.approx(case["scores"])


def test_idle_endpoints_score_one_and_busy_ones_share_what_the_parameters_leave() -> None:
    pool = FakePool(4, in_flight_requests=[0, 2, 5, 10])
    assert scores(ActiveRequestScorer(), pool) == pytest.approx([1.0, 0.8, 0.5, 0.0])
    assert scores(ActiveRequestScorer(idle_threshold=2, max_busy_score=0.5), pool) == pytest.approx([1, 1, 0.25, 0])


@pytest.mark.parametrize(
    ("scorer", "column"),
    [
        (QueueScorer(), "waiting"),
        (RunningRequestsScorer(), "running"),
        (KvCacheUtilizationScorer(), "kv"),
        (LoadAwareScorer(), "waiting"),
    ],
    ids=["queue", "running", "kv", "load-aware"],
)
def test_an_unknown_value_is_said_to_be_unknown_and_never_idle(scorer: Scorer, column: str) -> None:
    pool = FakePool(3)
    setattr(pool, column, [0.2, None, 0.6])
    found = scorer.score(context(pool), pool.rows)
    assert np.isnan(found).tolist() == [False, True, False]
    neutral = bounded(found)
    assert neutral[1] == pytest.approx((neutral[0] + neutral[2]) / 2)


def test_a_scorer_that_knows_no_candidate_has_no_say() -> None:
    pool = FakePool(2, waiting=[None, None])
    assert bounded(QueueScorer().score(context(pool), pool.rows)).tolist() == [0.5, 0.5]
