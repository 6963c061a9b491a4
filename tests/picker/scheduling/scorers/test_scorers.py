"""The scorers' formulas, and what they make of unknown values."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.memo import MemoKey
from infscale.metrics.sample import LoraState
from picker.scheduling.context_length import ContextLength
from picker.scheduling.endpoint_attributes import COLUMNS, EndpointAttributeScorer
from picker.scheduling.plugin import PrefixMatch, RequestFacts, Scorer
from picker.scheduling.profile import bounded
from picker.scheduling.scorers.affinity import (
    HeaderLabelAffinityScorer,
    LoraAffinityScorer,
    NoHitLruScorer,
    PrefixCacheScorer,
)
from picker.scheduling.scorers.condition import GpuMemoryScorer, StalenessDiscountScorer
from picker.scheduling.scorers.load import (
    ActiveRequestScorer,
    KvCacheUtilizationScorer,
    LoadAwareScorer,
    QueueScorer,
    RunningRequestsScorer,
)
from picker.scheduling.scorers.price import SpeedAndCostScorer
from picker.scheduling.scorers.tokens import InFlightTokensScorer, LmetricScorer, TokenLoadScorer
from tests.fakes.pools import NO_HEADERS, FakePool, Numbers, context
from tests.reference_tables import TABLES

SCORERS: tuple[Scorer, ...] = (
    QueueScorer(),
    RunningRequestsScorer(),
    KvCacheUtilizationScorer(),
    LoadAwareScorer(),
    ActiveRequestScorer(),
    ActiveRequestScorer(2, 0.5),
    TokenLoadScorer(1000),
    InFlightTokensScorer(),
    InFlightTokensScorer("ratio"),
    InFlightTokensScorer("range"),
    LoraAffinityScorer(),
    PrefixCacheScorer(),
    PrefixCacheScorer(0.7, 100),
    LmetricScorer(),
    NoHitLruScorer(),
    NoHitLruScorer(1),
    HeaderLabelAffinityScorer("x-tier", "tier"),
    ContextLength(),
    GpuMemoryScorer(),
    StalenessDiscountScorer(),
    StalenessDiscountScorer(3.0),
    SpeedAndCostScorer(),
    SpeedAndCostScorer(1.0),
    EndpointAttributeScorer(COLUMNS["waiting_requests"], lower_is_better=True),
    EndpointAttributeScorer(COLUMNS["gpu_memory_used_ratio"], lower_is_better=False, fixed_range=(0.2, 0.9)),
)


def facts(prompt: float = 0.0, output: float = 0.0, model: str = "model") -> RequestFacts:
    return RequestFacts(model, NO_HEADERS, prompt, output)


def scores(
    scorer: Scorer, pool: FakePool, matched: Numbers = (), total: float = 0.0, request: RequestFacts | None = None
) -> list[float]:
    found = scorer.score(context(pool, matched=matched, total_tokens=total, facts=request), pool.rows)
    return [float(score) for score in found]


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


@pytest.mark.parametrize("case", TABLES["token-load-scorer"])
def test_token_load_vectors_hold(case: dict[str, Any]) -> None:
    in_flight = [tokens or 0 for tokens in case["inflight_tokens"]]
    uncached = [tokens or 0 for tokens in case["request_uncached_tokens"]]
    prompt = float(max(uncached))
    pool = FakePool(len(in_flight), in_flight_tokens=in_flight)
    found = scores(
        TokenLoadScorer(case["threshold"]), pool, [prompt - tokens for tokens in uncached], prompt, facts(prompt)
    )
    assert found == pytest.approx(case["scores"])


@pytest.mark.parametrize("case", TABLES["lora-affinity-scorer"])
def test_lora_vectors_hold(case: dict[str, Any]) -> None:
    states = [LoraState(frozenset(pod["active"]), frozenset(pod["waiting"]), pod["max"]) for pod in case["pods"]]
    pool = FakePool(len(states), lora=states)
    assert scores(LoraAffinityScorer(), pool, request=facts(model=case["target"])) == pytest.approx(case["scores"])


@pytest.mark.parametrize(
    ("running", "waiting", "slots", "score"),
    [
        pytest.param({"m"}, set[str](), 1, 1.0, id="active"),
        pytest.param({"a"}, {"m"}, 3, 0.8, id="a free slot beats waiting"),
        pytest.param({"a"}, {"m"}, 2, 0.6, id="waiting without a slot"),
        pytest.param({"a", "b"}, set[str](), 2, 0.0, id="full"),
        pytest.param({"a"}, set[str](), None, 0.0, id="slots not said"),
    ],
)
def test_lora_affinity_has_four_steps(running: set[str], waiting: set[str], slots: int | None, score: float) -> None:
    pool = FakePool(1, lora=[LoraState(frozenset(running), frozenset(waiting), slots)])
    assert scores(LoraAffinityScorer(), pool, request=facts(model="m")) == [score]


def test_an_engine_without_lora_serves_none() -> None:
    assert scores(LoraAffinityScorer(), FakePool(1), request=facts(model="m")) == [0.0]


def test_idle_endpoints_score_one_and_busy_ones_share_what_the_parameters_leave() -> None:
    pool = FakePool(4, in_flight_requests=[0, 2, 5, 10])
    assert scores(ActiveRequestScorer(), pool) == pytest.approx([1.0, 0.8, 0.5, 0.0])
    assert scores(ActiveRequestScorer(idle_threshold=2, max_busy_score=0.5), pool) == pytest.approx([1, 1, 0.25, 0])


def test_token_load_counts_what_the_prefix_cache_does_not_save() -> None:
    pool = FakePool(2, in_flight_tokens=[100, 100])
    assert scores(TokenLoadScorer(1000), pool, [400, 0], 400, facts(prompt=500)) == pytest.approx([0.8, 0.4])


def test_prefix_score_blends_share_and_squared_length() -> None:
    pool = FakePool(3)
    assert scores(PrefixCacheScorer(), pool, [0, 50, 100], 100) == pytest.approx([0.0, 0.5, 1.0])
    assert scores(PrefixCacheScorer(0.5, 200), pool, [0, 50, 100], 100) == pytest.approx(
        [0.0, 0.5 * 0.0625 + 0.25, 0.5 * 0.25 + 0.5]
    )


def test_a_prompt_without_whole_blocks_matches_nowhere() -> None:
    assert scores(PrefixCacheScorer(), FakePool(2), [0, 0], 0) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [("request", [1.0, 0.5, 1 / 3]), ("ratio", [1.0, 0.5, 1 / 3]), ("range", [1.0, 0.5, 0.0])],
)
def test_in_flight_tokens_compare_with_the_best_candidate(scaling: Any, expected: list[float]) -> None:
    pool = FakePool(3, in_flight_tokens=[0, 100, 200])
    assert scores(InFlightTokensScorer(scaling), pool, request=facts(prompt=60, output=40)) == pytest.approx(expected)


def test_in_flight_tokens_prefer_the_warm_endpoint_until_it_is_further_behind_than_the_cache_saves() -> None:
    warm_is_best = scores(InFlightTokensScorer(), FakePool(2, in_flight_tokens=[700, 0]), [800, 0], 800, facts(1000))
    cold_is_best = scores(InFlightTokensScorer(), FakePool(2, in_flight_tokens=[900, 0]), [800, 0], 800, facts(1000))
    assert warm_is_best[0] == 1.0 > warm_is_best[1]
    assert cold_is_best[1] == 1.0 > cold_is_best[0]


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


@pytest.mark.parametrize(
    ("given_scores", "expected"),
    [
        ([-1.0, 0.3, 7.0], [0.0, 0.3, 1.0]),
        ([math.nan, 4.0], [1.0, 1.0]),
        ([math.inf, -math.inf], [1.0, 0.0]),
    ],
)
def test_scores_are_clamped(given_scores: list[float], expected: list[float]) -> None:
    assert bounded(np.array(given_scores)).tolist() == expected


_LABELS = ["infscale.dev/speed", "infscale.dev/cost", "llm-d.ai/context-length-range", "tier"]
_amounts = st.one_of(st.none(), st.floats(0, 1e7))
_bytes = st.one_of(st.none(), st.integers(0, 2**40))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 6))
def test_every_score_lies_between_zero_and_one(data: st.DataObject, size: int) -> None:
    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(values, min_size=size, max_size=size))

    known = st.floats(0, 1e7)
    names = st.frozensets(st.sampled_from(["model", "a", "b"]))
    prompt = data.draw(known)
    matched = [share * prompt for share in column(st.floats(0, 1))]
    pool = FakePool(
        size,
        waiting=column(_amounts),
        running=column(_amounts),
        kv=column(st.one_of(st.none(), st.floats(0, 1.5))),
        in_flight_requests=column(known),
        in_flight_tokens=column(known),
        lora=column(st.one_of(st.none(), st.builds(LoraState, names, names, st.one_of(st.none(), st.integers(0, 4))))),
        observed_at=column(st.one_of(st.none(), st.floats(-10, 0))),
        gpu_used=column(_bytes),
        gpu_total=column(_bytes),
        labels=column(st.dictionaries(st.sampled_from(_LABELS), st.sampled_from(["1", "0.5", "0-9", "x", "1e9"]))),
    )
    decision = context(pool, matched=matched, total_tokens=prompt, facts=facts(prompt, data.draw(known)))
    for scorer in SCORERS:
        raw = scorer.score(decision, pool.rows)
        assert len(raw) == size
        final = bounded(raw)
        assert ((final >= 0) & (final <= 1)).all(), scorer


def test_matched_shares_are_those_of_the_rows_asked_for_and_nobody_elses_memory() -> None:
    pool = FakePool(3)
    prefix = context(pool, matched=[0, 100, 50], total_tokens=100.0).prefix
    assert prefix.ratios(np.array([1, 0, 2])).tolist() == [1.0, 0.0, 0.5]
    assert prefix.ratios(np.array([False, True, False])).tolist() == [1.0]
    short = context(pool).prefix
    short.ratios(pool.rows)[:] = 1.0
    assert short.matched_tokens.tolist() == [0.0, 0.0, 0.0]


def test_a_context_can_be_had_with_another_prefix() -> None:
    """What was worked out with the one prefix is not kept with the other."""
    decision, key = context(FakePool(2), matched=[0, 100], total_tokens=100.0), MemoKey[float]("of the prefix")
    decision.derived.keep(key, 100.0)
    other = replace(decision, prefix=PrefixMatch(np.zeros(2), 0.0))
    assert other.derived.get(key) is None
    assert other.prefix.matched_tokens.tolist() == [0.0, 0.0]
    assert other.request is decision.request
