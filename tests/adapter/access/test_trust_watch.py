"""Following whom the cluster trusts."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from adapter.access.trust import Trust, parse_trust
from adapter.access.trust_watch import TrustFollower
from infscale.backoff import Backoff
from infscale.kube.api.errors import Forbidden, Gone, Unreachable
from tests.adapter.access.test_trust import FULL, OTHER_CA
from tests.fakes.cluster import FakeCluster

CHANGED = {**FULL, "requestheader-client-ca-file": FULL["requestheader-client-ca-file"] + OTHER_CA}


class Following:
    """A follower that runs, and every trust that TLS was given."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.used: list[Trust] = []
        self.shown: list[Trust | None] = []
        self.follower = TrustFollower(
            cluster, self._use, random.Random(1), Backoff(base_seconds=0.001, cap_seconds=0.002)
        )

    def _use(self, trust: Trust) -> None:
        self.shown.append(self.follower.trust)
        self.used.append(trust)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0)


@asynccontextmanager
async def following(cluster: FakeCluster) -> AsyncGenerator[Following]:
    run = Following(cluster)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run.follower.follow())
        yield run
        task.cancel()


async def test_it_reads_one_config_map_and_watches_it_from_there() -> None:
    cluster = FakeCluster(FULL)
    async with following(cluster) as run:
        await run.until(lambda: bool(cluster.watches))
        assert run.follower.trust == parse_trust(FULL)
        assert run.follower.problem is None
    name = {"fieldSelector": "metadata.name=extension-apiserver-authentication"}
    assert cluster.lists == [name]
    assert cluster.watches[0] == {
        **name,
        "resourceVersion": "1",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "300",
    }


async def test_a_change_is_used_by_tls_before_it_counts() -> None:
    cluster = FakeCluster(FULL)
    async with following(cluster) as run:
        await run.until(lambda: bool(cluster.watches))
        cluster.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}})
        cluster.change(CHANGED)
        await run.until(lambda: len(run.used) == 2)
        assert run.follower.trust == parse_trust(CHANGED)
    assert run.used == [parse_trust(FULL), parse_trust(CHANGED)]
    assert run.shown == [None, parse_trust(FULL)]


async def test_the_same_again_is_no_change() -> None:
    cluster = FakeCluster(FULL)
    async with following(cluster) as run:
        await run.until(lambda: bool(cluster.watches))
        cluster.change({**FULL, "unrelated": "1"})
        cluster.end_watch()
        await run.until(lambda: len(cluster.watches) == 2)
    assert len(run.used) == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "was deleted"),
        ({**FULL, "client-ca-file": "nonsense"}, "client-ca-file: it holds no readable certificate"),
        ({**FULL, "requestheader-allowed-names": "nonsense"}, "allowed-names: a JSON array"),
    ],
    ids=["deleted", "unreadable CA", "unreadable names"],
)
async def test_what_cannot_be_read_changes_nothing_and_is_said_once(
    data: Mapping[str, str] | None, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = FakeCluster(FULL)
    async with following(cluster) as run:
        await run.until(lambda: bool(cluster.watches))
        for _ in range(2):
            cluster.change(data)
        await run.until(lambda: run.follower.problem is not None)
        assert problem in str(run.follower.problem)
        assert run.follower.trust == parse_trust(FULL)
        cluster.change(CHANGED)
        await run.until(lambda: run.follower.problem is None)
        assert run.follower.trust == parse_trust(CHANGED)
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "what was read before stays in force" in warnings[0]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (Unreachable("connection refused"), "connection refused; until it can be read, certificates prove nothing"),
        (Forbidden("no"), "bind it to the Role extension-apiserver-authentication-reader in kube-system"),
    ],
)
async def test_a_cluster_that_does_not_answer_is_asked_again(error: Exception, problem: str) -> None:
    cluster = FakeCluster(FULL)
    cluster.fails = [error] * 3  # type: ignore[list-item]
    async with following(cluster) as run:
        await run.until(lambda: run.follower.problem is not None)
        assert problem in str(run.follower.problem)
        assert run.follower.trust is None
        await run.until(lambda: run.follower.trust is not None)
        assert run.follower.problem is None


@pytest.mark.parametrize("error", [Gone("too old"), Unreachable("reset"), None], ids=["gone", "reset", "over"])
async def test_a_watch_that_ends_is_begun_anew_and_misses_nothing(error: Gone | Unreachable | None) -> None:
    cluster = FakeCluster(FULL)
    async with following(cluster) as run:
        await run.until(lambda: bool(cluster.watches))
        cluster.config_map = CHANGED
        cluster.end_watch(error)
        await run.until(lambda: len(cluster.watches) == 2)
        assert run.follower.trust == parse_trust(CHANGED)
        assert run.follower.problem is None


async def test_an_error_event_ends_the_watch() -> None:
    cluster = FakeCluster(FULL)
    async with following(cluster) as run:
        await run.until(lambda: bool(cluster.watches))
        cluster.send({"type": "ERROR", "object": {"kind": "Status", "code": 410}})
        await run.until(lambda: len(cluster.watches) == 2)


async def test_a_config_map_that_is_not_there_and_one_without_a_proxy_are_said() -> None:
    cluster = FakeCluster(None)
    async with following(cluster) as run:
        await run.until(lambda: bool(cluster.watches))
        assert "there is no ConfigMap kube-system/extension-apiserver-authentication" in str(run.follower.problem)
        cluster.change({"client-ca-file": FULL["client-ca-file"]})
        await run.until(lambda: run.follower.trust is not None)
        assert "has no requestheader-client-ca-file" in str(run.follower.problem)


async def test_a_fault_does_not_end_the_following() -> None:
    cluster = FakeCluster(FULL)
    async with following(cluster) as run:
        await run.until(lambda: bool(cluster.watches))
        cluster.send({"type": "MODIFIED"})
        await run.until(lambda: len(cluster.watches) == 2)
        assert run.follower.trust == parse_trust(FULL)
