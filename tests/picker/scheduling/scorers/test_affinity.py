"""Where cold requests go, and requests that name a label."""

import pytest

from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import RequestFacts
from picker.scheduling.scorers.affinity import HeaderLabelAffinityScorer, NoHitLruScorer
from tests.fakes.pools import NO_HEADERS, FakePool, context, headers


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
