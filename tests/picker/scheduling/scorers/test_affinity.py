"""Where requests go that find a prefix or a LoRA adapter, that find nothing, or that name a label."""

from typing import Any

import pytest

from infscale.metrics.sample import LoraState
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import RequestFacts
from picker.scheduling.scorers.affinity import (
    HeaderLabelAffinityScorer,
    LoraAffinityScorer,
    NoHitLruScorer,
    PrefixCacheScorer,
)
from tests.fakes.pools import NO_HEADERS, FakePool, context, headers
from tests.picker.scheduling.scorers.scoring import facts, scores
from tests.reference_tables import TABLES


def cold_scores(
    size: int, served: list[int], rows: list[int] | None = None, each: NoHitLruScorer | None = None
) -> list[float]:
    """Scores of `rows` after the endpoints in `served` were sent a cold request each, in that order."""
    pool, memory = FakePool(size), PoolMemory()
    memory.sync(pool.snapshot().endpoints)
    for row in served:
        memory.served_cold(row)
    chosen = pool.rows if rows is None else pool.rows[rows]
    return (each or NoHitLruScorer()).score(context(pool, memory=memory), chosen).tolist()


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        pytest.param([], [1.0, 2 / 3, 1 / 3, 0.0], id="never used, in their order"),
        pytest.param([1], [1.0, 0.0, 2 / 3, 1 / 3], id="never used before used"),
        pytest.param([2, 0, 3, 1], [2 / 3, 0.0, 1.0, 1 / 3], id="least recently used first"),
        pytest.param([0, 1, 2, 3, 0], [0.0, 1.0, 2 / 3, 1 / 3], id="used again is used last"),
    ],
)
def test_cold_requests_take_turns(served: list[int], expected: list[float]) -> None:
    assert cold_scores(4, served) == pytest.approx(expected)


def test_positions_are_those_in_the_whole_pool() -> None:
    """Endpoints 0 and 1 served first and are no candidates: 2 is third (1 - 2/1 → 0), as is 3."""
    assert cold_scores(4, [0, 1, 2, 3], rows=[2, 3]) == [0.0, 0.0]
    assert cold_scores(4, [2, 3, 0, 1], rows=[2, 3]) == [1.0, 0.0]


def test_only_so_many_are_remembered_as_used() -> None:
    assert cold_scores(3, [0, 1, 2], each=NoHitLruScorer(1)) == pytest.approx([1.0, 0.5, 0.0])


def test_the_only_candidate_scores_one() -> None:
    assert cold_scores(1, [0]) == [1.0]


def test_warm_requests_have_no_say() -> None:
    pool = FakePool(3)
    assert NoHitLruScorer().score(context(pool, matched=[0, 1, 0], total_tokens=4), pool.rows).tolist() == [0.5] * 3


@pytest.mark.parametrize(("value", "expected"), [("a", [1.0, 0.0, 0.0]), ("c", [0.0, 0.0, 0.0]), ("", [0.0] * 3)])
def test_a_header_prefers_endpoints_by_label(value: str, expected: list[float]) -> None:
    pool = FakePool(3, labels=[{"tier": "a"}, {"tier": "b"}, {}])
    facts = RequestFacts("m", headers(x_tier=value) if value else NO_HEADERS, 0.0, 0.0)
    each = HeaderLabelAffinityScorer("X-Tier", "tier")
    assert each.score(context(pool, facts=facts), pool.rows).tolist() == expected
    assert each.score(context(pool, facts=facts), pool.rows[[2, 0]]).tolist() == [expected[2], expected[0]]


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


@pytest.mark.parametrize(
    ("running", "slots", "score"),
    [
        pytest.param(set[str](), None, 1.0, id="slots not said"),
        pytest.param({"a"}, 2, 1.0, id="a free slot"),
        pytest.param({"a", "b"}, 2, 0.6, id="full"),
    ],
)
def test_a_lora_adapter_that_is_loaded_and_idle_needs_a_slot_alone(
    running: set[str], slots: int | None, score: float
) -> None:
    pool = FakePool(1, lora=[LoraState(frozenset(running), frozenset(), slots, frozenset({"m"}))])
    assert scores(LoraAffinityScorer(), pool, request=facts(model="m")) == [score]


def test_an_engine_without_lora_serves_none() -> None:
    assert scores(LoraAffinityScorer(), FakePool(1), request=facts(model="m")) == [0.0]


def test_prefix_score_blends_share_and_squared_length() -> None:
    pool = FakePool(3)
    assert scores(PrefixCacheScorer(), pool, [0, 50, 100], 100) == pytest.approx([0.0, 0.5, 1.0])
    assert scores(PrefixCacheScorer(0.5, 200), pool, [0, 50, 100], 100) == pytest.approx(
        [0.0, 0.5 * 0.0625 + 0.25, 0.5 * 0.25 + 0.5]
    )


def test_a_prompt_without_whole_blocks_matches_nowhere() -> None:
    assert scores(PrefixCacheScorer(), FakePool(2), [0, 0], 0) == [0.0, 0.0]
