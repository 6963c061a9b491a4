"""Filter and scorer by attributes: which there are, what they compare, and what becomes of unknown values."""

import math

import numpy as np
import pytest

from picker.scheduling.endpoint_attributes import (
    ALIASES,
    COLUMNS,
    Attribute,
    EndpointAttributeFilter,
    EndpointAttributeScorer,
    Operator,
    attribute,
)
from picker.scheduling.profile import bounded
from tests.fakes.pools import FakePool, Numbers, context


def named(name: str) -> Attribute:
    found = attribute(name)
    assert found is not None
    return found


def test_attributes_are_published_metrics_the_references_names_and_labels() -> None:
    pool = FakePool(2, waiting=[3, None], kv=[0.25, 0.5], in_flight_tokens=[7, 8], labels=[{"tier": "2.5"}, {}])
    decision = context(pool)
    for name, expected in {
        "waiting_requests": [3.0, math.nan],
        "WaitingQueueSize": [3.0, math.nan],
        "KVCacheUsagePercent": [0.25, 0.5],
        "in_flight_tokens": [7.0, 8.0],
        "label:tier": [2.5, math.nan],
    }.items():
        assert named(name)(decision, pool.rows).tolist() == pytest.approx(expected, nan_ok=True)
    assert set(ALIASES.values()) <= set(COLUMNS)
    assert [attribute("label:"), attribute("queue_latency_p90_seconds"), attribute("x")] == [None, None, None]


def test_what_pages_are_read_for_comes_before_what_has_the_same_name() -> None:
    pool = FakePool(3, waiting=[1, 1, 1], attributes=[{"heat": 61.5, "WaitingQueueSize": 9.0}, {}, {"heat": -1.0}])
    decision = context(pool)
    on_pages = frozenset({"heat", "WaitingQueueSize"})
    for name, expected in {"heat": [61.5, math.nan, -1.0], "WaitingQueueSize": [9.0, math.nan, math.nan]}.items():
        found = attribute(name, on_pages)
        assert found is not None
        for rows in (pool.rows, pool.rows[::-1]):
            values = found(decision, rows).tolist()
            assert values == pytest.approx([expected[row] for row in rows.tolist()], nan_ok=True)
    assert attribute("heat") is None


def test_stale_values_are_unknown() -> None:
    heat = [{"heat": 5.0}, {"heat": 5.0}]
    pool = FakePool(2, waiting=[3, 3], observed_at=[10.0, 1.0], gpu_used=[1, 1], gpu_total=[2, 2], attributes=heat)
    decision = context(pool, now=11.0)
    on_page = attribute("heat", {"heat"})
    assert on_page is not None
    assert on_page(decision, pool.rows).tolist() == pytest.approx([5.0, math.nan], nan_ok=True)
    assert np.isnan(named("waiting_requests")(decision, pool.rows)).tolist() == [False, True]
    assert named("gpu_memory_used_ratio")(decision, pool.rows).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("operator", "rows"),
    [
        ("LessThan", [0, 3]),
        ("LessThanOrEqual", [0, 1, 3]),
        ("GreaterThan", [2, 3]),
        ("GreaterThanOrEqual", [1, 2, 3]),
        ("Equal", [1, 3]),
        ("NotEqual", [0, 2, 3]),
    ],
)
def test_a_filter_compares_and_lets_the_unknown_pass(operator: Operator, rows: list[int]) -> None:
    pool = FakePool(4, waiting=[1, 2, 3, None])
    each = EndpointAttributeFilter(named("waiting_requests"), operator, 2.0)
    assert each.keep(context(pool), pool.rows).tolist() == rows
    strict = EndpointAttributeFilter(named("waiting_requests"), operator, 2.0, pass_on_missing=False)
    assert strict.keep(context(pool), pool.rows).tolist() == rows[:-1]


def test_a_filter_may_fall_back_to_all() -> None:
    pool = FakePool(2, waiting=[5, 6])
    none = EndpointAttributeFilter(named("waiting_requests"), "LessThan", 2.0)
    assert none.keep(context(pool), pool.rows).tolist() == []
    all_of_them = EndpointAttributeFilter(named("waiting_requests"), "LessThan", 2.0, fallback_on_empty=True)
    assert all_of_them.keep(context(pool), pool.rows).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("values", "lower", "fixed", "expected"),
    [
        pytest.param([10, 5, 0], True, None, [0.0, 0.5, 1.0], id="lower is better"),
        pytest.param([10, 5, 0], False, None, [1.0, 0.5, 0.0], id="higher is better"),
        pytest.param([3, 3, 3], True, None, [1.0, 1.0, 1.0], id="equal"),
        pytest.param([-5, 25, 200], True, (0.0, 100.0), [1.0, 0.75, 0.0], id="fixed, lower"),
        pytest.param([-5, 25, 200], False, (0.0, 100.0), [0.0, 0.25, 1.0], id="fixed, higher"),
        pytest.param([4, None, 2], True, None, [0.0, math.nan, 1.0], id="unknown stays unknown"),
        pytest.param([4, None, 2], False, (0.0, 8.0), [0.5, math.nan, 0.25], id="unknown, fixed"),
    ],
)
def test_a_scorer_puts_the_attribute_on_a_line(
    values: Numbers, lower: bool, fixed: tuple[float, float] | None, expected: list[float]
) -> None:
    pool = FakePool(3, waiting=values)
    found = EndpointAttributeScorer(named("waiting_requests"), lower, fixed).score(context(pool), pool.rows)
    assert found.tolist() == pytest.approx(expected, nan_ok=True)
    assert not np.isnan(bounded(found)).any()
