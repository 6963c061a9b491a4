"""The cluster says who may read a picker's /metrics."""

import random
from collections.abc import Mapping

from aiohttp import ClientSession

from infscale.kube.api.errors import Rejected
from infscale.metrics.store.metrics_store import MetricStore
from infscale.serving.metrics_access import MetricsAccess
from infscale.telemetry.own_metrics import OwnMetrics
from infscale.telemetry.telemetry_server import TelemetryListen, TelemetryServer
from tests.fakes.cluster import ACCESS, TOKENS, FakeCluster, JsonObject

READER = {"Authorization": "Bearer good"}


def usual(spec: JsonObject) -> bool:
    """A role that lets one identity read the page."""
    return bool(spec["user"] == "prometheus" and spec["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"})


def cluster() -> FakeCluster:
    made = FakeCluster()
    made.users = {"good": {"username": "prometheus"}, "other": {"username": "somebody"}}
    made.allows = usual
    return made


async def asked(made: FakeCluster, *headers: Mapping[str, str], path: str = "/metrics") -> list[int]:
    """The statuses of requests with these headers."""
    statuses: list[int] = []
    listen = TelemetryListen("127.0.0.1", 0, MetricsAccess(made, random.Random(1)).refusal)
    async with (
        TelemetryServer(listen, MetricStore("s"), OwnMetrics(), lambda: 0.0) as server,
        ClientSession() as session,
    ):
        for each in headers:
            async with session.get(f"{server.url}{path}", headers=each) as response:
                statuses.append(response.status)
    return statuses


async def test_who_is_known_and_allowed_may_read() -> None:
    assert await asked(cluster(), READER) == [200]


async def test_nobody_else_may() -> None:
    wrong = {"Authorization": "Bearer wrong"}
    other = {"Authorization": "Bearer other"}
    assert await asked(cluster(), {}, wrong, other) == [403, 401, 403]


async def test_answers_are_remembered_for_a_while() -> None:
    made = cluster()
    assert await asked(made, READER, READER) == [200, 200]
    assert [path for path, _ in made.reviews] == [TOKENS, ACCESS]


async def test_a_cluster_that_cannot_say_lets_nobody_in() -> None:
    made = cluster()
    made.fails = [Rejected("no"), Rejected("no")]
    assert await asked(made, READER) == [401]


async def test_probes_are_answered_without_asking() -> None:
    made = cluster()
    assert await asked(made, {}, path="/healthz") == [200]
    assert made.reviews == []
