"""Filters drop the candidates they should, and only those."""

import pytest

from infscale.endpoint import Phase
from infscale.labels import Selector
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from picker.scheduling.filters.eligibility import (
    FreshMetricsFilter,
    HeaderTestingFilter,
    LabelFilter,
    ReadyFilter,
    Role,
    RoleFilter,
    SaturationFilter,
    UtilizationFilter,
    UtilizationLimit,
)
from picker.scheduling.plugin import RequestFacts
from picker.scheduling.stages import Filter
from tests.fakes.pools import FakePool, context, headers


def kept(each: Filter, pool: FakePool, now: float = 0.0) -> list[int]:
    return each.keep(context(pool, now=now), pool.rows).tolist()


def test_only_ready_endpoints_stay() -> None:
    assert kept(ReadyFilter(), FakePool(3, phases=[Phase.STARTING, Phase.READY, Phase.DRAINING])) == [1]


def test_stale_and_never_observed_endpoints_go() -> None:
    pool = FakePool(3, observed_at=[9.0, 5.0, None])
    assert kept(FreshMetricsFilter(), pool, now=10.0) == [0]
    assert kept(FreshMetricsFilter(max_age_seconds=5.0), pool, now=10.0) == [0, 1]


def test_label_selectors_choose_and_follow_a_new_snapshot() -> None:
    each = LabelFilter(Selector.from_label_selector({"gpu": "h200"}, [("tier", "NotIn", ["spot"])]).matches)
    assert kept(each, FakePool(3, labels=[{"gpu": "h200"}, {"gpu": "a10"}, {"gpu": "h200", "tier": "spot"}])) == [0]
    assert kept(each, FakePool(2, labels=[{}, {"gpu": "h200"}])) == [1]


@pytest.mark.parametrize(("role", "rows"), [("decode", [0, 1, 3, 5]), ("prefill", [2, 3, 5]), ("encode", [4, 5])])
def test_roles_come_from_the_label_and_the_unlabelled_decode(role: Role, rows: list[int]) -> None:
    values = [None, "decode", "prefill", "prefill-decode", "encode", "encode-prefill-decode"]
    pool = FakePool(6, labels=[{} if value is None else {"llm-d.ai/role": value} for value in values])
    assert kept(RoleFilter(role), pool) == rows


def test_a_utilisation_limit_drops_only_what_is_known_to_be_over_it() -> None:
    pool = FakePool(4, waiting=[1, 5, None, 6], kv=[0.5, 0.5, 0.99, 0.1])
    limits = (UtilizationLimit("waiting-queue", 5), UtilizationLimit("kv-cache-utilization", 0.9))
    assert kept(UtilizationFilter(limits), pool) == [0, 1]
    assert kept(UtilizationFilter((UtilizationLimit("waiting-queue", 5),)), pool) == [0, 1, 2]


def test_all_stay_when_all_are_over_and_the_filter_falls_back() -> None:
    pool = FakePool(2, in_flight_requests=[3, 4], running=[1, 1])
    limit = (UtilizationLimit("active-requests", 2), UtilizationLimit("running-requests", 2))
    assert kept(UtilizationFilter(limit), pool) == []
    assert kept(UtilizationFilter(limit, fallback_on_empty=True), pool) == [0, 1]


def test_saturated_endpoints_go_unless_all_are() -> None:
    pool = FakePool(3, waiting=[4, 5, 7], kv=[0.1, 0.1, 0.1])
    assert kept(SaturationFilter(), pool) == [0]
    assert kept(SaturationFilter(headroom=0.2), pool) == [0, 1]
    pool.waiting = [5, 5, 7]
    assert kept(SaturationFilter(), pool) == [0, 1, 2]
    assert kept(SaturationFilter(or_all=False), pool) == []


def test_saturation_by_concurrency_reads_what_is_in_flight() -> None:
    settings = PoolSettings(saturation=SaturationSettings(SaturationKind.REQUESTS, max_in_flight_requests=2))
    assert kept(SaturationFilter(), FakePool(2, in_flight_requests=[1, 2], settings=settings)) == [0]


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ("10.0.0.2", [1]),
        ("10.0.0.1:8000, 10.0.0.3", [0, 2]),
        ("256.256.256.256", []),
        ("", [0, 1, 2]),
    ],
)
def test_a_test_names_its_endpoints(value: str, rows: list[int]) -> None:
    pool = FakePool(3)
    facts = RequestFacts("m", headers(test_epp_endpoint_selection=value), 0, 0)
    assert HeaderTestingFilter().keep(context(pool, facts=facts), pool.rows).tolist() == rows
