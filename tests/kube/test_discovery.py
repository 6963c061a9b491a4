"""Discovery from an API server in memory, through real watches."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from infscale.endpoint import DiscoveryState, ObjectKey, OnlyPool, Phase, Pool, Workload
from infscale.errors import StartError
from infscale.kube.discovery import FollowSettings, KubernetesDiscovery
from infscale.labels import Selector
from infscale.sources.source_kind import ExporterPods
from tests.kube import cluster_objects as made
from tests.kube.fake_cluster import FakeCluster

POOLS = ("inference.networking.k8s.io", "inferencepools")
OBJECTIVES = ("llm-d.ai", "inferenceobjectives")
PODS = ("", "pods")
SCALERS = ("autoscaling", "horizontalpodautoscalers")
SETTINGS = FollowSettings(sync_timeout_seconds=5.0)


class States:
    """The states of a discovery, collected as they come."""

    def __init__(self) -> None:
        self.all: list[DiscoveryState] = []

    @property
    def last(self) -> DiscoveryState:
        return self.all[-1]

    async def collect(self, states: AsyncIterator[DiscoveryState]) -> None:
        async for state in states:
            self.all.append(state)

    async def until(self, condition: Callable[[DiscoveryState], bool]) -> DiscoveryState:
        """The state that fulfils `condition`."""
        async with asyncio.timeout(5):
            while not self.all or not condition(self.last):
                await asyncio.sleep(0.002)
        return self.last


@pytest.fixture
async def cluster() -> FakeCluster:
    cluster = FakeCluster()
    await cluster.apply(*POOLS, made.pool())
    await cluster.apply(*PODS, made.pod())
    return cluster


@asynccontextmanager
async def following(
    cluster: FakeCluster, settings: FollowSettings = SETTINGS
) -> AsyncGenerator[tuple[KubernetesDiscovery, States]]:
    states = States()
    clock = asyncio.get_running_loop().time
    discovering = KubernetesDiscovery(cluster, settings, clock, random.Random(1))
    async with discovering as discovery, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(states.collect(discovery.states()))
        yield discovery, states
        task.cancel()


async def test_the_first_state_is_whole(cluster: FakeCluster) -> None:
    owned = made.pod("vllm-1", "10.0.0.2", ownerReferences=made.owner("ReplicaSet", "rs"))
    await cluster.apply(*PODS, owned)
    owner = {"metadata": made.metadata("rs", ownerReferences=made.owner("Deployment", "vllm")), "spec": {}}
    await cluster.apply("apps", "replicasets", owner)
    await cluster.apply("", "namespaces", {"metadata": {"name": "chat", "labels": {"team": "a"}}})
    await cluster.apply(*SCALERS, made.autoscaler())
    async with following(cluster) as (discovery, states):
        state = await states.until(lambda _: True)
        assert [(str(each.key), each.workload) for each in state.endpoints] == [
            ("chat/vllm-0", None),
            ("chat/vllm-1", Workload("Deployment", "vllm")),
        ]
        assert [(each.kind, dict(each.labels)) for each in state.objects] == [("Namespace", {"team": "a"})]
        assert [str(each.key) for each in state.autoscalers] == ["chat/scale"]
        assert set(discovery.disconnected_seconds().values()) <= {0.0}


async def test_kinds_that_are_not_installed_are_none_of_them(cluster: FakeCluster) -> None:
    cluster.missing = {"inferencemodels", "inferencemodelrewrites", "inferenceobjectives"}
    async with following(cluster) as (discovery, states):
        state = await states.until(lambda _: True)
        assert len(state.endpoints) == 1
        assert set(discovery.disconnected_seconds().values()) <= {0.0}


async def test_missing_rights_are_named_at_the_start(cluster: FakeCluster) -> None:
    cluster.forbidden = {"pods", "replicasets"}
    settings = replace(SETTINGS, sync_timeout_seconds=0.1, namespaces=("chat",))
    async with KubernetesDiscovery(cluster, settings, asyncio.get_running_loop().time, random.Random(1)) as discovery:
        with pytest.raises(StartError) as caught:
            await anext(discovery.states())
    assert str(caught.value) == (
        'the cluster could not be read within 0.1 s: pods is forbidden: User "infscale" cannot list resource "pods"; '
        "allow this identity the verbs list and watch on chat/pods, chat/replicasets.apps"
    )


async def test_an_unreachable_server_is_named_at_the_start(cluster: FakeCluster) -> None:
    cluster.down = True
    settings = replace(SETTINGS, sync_timeout_seconds=0.1)
    async with KubernetesDiscovery(cluster, settings, asyncio.get_running_loop().time, random.Random(1)) as discovery:
        with pytest.raises(StartError, match=r"read within 0\.1 s: pods, .*, namespaces, nodes: connection refused$"):
            await anext(discovery.states())


async def test_the_life_of_a_pod_is_followed(cluster: FakeCluster) -> None:
    async with following(cluster) as (_, states):
        await states.until(lambda _: True)
        await cluster.apply(*PODS, made.pod("vllm-1", "", ready="False", phase="Pending"))
        await cluster.apply(*PODS, made.pod("vllm-1", "10.0.0.2", ready="False"))
        await states.until(lambda state: [each.phase for each in state.endpoints] == [Phase.READY, Phase.STARTING])
        await cluster.apply(*PODS, made.pod("vllm-1", "10.0.0.2"))
        await states.until(lambda state: [each.load_seconds for each in state.endpoints] == [90.0, 90.0])
        leaving = made.pod("vllm-1", "10.0.0.2", ready="False", deletionTimestamp=made.READY)
        await cluster.apply(*PODS, leaving)
        await states.until(lambda state: [each.phase for each in state.endpoints] == [Phase.READY, Phase.DRAINING])
        await cluster.remove(*PODS, leaving)
        await states.until(lambda state: len(state.endpoints) == 1)
        assert all(one != other for one, other in zip(states.all, states.all[1:], strict=False))


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_cordoned_node_drains_as_far_as_nodes_may_be_seen(cluster: FakeCluster, allowed: bool) -> None:
    cluster.forbidden = set() if allowed else {"nodes"}
    await cluster.apply(*PODS, made.pod("vllm-1", "10.0.0.2", node="other"))
    await cluster.apply("", "nodes", {"metadata": {"name": "node"}, "spec": {}})
    async with following(cluster) as (_, states):
        await states.until(lambda state: [each.phase for each in state.endpoints] == [Phase.READY, Phase.READY])
        await cluster.apply("", "nodes", {"metadata": {"name": "node"}, "spec": {"unschedulable": True}})
        if not allowed:
            await cluster.apply(*PODS, made.pod("vllm-2", "10.0.0.3", node="other"))
            await states.until(lambda state: len(state.endpoints) == 3)
            assert {each.phase for each in states.all[-1].endpoints} == {Phase.READY}
            return
        await states.until(lambda state: [each.phase for each in state.endpoints] == [Phase.DRAINING, Phase.READY])
        seen = len(states.all)
        await cluster.apply("", "nodes", {"metadata": {"name": "node"}, "spec": {"unschedulable": True}, "status": {}})
        await cluster.apply("", "nodes", {"metadata": {"name": "node"}, "spec": {}})
        await states.until(lambda state: [each.phase for each in state.endpoints] == [Phase.READY, Phase.READY])
        assert len(states.all) == seen + 1, "a heartbeat of a node makes no state"


async def test_a_change_is_a_state_within_fifty_milliseconds(cluster: FakeCluster) -> None:
    async with following(cluster) as (_, states):
        await states.until(lambda _: True)
        clock = asyncio.get_running_loop().time
        delays: list[float] = []
        for row in range(1, 6):
            started = clock()
            await cluster.apply(*PODS, made.pod(f"vllm-{row}", f"10.0.0.{row + 1}"))
            await states.until(lambda state, row=row: len(state.endpoints) == row + 1)  # type: ignore[misc]
            delays.append(clock() - started)
        assert min(delays) < 0.05


async def test_a_burst_makes_few_states(cluster: FakeCluster) -> None:
    async with following(cluster) as (_, states):
        await states.until(lambda _: True)
        for row in range(1, 300):
            await cluster.apply(*PODS, made.pod(f"vllm-{row}", f"10.0.{row // 250}.{row % 250 + 1}"))
        await states.until(lambda state: len(state.endpoints) == 300)
        assert len(states.all) < 30


async def test_a_status_of_an_autoscaler_makes_no_state(cluster: FakeCluster) -> None:
    await cluster.apply(*SCALERS, made.autoscaler())
    async with following(cluster) as (_, states):
        await states.until(lambda _: True)
        for replicas in range(5):
            await cluster.apply(*SCALERS, made.autoscaler(currentReplicas=replicas))
        await cluster.apply(*PODS, made.pod("vllm-1", "10.0.0.2"))
        await states.until(lambda state: len(state.endpoints) == 2)
        assert len(states.all) == 2


async def test_only_the_given_namespaces_are_read(cluster: FakeCluster) -> None:
    await cluster.apply(*PODS, made.pod("elsewhere", namespace="other"))
    await cluster.apply(*POOLS, made.pool("elsewhere", namespace="other"))
    settings = replace(SETTINGS, namespaces=("chat",), exporters={"dcgm": ExporterPods("gpu", {"app": "dcgm"}, 9400)})
    await cluster.apply(*PODS, made.pod("dcgm", "10.9.0.1", namespace="gpu", labels={"app": "dcgm"}))
    async with following(cluster, settings) as (_, states):
        state = await states.until(lambda _: True)
        assert [str(pool.key) for pool in state.pools] == ["chat/pool"]
        assert [(each.kind, str(each.key)) for each in state.objects] == [("Namespace", "chat/chat")]
        assert state.exporters == {"dcgm": ("http://10.9.0.1:9400/metrics",)}
    assert {path for path in cluster.lists if "/namespaces/" not in path} == set()
    assert "/api/v1/namespaces/gpu/pods" in cluster.lists


async def test_an_unreadable_object_keeps_its_last_good_version(cluster: FakeCluster) -> None:
    async with following(cluster) as (discovery, states):
        await states.until(lambda _: True)
        bad = made.pool()
        bad["spec"]["targetPorts"] = []
        await cluster.apply(*POOLS, bad)
        await cluster.apply(*PODS, made.pod("vllm-1", "10.0.0.2"))
        state = await states.until(lambda state: len(state.endpoints) == 2)
        assert state.pools[0].target_ports == (8000,)
        assert discovery.refusals == 1
        assert str(discovery.problem) == "InferencePool chat/pool: spec.targetPorts: expected 1 to 8 ports, got 0"
        await cluster.apply(*POOLS, made.pool("pool", 8001))
        await states.until(lambda state: state.pools[0].target_ports == (8001,))
        assert discovery.problem is None


def said(cluster: FakeCluster, name: str, kind: tuple[str, str] = OBJECTIVES) -> list[tuple[str, str, int | None]]:
    item = cluster.items[*kind, "chat", name]
    conditions: list[Any] = item.get("status", {}).get("conditions", [])
    return [(each["status"], each["reason"], each.get("observedGeneration")) for each in conditions]


async def test_conditions_follow_the_cluster(cluster: FakeCluster) -> None:
    pending = {
        "type": "Ready",
        "status": "Unknown",
        "reason": "Pending",
        "message": "Waiting for controller",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }
    await cluster.apply(*OBJECTIVES, made.objective("a", "later", status={"conditions": [pending]}))
    async with following(cluster) as (_, states):
        await states.until(lambda _: True)
        async with asyncio.timeout(5):
            while said(cluster, "a") != [("False", "PoolNotFound", 3)]:
                await asyncio.sleep(0.002)
            await cluster.apply(*POOLS, made.pool("later"))
            while said(cluster, "a") != [("True", "Accepted", 3)]:
                await asyncio.sleep(0.002)
        assert len(cluster.patches) == 2


async def test_rollouts_are_followed_and_told_how_far_they_are(cluster: FakeCluster) -> None:
    rollouts = ("infscale.dev", "modelrollouts")
    await cluster.apply(*rollouts, made.rollout("v2"))
    await cluster.apply(*rollouts, {**made.rollout("bad"), "spec": {"poolRef": {"name": "pool"}}})
    async with following(cluster) as (discovery, states):
        state = await states.until(lambda _: True)
        assert [str(each.key) for each in state.rollouts] == ["chat/v2"]
        discovery.rollouts_are({ObjectKey("chat", "v2"): ("True", "Progressing", "step 1 of 1")})
        while len(told := said(cluster, "v2", rollouts)) < 2:
            await asyncio.sleep(0.01)
        assert told == [("True", "Accepted", 3), ("True", "Progressing", 3)]
        while [each[1] for each in said(cluster, "bad", rollouts)] != ["Invalid"]:
            await asyncio.sleep(0.01)


async def test_conditions_are_left_alone_where_that_is_wanted(cluster: FakeCluster) -> None:
    await cluster.apply(*OBJECTIVES, made.objective("a"))
    async with following(cluster, replace(SETTINGS, write_status=False)) as (_, states):
        await states.until(lambda _: True)
        await cluster.apply(*PODS, made.pod("vllm-1", "10.0.0.2"))
        await states.until(lambda state: len(state.endpoints) == 2)
    assert cluster.patches == []


async def test_broken_watches_lose_nothing(cluster: FakeCluster) -> None:
    async with following(cluster) as (_, states):
        await states.until(lambda _: True)
        await cluster.break_watches()
        await cluster.apply(*PODS, made.pod("vllm-1", "10.0.0.2"))
        await states.until(lambda state: len(state.endpoints) == 2)


# One pool, with the rights of a picker

ONE = replace(SETTINGS, namespaces=("chat",), write_status=False, only=OnlyPool(ObjectKey("chat", "pool"), POOLS[0]))


async def test_routing_to_one_pool_takes_pods_and_pools(cluster: FakeCluster) -> None:
    await cluster.apply(*OBJECTIVES, made.objective("a"))
    await cluster.apply(*SCALERS, made.autoscaler())
    async with following(cluster, ONE) as (discovery, states):
        state = await states.until(lambda _: True)
        assert [str(each.key) for each in state.endpoints] == ["chat/vllm-0"]
        assert [str(each.key) for each in state.objectives] == ["chat/a"]
        assert state.autoscalers == ()
        assert set(discovery.disconnected_seconds().values()) == {0.0}
    kinds = {path.rpartition("/")[2] for path in cluster.lists}
    routing = {"inferenceobjectives", "inferencemodelrewrites", "inferencemodels", "modelrollouts"}
    assert kinds == {"pods", "inferencepools"} | routing
    assert all("/namespaces/chat/" in path for path in cluster.lists)
    assert not any("x-k8s.io" in path for path in cluster.lists if path.endswith("inferencepools"))
    assert cluster.patches == []


async def test_what_a_picker_may_not_see_is_not_missed(cluster: FakeCluster) -> None:
    cluster.forbidden = {"inferenceobjectives", "inferencemodels"}
    async with following(cluster, ONE) as (discovery, states):
        state = await states.until(lambda _: True)
        assert len(state.endpoints) == 1
        assert set(discovery.disconnected_seconds().values()) == {0.0}


@pytest.mark.parametrize("kind", ["pods", "inferencepools"])
async def test_pods_and_the_pool_must_be_seen(cluster: FakeCluster, kind: str) -> None:
    cluster.forbidden = {kind}
    settings = replace(ONE, sync_timeout_seconds=0.1)
    async with KubernetesDiscovery(cluster, settings, asyncio.get_running_loop().time, random.Random(1)) as discovery:
        with pytest.raises(StartError, match=f"allow this identity the verbs list and watch on chat/{kind}"):
            await anext(discovery.states())


async def test_a_pool_of_the_other_group_can_be_the_one(cluster: FakeCluster) -> None:
    legacy = "inference.networking.x-k8s.io"
    await cluster.apply(legacy, "inferencepools", made.legacy_pool("old", 8001))
    settings = replace(ONE, only=OnlyPool(ObjectKey("chat", "old"), legacy))
    async with following(cluster, settings) as (_, states):
        state = await states.until(lambda _: True)
        assert [str(each.key) for each in state.pools] == ["chat/old"]
        assert [each.port for each in state.endpoints] == [8001]


async def test_a_pool_can_be_made_of_a_selector(cluster: FakeCluster) -> None:
    cluster.forbidden = {"inferencepools"}
    await cluster.apply(*PODS, made.pod("other", "10.0.0.2", labels={"app": "vllm", "canary": "yes"}))
    key = ObjectKey("chat", "epp")
    pool = Pool(key, {}, (8000, 8001), own_ports=True, requirements=Selector.parse("app in (vllm),!canary"))
    async with following(cluster, replace(ONE, only=OnlyPool(key, POOLS[0], pool))) as (_, states):
        state = await states.until(lambda _: True)
        assert [str(each.key) for each in state.endpoints] == ["chat/vllm-0", "chat/vllm-0-rank-1"]
        assert state.members(state.pools[0]) == state.endpoints
