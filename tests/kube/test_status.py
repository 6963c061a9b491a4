"""What is written to statuses, what is not, and what becomes of refusals."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from infscale.backoff import Backoff
from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import Conflict, Forbidden, KubeError, NotFound, Rejected, Unreachable
from infscale.kube.api.resources import OBJECTIVES
from infscale.kube.api.verbs import PatchKind
from infscale.kube.conditions import Judged, Verdict
from infscale.kube.status import StatusSettings, StatusWriter
from infscale.kube.watched_objects import Condition, Standing

GOOD = Verdict(True, "Accepted", "in effect for InferencePool pool")
BAD = Verdict(False, "PoolNotFound", "there is no InferencePool pool in namespace chat")


class FakeServer:
    """Keeps conditions by path, refuses what was made for another version, and fails as it is told."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.conditions: dict[str, tuple[Condition, ...]] = {}
        self.patches: list[str] = []
        self.failures: list[KubeError] = []

    async def patch(self, path: str, body: dict[str, Any], *, kind: PatchKind = PatchKind.MERGE) -> dict[str, Any]:
        assert kind is PatchKind.MERGE
        self.patches.append(path)
        if self.failures:
            raise self.failures.pop(0)
        if body["metadata"]["resourceVersion"] != str(self.versions.setdefault(path, 1)):
            raise Conflict("the object has been modified")
        self.versions[path] += 1
        self.conditions[path] = tuple(
            Condition(
                each["type"],
                each["status"],
                each["reason"],
                each["message"],
                each["lastTransitionTime"],
                each.get("observedGeneration"),
            )
            for each in body["status"]["conditions"]
        )
        return {}

    def judged(self, name: str, verdict: Verdict, generation: int = 1) -> Judged:
        """The verdict on an object as a watch shows it now."""
        bare = Judged(OBJECTIVES, ObjectKey("chat", name), Standing(1, "", ()), verdict)
        version = self.versions.setdefault(bare.path, 1)
        standing = Standing(generation, str(version), self.conditions.get(bare.path, ()))
        return Judged(OBJECTIVES, bare.key, standing, verdict)

    def said(self, name: str) -> list[tuple[str, str]]:
        path = self.judged(name, GOOD).path
        return [(each.status, each.reason) for each in self.conditions.get(path, ())]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


SETTINGS = StatusSettings(pace_seconds=0.0, backoff=Backoff(base_seconds=0.001, cap_seconds=0.001))


@asynccontextmanager
async def writing(server: FakeServer, clock: Callable[[], float] | None = None) -> AsyncGenerator[StatusWriter]:
    writer = StatusWriter(server, clock or asyncio.get_running_loop().time, random.Random(1), SETTINGS)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(writer.run())
        yield writer
        task.cancel()


async def settle() -> None:
    """Let everything that needs no time happen."""
    for _ in range(30):
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


async def test_verdicts_are_written_once(server: FakeServer) -> None:
    async with writing(server) as writer:
        writer.sync([server.judged("a", GOOD), server.judged("b", BAD)])
        await settle()
        assert (server.said("a"), server.said("b")) == ([("True", "Accepted")], [("False", "PoolNotFound")])
        writer.sync([server.judged("a", GOOD), server.judged("b", BAD)])
        await settle()
    assert [path.rpartition("chat/")[2] for path in server.patches] == [
        "inferenceobjectives/a/status",
        "inferenceobjectives/b/status",
    ]


async def test_a_new_verdict_is_written_at_once(server: FakeServer) -> None:
    async with writing(server) as writer:
        writer.sync([server.judged("a", BAD)])
        await settle()
        writer.sync([server.judged("a", GOOD)])
        await settle()
    assert server.said("a") == [("True", "Accepted")]


async def test_a_watch_that_lags_behind_does_not_make_it_write_again(server: FakeServer) -> None:
    async with writing(server) as writer:
        seen_before = server.judged("a", GOOD)
        for _ in range(3):
            writer.sync([seen_before])
            await settle()
    assert len(server.patches) == 1


async def test_replicas_agree_without_a_fight(server: FakeServer) -> None:
    async with writing(server) as first, writing(server) as second:
        for _ in range(5):
            judged = [server.judged("a", GOOD), server.judged("b", BAD)]
            first.sync(judged)
            second.sync(judged)
            await settle()
        assert (server.said("a"), server.said("b")) == ([("True", "Accepted")], [("False", "PoolNotFound")])
        assert len(server.patches) <= 4


async def test_replicas_that_disagree_take_turns_at_most_once_a_minute(server: FakeServer) -> None:
    clock = Clock()
    async with writing(server, clock) as first, writing(server, clock) as second:
        for _ in range(20):
            first.sync([server.judged("a", GOOD)])
            await settle()
            second.sync([server.judged("a", BAD)])
            await settle()
        assert len(server.patches) == 2
        clock.now += 61
        first.sync([server.judged("a", GOOD)])
        await settle()
        assert (len(server.patches), server.said("a")) == (3, [("True", "Accepted")])


async def test_missing_rights_are_said_once_and_tried_again_later(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    server.failures = [Forbidden("inferenceobjectives is forbidden"), Forbidden("inferenceobjectives is forbidden")]
    async with writing(server, clock) as writer:
        for passed in (0, 1, 301, 301):
            clock.now += passed
            writer.sync([server.judged("a", GOOD), server.judged("b", GOOD)])
            await settle()
    assert caplog.messages == [
        "statuses are not written: inferenceobjectives is forbidden; allow the verb patch on "
        "inferenceobjectives/status of the API group llm-d.ai, or set write_status to false"
    ]
    assert (server.said("a"), server.said("b")) == ([("True", "Accepted")], [("True", "Accepted")])
    assert len(server.patches) == 4


@pytest.mark.parametrize("error", [Conflict("modified"), NotFound("gone")], ids=["changed", "gone"])
async def test_an_object_that_changed_meanwhile_is_left_to_its_next_version(
    server: FakeServer, error: KubeError, caplog: pytest.LogCaptureFixture
) -> None:
    server.failures = [error]
    async with writing(server) as writer:
        writer.sync([server.judged("a", GOOD)])
        await settle()
        assert (len(server.patches), server.said("a")) == (1, [])
        writer.sync([server.judged("a", GOOD)])
        await settle()
    assert server.said("a") == [("True", "Accepted")]
    assert not caplog.messages


async def test_an_unreachable_server_is_tried_again(server: FakeServer) -> None:
    server.failures = [Unreachable("connection refused"), Unreachable("too many requests", retry_after_seconds=0.01)]
    async with writing(server) as writer:
        writer.sync([server.judged("a", GOOD)])
        await eventually(lambda: server.said("a") == [("True", "Accepted")])
    assert len(server.patches) == 3


async def test_a_status_that_is_refused_for_its_content_is_said_and_not_repeated(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.failures = [Rejected("status.conditions: Invalid value")]
    with caplog.at_level(logging.WARNING):
        async with writing(server) as writer:
            for _ in range(3):
                writer.sync([server.judged("a", GOOD), server.judged("b", GOOD)])
                await settle()
    assert caplog.messages == [
        "the status of InferenceObjective chat/a cannot be written: status.conditions: Invalid value"
    ]
    assert server.said("b") == [("True", "Accepted")]
    assert len(server.patches) == 2


async def test_objects_that_are_gone_are_forgotten(server: FakeServer) -> None:
    clock = Clock()
    async with writing(server, clock) as writer:
        server.failures = [Unreachable("down")]
        writer.sync([server.judged("a", GOOD)])
        await settle()
        clock.now += 60
        writer.sync([])
        await settle()
    assert len(server.patches) == 1
