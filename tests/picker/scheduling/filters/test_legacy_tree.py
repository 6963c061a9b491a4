"""The tree of v0.3: its branches, its buckets and what it does with unknown values."""

import numpy as np
import pytest

from infscale.metrics.sample import LoraState
from picker.epp_config.loader import preset
from picker.scheduling.filters.legacy_tree import LegacyTreeFilter, least_bucket
from picker.scheduling.plugin import RequestFacts
from tests.fakes.pools import NO_HEADERS, FakePool, Numbers, context


def kept(pool: FakePool, *, model: str = "m", priority: int = 0, seed: int = 1) -> list[int]:
    facts = RequestFacts(model, NO_HEADERS, 0.0, 0.0, priority)
    return LegacyTreeFilter().keep(context(pool, facts=facts, seed=seed), pool.rows).tolist()


def lora(*running: str, waiting: tuple[str, ...] = (), slots: int = 2) -> LoraState:
    return LoraState(frozenset(running), frozenset(waiting), slots)


@pytest.mark.parametrize(
    ("column", "rows"),
    [
        pytest.param([0, 3, 10], [0, 1], id="a third of the range"),
        pytest.param([0, 4, 10], [0], id="above a third"),
        pytest.param([5, 5, 5], [0, 1, 2], id="all equal"),
        pytest.param([None, 3, 3], [1, 2], id="unknown is not least"),
        pytest.param([None, None, None], [0, 1, 2], id="nothing known"),
    ],
)
def test_the_least_bucket_is_the_lowest_slice_of_the_range(column: Numbers, rows: list[int]) -> None:
    values = np.array([np.nan if value is None else value for value in column])
    assert least_bucket(values, np.arange(3)).tolist() == rows


def test_least_queue_comes_before_least_kv_cache() -> None:
    assert kept(FakePool(3, waiting=[0, 0, 50], kv=[0.9, 0.1, 0.0])) == [1]


def test_a_lora_adapter_comes_before_the_queue_while_queues_are_short() -> None:
    pool = FakePool(3, waiting=[0, 100, 0], lora=[lora("x", "y"), lora("m"), lora("x")])
    assert kept(pool) == [1]
    seldom = {tuple(kept(pool, seed=seed)) for seed in range(3000)}
    assert seldom == {(1,), (2,)}


def test_a_lora_adapter_comes_after_the_queue_where_no_queue_is_short() -> None:
    pool = FakePool(3, waiting=[200, 500, 200], lora=[lora("x"), lora("m"), lora("y", waiting=("m",))])
    assert kept(pool) == [2]


def test_a_lora_adapter_that_is_loaded_and_idle_is_there() -> None:
    loaded = LoraState(frozenset(), frozenset(), None, frozenset({"m"}))
    assert kept(FakePool(3, waiting=[0, 100, 0], lora=[None, loaded, None])) == [1]


def test_endpoints_without_lora_adapters_are_all_the_same() -> None:
    assert kept(FakePool(2, waiting=[1, 1], lora=[None, None])) == [0, 1]


def test_an_unknown_queue_is_not_short() -> None:
    assert kept(FakePool(2, waiting=[None, 120])) == [1]


@pytest.mark.parametrize(
    ("waiting", "kv", "rows"),
    [
        ([5, 6, 0], [0.8, 0.1, 0.81], [0]),
        ([6, 6, 6], [0.1, 0.1, 0.1], []),
        ([None, 0, 0], [0.1, None, 0.2], [2]),
    ],
)
def test_sheddable_requests_need_an_endpoint_with_capacity(waiting: Numbers, kv: Numbers, rows: list[int]) -> None:
    assert kept(FakePool(3, waiting=waiting, kv=kv), priority=-1) == rows


def test_the_preset_picks_any_survivor() -> None:
    (profile,) = preset("legacy-v0.3").scheduler.profiles.values()
    pool = FakePool(3, waiting=[0, 0, 9])
    chosen = {profile.run(context(pool, seed=seed), pool.rows).chosen for seed in range(40)}  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]
    assert chosen == {(0,), (1,)}
