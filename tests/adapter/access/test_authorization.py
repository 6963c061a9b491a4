"""Who may do what, as the cluster says."""

import asyncio
import random
from typing import Any

import pytest

from adapter.access.authorization import MAX_REMEMBERED_CHARACTERS, Authorizer
from adapter.access.identity import ANONYMOUS, MASTERS, User
from adapter.access.request_attributes import Attributes, PathAttributes, ResourceAttributes
from adapter.access.reviews import Patience, Reviews
from adapter.errors import Forbidden, InternalError
from infscale.kube.api import errors as kube
from tests.fakes.cluster import FakeCluster

BOB = User("bob", groups=("dev",))
PODS = ResourceAttributes("get", "custom.metrics.k8s.io", "v1beta2", "pods", "m", "*", "ns")


class World:
    """An authorizer of a cluster where bob may read the metrics of pods."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cluster = FakeCluster()
        self.cluster.allows = lambda spec: (
            spec["user"] == "bob" and spec.get("resourceAttributes", {}).get("resource") == "pods"
        )
        patience = Patience(tries=1)
        self.authorizer = Authorizer(
            Reviews(self.cluster, random.Random(1), patience),
            Reviews(self.cluster, random.Random(1), patience, at_once=1),
            lambda: self.now,
        )

    async def allows(self, user: User = BOB, attributes: Attributes = PODS) -> bool:
        try:
            await self.authorizer.check(user, attributes)
        except Forbidden:
            return False
        return True


async def test_the_cluster_decides() -> None:
    world = World()
    assert await world.allows()
    assert not await world.allows(User("eve"))
    assert not await world.allows(BOB, PathAttributes("get", "/metrics"))


async def test_masters_need_no_review() -> None:
    world = World()
    assert await world.allows(User("admin", groups=("a", MASTERS)), PathAttributes("get", "/metrics"))
    assert world.cluster.reviews == []


async def test_yes_and_no_hold_for_ten_seconds() -> None:
    world = World()
    for world.now in (0.0, 9.9):
        assert await world.allows()
        assert not await world.allows(User("eve"))
    assert len(world.cluster.reviews) == 2
    world.cluster.allows = lambda spec: spec["user"] == "eve"
    world.now = 10.0
    assert not await world.allows()
    assert await world.allows(User("eve"))


async def test_every_part_of_the_question_counts() -> None:
    """Neither another group, namespace nor verb is answered from what was remembered."""
    world = World()
    for user, attributes in (
        (BOB, PODS),
        (User("bob", groups=("dev", "ops")), PODS),
        (User("bob", uid="2", groups=("dev",)), PODS),
        (User("bob", groups=("dev",), extra=(("a", ("b",)),)), PODS),
        (BOB, ResourceAttributes("get", PODS.group, PODS.version, "pods", "m", "*", "other")),
        (BOB, ResourceAttributes("list", PODS.group, PODS.version, "pods", "m", "*", "ns")),
        (BOB, PathAttributes("get", "/apis")),
        (BOB, PathAttributes("post", "/apis")),
    ):
        await world.allows(user, attributes)
    assert len(world.cluster.reviews) == 8


async def test_equal_questions_at_once_are_one_review() -> None:
    world = World()
    world.cluster.gate.clear()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(world.allows()) for _ in range(20)]
        await asyncio.sleep(0)
        world.cluster.gate.set()
    assert all(task.result() for task in tasks)
    assert len(world.cluster.reviews) == 1


@pytest.mark.parametrize(
    ("answer", "allowed", "end"),
    [
        ({"allowed": True}, True, ""),
        ({"allowed": True, "denied": True, "reason": "policy"}, False, ": policy"),
        ({"allowed": False, "reason": "no such role"}, False, ": no such role"),
        ({"allowed": "true"}, False, '"ns"'),
        ({}, False, '"ns"'),
    ],
    ids=["yes", "denied", "no", "nonsense", "nothing"],
)
async def test_only_a_plain_yes_allows(answer: dict[str, Any], allowed: bool, end: str) -> None:
    world = World()
    world.cluster.allows = lambda spec: answer
    if allowed:
        await world.authorizer.check(BOB, PODS)
        return
    with pytest.raises(Forbidden) as caught:
        await world.authorizer.check(BOB, PODS)
    assert str(caught.value).startswith('pods.custom.metrics.k8s.io "*" is forbidden: User "bob" cannot get resource')
    assert str(caught.value).endswith(end)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (kube.Forbidden("secret"), "bind its service account to the ClusterRole system:auth-delegator"),
        (kube.Unreachable("secret"), "the API server does not answer the adapter"),
        (kube.NotFound("secret"), "the API server refused the adapter's question"),
    ],
)
async def test_when_the_cluster_cannot_say_nobody_may_and_the_next_one_asks_again(
    error: kube.KubeError, words: str
) -> None:
    world = World()
    world.cluster.fails = [error]
    with pytest.raises(InternalError, match=words) as caught:
        await world.authorizer.check(BOB, PODS)
    assert str(caught.value).startswith("Internal error occurred: ")
    assert "secret" not in str(caught.value)
    assert await world.allows()


async def test_questions_too_long_to_repeat_are_not_remembered() -> None:
    world = World()
    long = PathAttributes("get", "/" + "a" * MAX_REMEMBERED_CHARACTERS)
    assert not await world.allows(BOB, long)
    assert not await world.allows(BOB, long)
    assert len(world.cluster.reviews) == 2


async def test_anonymous_questions_do_not_hold_up_others() -> None:
    world = World()
    world.cluster.gate.clear()
    async with asyncio.TaskGroup() as group:
        for each in range(5):
            group.create_task(world.allows(ANONYMOUS, PathAttributes("get", f"/{each}")))
        await asyncio.sleep(0)
        bob = group.create_task(world.allows())
        for _ in range(5):
            await asyncio.sleep(0)
        assert [body["spec"]["user"] for _, body in world.cluster.reviews] == ["system:anonymous", "bob"]
        world.cluster.gate.set()
    assert bob.result()
