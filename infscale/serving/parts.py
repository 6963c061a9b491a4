"""What the composition is made of: parts, each with one small protocol."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Self

from prometheus_client.registry import Collector

from infscale.endpoint import DiscoveryState
from infscale.kube.rights import Right
from infscale.periodic import ScrapeHealth


class Part:
    """Something that runs on the store for as long as its context is open.

    Parts are entered, and told of each state of discovery, in one order: a part comes after those that it reads from.
    A class that derives from this says what differs from a part that has nothing to do.
    """

    _collectors: Sequence[Collector] = ()
    _needs: frozenset[Right] = frozenset()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return None

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery: bring what runs in line with `state`."""
        return

    def health(self) -> Mapping[str, ScrapeHealth]:
        """How what it asks others for goes, by the names of those."""
        return {}

    def collectors(self) -> Sequence[Collector]:
        """What it has on every page of metrics; the same ones each time, and there before it is entered."""
        return self._collectors

    def needs(self) -> frozenset[Right]:
        """What it has to be allowed in the cluster; nothing where there is none."""
        return self._needs


class Owning(Part):
    """A part that owns others' contexts: they are open while its own is."""

    def __init__(self, *owned: AbstractAsyncContextManager[object]) -> None:
        self._owned = owned
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for each in self._owned:
                await stack.enter_async_context(each)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)
