"""Scorers of tokens in flight."""

from typing import Any

import pytest

from picker.scheduling.scorers.tokens import InFlightTokensScorer, LmetricScorer, TokenLoadScorer
from tests.fakes.pools import FakePool, context
from tests.picker.scheduling.scorers.scoring import facts, scores
from tests.reference_tables import TABLES


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


def test_token_load_counts_what_the_prefix_cache_does_not_save() -> None:
    pool = FakePool(2, in_flight_tokens=[100, 100])
    assert scores(TokenLoadScorer(1000), pool, [400, 0], 400, facts(prompt=500)) == pytest.approx([0.8, 0.4])


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


def test_lmetric_multiplies_tokens_to_prefill_with_the_batch() -> None:
    """(100 + 50) · 2 = 300, (0 + 50) · 3 = 150 and, the prompt being cached, (100 + 0) · 1 = 100."""
    pool = FakePool(3, in_flight_tokens=[100, 0, 100], in_flight_requests=[1, 2, 0])
    decision = context(pool, matched=[0, 0, 50], total_tokens=50, facts=facts(50))
    assert LmetricScorer().score(decision, pool.rows).tolist() == pytest.approx([0.0, 0.75, 1.0])
