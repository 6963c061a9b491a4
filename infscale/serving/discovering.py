"""Where discovery comes from: the file or the cluster that the configuration names."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from infscale.config.settings import ServeConfig
from infscale.discovery.file import FileDiscovery
from infscale.discovery.state import read_state
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.kube.api.client import KubeClient
from infscale.kube.conditions import Words
from infscale.kube.discovery import FollowSettings, KubernetesDiscovery
from infscale.kube.rights import Right


@dataclass(frozen=True, slots=True)
class Discovering:
    """Discovery as it runs: its states, how many versions of something it refused, and how long each of its watches
    has been without an answer (seconds). `unknown_load` takes the pools none of whose endpoints' load is known, and
    `rollouts` how far rollouts are. `needs` is what it has to be allowed in the cluster."""

    states: AsyncIterator[DiscoveryState]
    refusals: Callable[[], int]
    disconnected_seconds: Callable[[], Mapping[str, float]]
    unknown_load: Callable[[frozenset[ObjectKey]], None]
    needs: frozenset[Right] = frozenset()
    rollouts: Callable[[Mapping[ObjectKey, Words]], None] = lambda _: None


@asynccontextmanager
async def discovering(
    config: ServeConfig,
    client: KubeClient | None,
    clock: Callable[[], float],
    rng: random.Random,
    *,
    clusters: bool = False,
) -> AsyncGenerator[Discovering, None]:
    """Discover until the block ends; `client` is there where the configuration has a cluster.

    With `clusters` each endpoint of a file stands for a remote cluster.
    """
    settings = config.discovery
    if settings.file is not None:
        file = FileDiscovery(
            settings.file,
            read=partial(
                read_state,
                default_pool=settings.default_pool,
                any_namespace=settings.any_namespace,
                clusters=clusters,
            ),
            interval_seconds=settings.poll_interval_seconds,
        )
        states = file.states() if settings.watch else _first_only(file.states())
        yield Discovering(states, lambda: file.refusals, dict, lambda _: None)
        return
    if settings.kubernetes is None or client is None:
        raise ValueError("discovery is by file or by cluster")
    follow = FollowSettings(
        settings.kubernetes.namespaces,
        {key: source.pods for key, source in config.sources.items() if source.pods is not None},
        settings.kubernetes.write_status,
        only=settings.kubernetes.only,
        pools=tuple(each.pool for each in settings.kubernetes.pools),
        workloads=tuple(each.workload for each in settings.kubernetes.workloads),
        drain_cordoned=settings.kubernetes.drain_cordoned,
    )
    async with KubernetesDiscovery(client, follow, clock, rng) as cluster:
        states = cluster.states()
        if follow.only is not None:
            states = _of_pool(states, follow.only.key)
        yield Discovering(
            states,
            lambda: cluster.refusals,
            cluster.disconnected_seconds,
            cluster.load_is_unknown,
            cluster.needs(),
            cluster.rollouts_are,
        )


async def _first_only(states: AsyncIterator[DiscoveryState]) -> AsyncIterator[DiscoveryState]:
    """The first state, which then stays."""
    yield await anext(states)
    await asyncio.Event().wait()


async def _of_pool(states: AsyncIterator[DiscoveryState], pool: ObjectKey) -> AsyncIterator[DiscoveryState]:
    """Each state without any pool but `pool`."""
    async for state in states:
        yield state.of_pool(pool)
