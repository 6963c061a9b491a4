"""Asking the API server: what is tried again, and for how long."""

import asyncio
import random

import pytest

from adapter.access.reviews import Patience, Reviews
from infscale.backoff import Backoff
from infscale.kube.api.errors import Forbidden, KubeError, NotFound, Unreachable
from tests.fakes.cluster import ACCESS, FakeCluster

QUICK = Patience(limit_seconds=5.0, tries=3, backoff=Backoff(base_seconds=0.001, factor=1.5, cap_seconds=0.01))
BODY = {"kind": "SubjectAccessReview", "spec": {}}


def reviews(cluster: FakeCluster, patience: Patience = QUICK, at_once: int = 2) -> Reviews:
    return Reviews(cluster, random.Random(1), patience, at_once)


def test_waits_are_those_of_the_api_server_library() -> None:
    patience = Patience()
    assert (patience.limit_seconds, patience.tries) == (10.0, 5)
    assert [patience.backoff.ceiling(each) for each in range(4)] == [0.5, 0.75, 1.125, 1.6875]


async def test_an_answer_is_its_status() -> None:
    cluster = FakeCluster()
    cluster.allows = lambda spec: True
    assert await reviews(cluster).ask(ACCESS, BODY) == {"allowed": True}
    assert cluster.reviews == [(ACCESS, BODY)]


async def test_silence_is_tried_again() -> None:
    cluster = FakeCluster()
    cluster.fails = [Unreachable("refused"), Unreachable("busy", retry_after_seconds=0.002)]
    assert await reviews(cluster).ask(ACCESS, BODY) == {"allowed": False}
    assert len(cluster.reviews) == 3


async def test_it_gives_up_after_the_last_try() -> None:
    cluster = FakeCluster()
    cluster.fails = [Unreachable(str(each)) for each in range(9)]
    with pytest.raises(Unreachable, match="2"):
        await reviews(cluster).ask(ACCESS, BODY)
    assert len(cluster.reviews) == 3


@pytest.mark.parametrize("error", [Forbidden("no"), NotFound("no")])
async def test_a_no_is_not_tried_again(error: KubeError) -> None:
    cluster = FakeCluster()
    cluster.fails = [error]
    with pytest.raises(type(error)):
        await reviews(cluster).ask(ACCESS, BODY)
    assert len(cluster.reviews) == 1


async def test_all_tries_together_have_one_time_limit() -> None:
    cluster = FakeCluster()
    cluster.gate.clear()
    with pytest.raises(Unreachable, match="did not answer in time"):
        await reviews(cluster, Patience(limit_seconds=0.01)).ask(ACCESS, BODY)


async def test_a_wait_that_outlasts_the_limit_is_not_begun() -> None:
    cluster = FakeCluster()
    cluster.fails = [Unreachable("busy", retry_after_seconds=60.0)]
    async with asyncio.timeout(2):
        with pytest.raises(Unreachable, match="busy"):
            await reviews(cluster).ask(ACCESS, BODY)


async def test_so_many_are_asked_at_once_and_no_more() -> None:
    cluster = FakeCluster()
    cluster.gate.clear()
    asking = reviews(cluster)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(asking.ask(ACCESS, BODY))
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(cluster.reviews) == 2
        cluster.gate.set()
    assert len(cluster.reviews) == 5
