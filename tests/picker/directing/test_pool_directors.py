"""Several pools behind one picker: requests reach the pool they name, and ends reach who decided."""

import random
from dataclasses import replace

import pytest

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.pool_directors import POOL_HEADER, PoolDirectors
from picker.epp_config.loader import PickerConfig, preset
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Rejection
from picker.scheduling.prefix_index import PrefixSettings
from tests.fakes.samples import engine_sample

CHAT, CODE, OTHER_CHAT = ObjectKey("llm", "chat"), ObjectKey("llm", "code"), ObjectKey("test", "chat")


CONFIG = preset("infscale")


def state(*pools: ObjectKey) -> DiscoveryState:
    endpoints = tuple(
        Endpoint(EndpointKey(key.namespace, f"{key.name}-0"), f"10.0.0.{row}", 8000, {"pool": key.name})
        for row, key in enumerate(pools, start=1)
    )
    return DiscoveryState(endpoints, tuple(Pool(key, {"pool": key.name}) for key in pools))


class Bench:
    def __init__(self, *pools: ObjectKey, default: ObjectKey | None = None, config: PickerConfig = CONFIG) -> None:
        self.store = MetricStore("s")
        rng = random.Random(1)
        self.directors = PoolDirectors(lambda pool: PoolDirector(pool, config, self.store, rng), default, self.store)
        self.sync(*pools)

    def sync(self, *pools: ObjectKey) -> None:
        found = state(*pools)
        self.store.sync(found)
        self.directors.sync(found)
        for endpoint in found.endpoints:
            self.store.record_scrape(endpoint.key, engine_sample(0.0, 0.0, 0.0), 0.0)

    def blocks(self, pool: ObjectKey) -> int:
        director = self.directors.director(pool)
        assert director is not None
        return director._dispatches.index.entries  # pyright: ignore[reportPrivateUsage]

    def in_flight(self, pool: ObjectKey) -> float:
        snapshot = self.store.snapshot(pool)
        assert snapshot is not None
        return float(snapshot.in_flight_requests.sum())


def ask(pool: str | None = None) -> InferenceRequest:
    headers = Headers(((POOL_HEADER, pool.encode()),) if pool else ())
    return InferenceRequest("id", "/v1/completions", headers, ParsedBody("completions", "m", b"hello", 2))


def test_a_pool_without_requests_gives_up_what_new_pools_may_keep() -> None:
    """Else pools that come one after another, each filled and then idle, would hold more than all may together."""
    config = replace(CONFIG, prefix=PrefixSettings(total_blocks=200))
    bench = Bench(CHAT, config=config)
    for number in range(20):
        text = random.Random(number).randbytes(4_000)
        request = InferenceRequest("id", "/v1/completions", Headers(()), ParsedBody("completions", "m", text, 1_000))
        bench.directors.direct(request, 0.1)
    before = bench.blocks(CHAT)
    bench.sync(CHAT, CODE)
    for _ in range(20):
        bench.directors.direct(ask("code"), 0.2)
    assert before > 100
    assert bench.blocks(CHAT) <= 100


@pytest.mark.parametrize("name", ["code", "llm/code"])
def test_a_request_reaches_the_pool_it_names_and_its_end_too(name: str) -> None:
    bench = Bench(CHAT, CODE, default=CHAT)
    request = ask(name)
    decision = bench.directors.direct(request, 0.1)
    assert isinstance(decision, Decision)
    assert (bench.in_flight(CHAT), bench.in_flight(CODE)) == (0, 1)
    bench.directors.response_started(decision, 200, None, 0.2)
    bench.directors.finished(request, decision, Outcome("completed", 200), 0.3)
    assert bench.in_flight(CODE) == 0
    assert bench.directors.stats()[CODE].outcomes == {"completed": 1}
    assert bench.directors.stats()[CHAT].outcomes == {}


@pytest.mark.parametrize(
    ("pools", "default", "expected"),
    [
        pytest.param((CHAT, CODE), CODE, CODE, id="the configured default"),
        pytest.param((CHAT,), None, CHAT, id="the only pool"),
        pytest.param((CHAT, CODE), None, None, id="no default among several"),
        pytest.param((CHAT,), CODE, None, id="a default that is not there"),
    ],
)
def test_a_request_that_names_no_pool_means_the_default(
    pools: tuple[ObjectKey, ...], default: ObjectKey | None, expected: ObjectKey | None
) -> None:
    answer = Bench(*pools, default=default).directors.direct(ask(), 0.1)
    if expected is None:
        assert isinstance(answer, Rejection)
        assert answer.status == 404
    else:
        assert isinstance(answer, Decision)
        assert answer.pool == expected


@pytest.mark.parametrize("name", ["nowhere", "chat"], ids=["unknown", "in two namespaces"])
def test_a_name_that_means_no_one_pool_is_not_found(name: str) -> None:
    answer = Bench(CHAT, OTHER_CHAT, default=CHAT).directors.direct(ask(name), 0.1)
    assert isinstance(answer, Rejection)
    assert answer.status == 404


def test_pools_come_and_go_without_disturbing_those_that_stay() -> None:
    bench = Bench(CHAT, CODE, default=CHAT)
    kept, gone = ask("chat"), ask("code")
    decisions = [bench.directors.direct(request, 0.1) for request in (kept, gone)]
    bench.sync(CHAT)
    for request, decision in zip((kept, gone), decisions, strict=True):
        assert isinstance(decision, Decision)
        bench.directors.finished(request, decision, Outcome("completed", 200), 0.3)
    assert bench.in_flight(CHAT) == 0
    assert bench.directors.stats()[CHAT].outcomes == {"completed": 1}
    assert bench.directors.director(CODE) is None


def test_the_end_of_an_exchange_leaves_the_books_of_endpoints_that_outlive_its_pool() -> None:
    bench = Bench(CHAT, CODE)
    found = state(CHAT, CODE)
    endpoint = found.endpoints[1]
    shared = Pool(ObjectKey("llm", "all"), {"pool": "code"})
    bench.store.sync(DiscoveryState(found.endpoints, (*found.pools, shared)))
    bench.directors.sync(DiscoveryState(found.endpoints, (*found.pools, shared)))
    bench.store.record_scrape(endpoint.key, engine_sample(0.0, 0.0, 0.0), 0.0)
    request = ask("code")
    decision = bench.directors.direct(request, 0.1)
    assert isinstance(decision, Decision)
    left = DiscoveryState(found.endpoints, (found.pools[0], shared))
    bench.store.sync(left)
    bench.directors.sync(left)
    assert bench.in_flight(shared.key) == 1
    bench.directors.finished(request, decision, Outcome("completed", 200), 0.3)
    assert bench.in_flight(shared.key) == 0
