"""Queries of ours: for each pool and model there is, again and again; a failure leaves what was known to grow old."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.queried import Queried
from infscale.periodic import FetchError
from infscale.prometheus.api_answer import Row
from infscale.prometheus.query_runs import Models, QueryRuns, RunMeans
from infscale.prometheus.query_settings import MAX_INSTANCES, QuerySettings

A, B = ObjectKey("llm", "a"), ObjectKey("llm", "b")
STATE = DiscoveryState(
    tuple(Endpoint(EndpointKey("llm", f"{pool}-0"), "127.0.0.1", 1, {"pool": pool}) for pool in "ab"),
    tuple(Pool(ObjectKey("llm", pool), {"pool": pool}) for pool in "ab"),
)


@dataclass
class World:
    """A server that counts what it is asked, and a sink that keeps what is said."""

    rows: dict[str, Sequence[Row]] = field(default_factory=dict[str, Sequence[Row]])
    failing: dict[str, str] = field(default_factory=dict[str, str])
    said: dict[str, Mapping[ObjectKey, Queried]] = field(default_factory=dict[str, Mapping[ObjectKey, Queried]])
    asked: list[str] = field(default_factory=list[str])

    async def instant(self, query: str) -> Sequence[Row]:
        self.asked.append(query)
        await asyncio.sleep(0)
        if query in self.failing:
            raise FetchError(self.failing[query])
        return self.rows.get(query, ())

    def record_queried(self, query: str, said: Mapping[ObjectKey, Queried]) -> None:
        self.said[query] = said

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    world: World, *queries: QuerySettings, models: Models = lambda pool: (f"model-{pool.name}",)
) -> AsyncGenerator[QueryRuns, None]:
    means = RunMeans({"": world}, world, models, time.monotonic, random.Random(1))
    async with QueryRuns(queries, means) as runs:
        runs.sync(STATE)
        yield runs


def query(text: str, name: str = "m", **more: object) -> QuerySettings:
    return QuerySettings(name, text, interval_seconds=0.05, **more)  # type: ignore[arg-type] # fields by name


async def test_a_query_is_asked_for_each_pool_that_it_names_and_shows_the_age_of_its_samples() -> None:
    world = World({'x{p="a"}': [Row({}, 1.0, 100.0)], 'timestamp(x{p="a"})': [Row({}, 90.0, 100.0)]})
    async with running(world, query('x{p="${pool}"}')):
        await world.until(lambda: "m" in world.said)
        began = time.monotonic()
    assert world.said["m"][B].parts == {}
    reading = world.said["m"][A].parts[None]
    assert (reading.value, round(began - reading.at)) == (1.0, 10)


async def test_a_query_without_placeholders_is_asked_once_for_all() -> None:
    rows = [Row({"namespace": "llm", "pod": f"{pool}-0"}, 2.0, 1.0) for pool in "ab"]
    world = World({"sum(x) / 2": rows})
    async with running(world, query("sum(x) / 2", of="pod")):
        await world.until(lambda: "m" in world.said)
    assert world.asked[:1] == ["sum(x) / 2"]
    assert {pool: list(each.pods) for pool, each in world.said["m"].items()} == {
        A: [ObjectKey("llm", "a-0")],
        B: [ObjectKey("llm", "b-0")],
    }


async def test_models_are_those_of_the_pool() -> None:
    world = World({'x{m="model-a"}': [Row({}, 1.0, 1.0)], 'x{m="model-b"}': [Row({}, 2.0, 1.0)]})
    async with running(world, query('x{m="${model}"}', of="model")):
        await world.until(lambda: "m" in world.said)
    assert [each.value for said in world.said["m"].values() for each in said.parts.values()] == [1.0, 2.0]
    assert [list(each.parts) for each in world.said["m"].values()] == [["model-a"], ["model-b"]]


async def test_what_is_beyond_the_limit_is_the_problem_beside_that_of_what_was_asked() -> None:
    world = World({'x{m="m0"}': [Row({}, 1.0, 1.0)]}, failing={'x{m="m1"}': "HTTP status 500"})

    def models(pool: ObjectKey) -> Sequence[str]:
        return [f"m{each}" for each in range(MAX_INSTANCES + 2)] if pool == A else ("of-b",)

    async with running(world, query('x{m="${model}"}', of="model"), models=models):
        await world.until(lambda: "m" in world.said)
    assert [each.value for each in world.said["m"][A].parts.values()] == [1.0]
    failure = world.said["m"][B].failure
    assert failure == "HTTP status 500; of 503 queries for pools and models 3 are left out, at most 500 are asked"


async def test_one_pool_that_fails_keeps_its_value_and_says_why() -> None:
    world = World({f'x{{p="{pool}"}}': [Row({}, 1.0, 1.0)] for pool in "ab"})
    async with running(world, query('x{p="${pool}"}')):
        await world.until(lambda: "m" in world.said)
        before = world.said["m"][B].parts[None]
        world.rows['x{p="a"}'] = [Row({}, 5.0, 1.0)]
        world.failing['x{p="b"}'] = "HTTP status 500"
        await world.until(lambda: world.said["m"][A].parts[None].value == 5.0)
        await world.until(lambda: world.said["m"][B].failure == "HTTP status 500")
        assert world.said["m"][B].parts[None].at <= before.at + 1.0


async def test_all_that_fails_is_a_failure_of_the_query_and_of_no_other() -> None:
    world = World({"y": [Row({"namespace": "llm", "pool": "a"}, 3.0, 1.0)]}, failing={"x": "connection refused"})
    async with running(world, query("x"), query("y", "other")) as runs:
        await world.until(lambda: len(world.said) == 2)
        assert world.said["m"][A] == Queried(failure="connection refused")
        assert world.said["other"][A].parts[None].value == 3.0
        assert {name: each.cause for name, each in runs.health().items()} == {
            "m": "connection refused",
            "other": None,
        }


async def test_pools_that_come_are_asked_for() -> None:
    world = World({'x{p="b"}': [Row({}, 1.0, 1.0)]})
    async with running(world, query('x{p="${pool}"}')) as runs:
        runs.sync(DiscoveryState(pools=STATE.pools[:1]))
        await world.until(lambda: list(world.said.get("m", ())) == [A])
        runs.sync(STATE)
        await world.until(lambda: B in world.said["m"] and bool(world.said["m"][B].parts))
