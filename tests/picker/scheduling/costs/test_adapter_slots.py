"""What a request waits for where the batch does not have its LoRA adapter."""

from collections.abc import Sequence

import numpy as np
import pytest

from infscale.metrics.sample import LoraState
from picker.scheduling.costs.adapter_slots import LOAD_SECONDS, MOST_NAMES, AdapterNames, adapter_seconds
from tests.fakes.pools import FakePool

KNOWN = frozenset({"a", "b", "c", "d"})


def state(running: str = "", waiting: str = "", most: int | None = 2, loaded: str = "") -> LoraState:
    return LoraState(frozenset(running), frozenset(waiting), most, frozenset(loaded))


@pytest.mark.parametrize(
    ("says", "in_flight", "expected"),
    [
        pytest.param(state(), "", LOAD_SECONDS + 1.0, id="the first of two slots"),
        pytest.param(state(), "b", LOAD_SECONDS + 4.0, id="the last slot"),
        pytest.param(state(), "bc", LOAD_SECONDS + 4.0, id="none is free"),
        pytest.param(state(), "ab", 0.0, id="its adapter is in the batch"),
        pytest.param(state(), "abc", 4.0, id="its adapter may be one that waits"),
        pytest.param(state(running="a"), "bcd", 0.0, id="its adapter runs"),
        pytest.param(state(waiting="b"), "", LOAD_SECONDS + 4.0, id="another picker's request waits"),
        pytest.param(state(running="b"), "", LOAD_SECONDS + 1.0, id="what ran has ended"),
        pytest.param(state(), ["base"], LOAD_SECONDS + 1.0, id="the base model takes no slot"),
        pytest.param(state(most=None), "bcd", LOAD_SECONDS, id="slots are not told"),
        pytest.param(state(most=None, loaded="a"), "", 0.0, id="slots are not told, and it is loaded"),
        pytest.param(None, "", LOAD_SECONDS, id="nothing is told"),
        pytest.param(None, "a", 0.0, id="nothing is told, and it is in flight"),
    ],
)
def test_an_adapter_waits_for_its_slot(says: LoraState | None, in_flight: Sequence[str], expected: float) -> None:
    snapshot = FakePool(1, lora=[says], in_flight_models=[list(in_flight)]).snapshot()
    assert adapter_seconds(snapshot, KNOWN, "a", np.array([4.0])).tolist() == pytest.approx([expected])


def test_an_adapter_that_is_idle_everywhere_stays_known() -> None:
    names = AdapterNames()
    for says in (state(running="a", waiting="b", loaded="c"), state()):
        names.follow(FakePool(2, lora=[None, says]).snapshot())
    assert names.names == {"a", "b", "c"}
    assert "base" not in names


def test_pages_that_name_ever_more_adapters_are_remembered_up_to_a_limit() -> None:
    names = AdapterNames()
    for page in range(5):
        said = frozenset(f"{page}-{number}" for number in range(MOST_NAMES // 4))
        names.follow(FakePool(1, lora=[LoraState(said, frozenset(), None)]).snapshot())
    assert len(names.names) == MOST_NAMES
