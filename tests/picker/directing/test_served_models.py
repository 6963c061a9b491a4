"""Which models a pool serves, by its pages and its lists."""

import orjson
import pytest

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.gauges import NOTHING_SAID
from infscale.metrics.published.answers import models
from infscale.metrics.published.catalogue import BY_NAME, MODEL_LIST
from infscale.metrics.published.inspection import snapshot_document
from infscale.metrics.sample import EngineSample, ListedModels, LoraState, ModelLoad
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.served_models import KnownAdapters, ServedModels, accounted, serves
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


def test_names_on_lists_are_names_to_book_under() -> None:
    """As of an engine whose page names no model."""
    store = MetricStore("s")
    keys = [EndpointKey("llm", name) for name in ("a", "b")]
    endpoints = tuple(Endpoint(key, f"10.0.0.{number}", 8000) for number, key in enumerate(keys, 1))
    store.sync(DiscoveryState(endpoints, (Pool(ObjectKey("llm", "chat"), {}),)))
    store.record_scrape(keys[0], EngineSample(NOTHING_SAID), 1.0)
    [before] = store.snapshots()
    store.record_beside(MODEL_LIST, keys[0], ListedModels(frozenset({"llama", "idle-lora"})), 2.0)
    [snapshot] = store.snapshots()
    assert accounted(before, 0, "llama") == ""
    assert [accounted(snapshot, row, "llama") for row in (0, 1)] == ["llama", "llama"]
    assert accounted(snapshot, 0, "made-up") == ""
    assert serves(snapshot, "idle-lora", Lists(frozenset({"other"})))
    # No page names a model: either endpoint may serve others, too.
    assert ServedModels.of(snapshot).silent == {0, 1}
    assert models(BY_NAME["in_flight_requests"], before) == (None,)
    assert models(BY_NAME["in_flight_requests"], snapshot) == ("idle-lora", "llama")
    assert models(BY_NAME["waiting_requests"], snapshot) == (None,)
    [shown, other] = orjson.loads(orjson.dumps(snapshot_document(snapshot, 5.0)))["endpoints"]
    assert (shown["listed_models"], shown["list_age_seconds"]) == (["idle-lora", "llama"], 3.0)
    assert (other["listed_models"], other["list_age_seconds"]) == ([], None)
    store.record_beside(MODEL_LIST, keys[0], ListedModels(frozenset()), 2.0)
    [after] = store.snapshots()
    assert accounted(after, 0, "llama") == ""


def test_adapters_are_those_that_a_page_says_are_and_not_base_models() -> None:
    """Neither are names of a list, which does not tell the two apart."""
    store, key, pool = MetricStore("s"), EndpointKey("llm", "a"), ObjectKey("llm", "chat")
    known = KnownAdapters(store)
    assert not known.is_lora(pool, "running")
    store.sync(DiscoveryState((Endpoint(key, "10.0.0.1", 8000),), (Pool(pool, {}),)))
    store.record_scrape(key, EngineSample(NOTHING_SAID, models={"base": ModelLoad(0.0, 1.0)}, lora=LORA), 1.0)
    store.record_beside(MODEL_LIST, key, ListedModels(frozenset({"base", "listed"})), 2.0)
    names = ("running", "waiting", "base", "listed", "made-up", "")
    assert [each for each in names if known.is_lora(pool, each)] == ["running", "waiting"]
    assert not known.is_lora(ObjectKey("other", "pool"), "running")
