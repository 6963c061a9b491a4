"""Which models a pool serves, by its pages and its lists."""

import pytest

from infscale.endpoint import EndpointKey
from infscale.metrics.sample import LoraState
from picker.directing.served_models import ServedModels, accounted, serves
from tests.fakes.pools import FakePool

LORA = LoraState(frozenset({"running"}), frozenset({"waiting"}), 4)


class Lists:
    """Each endpoint has the same list; None: it is unknown."""

    def __init__(self, names: frozenset[str] | None) -> None:
        self._names = names

    def listed(self, key: EndpointKey) -> frozenset[str] | None:
        del key
        return self._names


def test_a_pool_that_names_no_model_may_serve_any() -> None:
    snapshot = FakePool(2).snapshot()
    assert ServedModels.of(snapshot).silent == {0, 1}
    assert serves(snapshot, "made-up", None)
    assert ServedModels.of(snapshot) is ServedModels.of(snapshot)


@pytest.mark.parametrize(
    ("listed", "serves_it"),
    [(None, True), (frozenset({"made-up"}), True), (frozenset({"other"}), False)],
    ids=["an unknown list", "a list that names it", "a list without it"],
)
def test_a_list_says_what_the_page_does_not(listed: frozenset[str] | None, serves_it: bool) -> None:
    assert serves(FakePool(1).snapshot(), "made-up", Lists(listed)) is serves_it


def test_lora_adapters_are_names_to_book_under_and_names_of_clients_are_not() -> None:
    snapshot = FakePool(2, lora=[LORA, None]).snapshot()
    assert [accounted(snapshot, 0, each) for each in ("running", "waiting", "made-up")] == ["running", "waiting", ""]
    assert accounted(snapshot, 1, "running") == "running"
