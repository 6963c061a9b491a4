"""Asking servers over gRPC's health protocol, each over a connection of its own, which is made anew where it fails."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from infscale.backoff import Backoff
from infscale.endpoint import DiscoveryState, EndpointKey, authority
from infscale.metrics.sample import HealthSample
from infscale.metrics.source import Source
from infscale.periodic import Clock, Outcome, Rounds, ScrapeHealth, TaskSet, hash_fraction
from infscale.sources.grpc_health import GrpcHealthSettings
from infscale.sources.health_names import names_by_endpoint
from infscale.sources.health_peer import Asked, HealthConversation
from infscale.sources.source_kind import SourceSink

if TYPE_CHECKING:
    import random

HEALTH: Final = Source("gRPC health", observed="health_at")
"""What is said holds for as long as the sample says."""

_GOOD_INTERVALS: Final = 3
_FIRST_WITHIN_SECONDS: Final = 1.0
_RETRIES: Final = Backoff(base_seconds=0.5, factor=2.0, cap_seconds=10.0)


@dataclass(frozen=True, slots=True)
class _Target:
    """One server, and what it is asked for."""

    key: EndpointKey
    authority: str
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"gRPC health of {self.key} at {self.authority}"


class GrpcHealthSource:
    """Asks the servers of endpoints while its context is open, each over a connection of its own."""

    def __init__(self, settings: GrpcHealthSettings, sink: SourceSink, clock: Clock, rng: "random.Random") -> None:
        self._settings = settings
        self._sink = sink
        self._clock = clock
        self._rng = rng
        self._good_seconds = _GOOD_INTERVALS * settings.interval_seconds
        self._targets: Mapping[EndpointKey, _Target] = {}
        self._rounds: dict[EndpointKey, Rounds] = {}
        self._tasks: TaskSet[EndpointKey, tuple[_Target, Rounds]] = TaskSet(self._run)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, traceback)

    def sync(self, state: DiscoveryState) -> None:
        """Ask the servers of `state` for what its objects name; one that is asked for other names is asked anew."""
        settings = self._settings
        if not settings.asked:
            return
        wanted = names_by_endpoint(state, settings.names, settings.pools, discovered=settings.discovered_names)
        targets = {
            each.key: _Target(each.key, authority(each.address, settings.port or each.port), wanted[each.key])
            for each in state.endpoints
            if each.key in wanted
        }
        self._rounds = {
            key: self._rounds[key] if self._targets.get(key) == target else self._new_rounds(target)
            for key, target in targets.items()
        }
        self._targets = targets
        self._tasks.sync({key: (target, self._rounds[key]) for key, target in targets.items()})

    def health(self) -> dict[str, ScrapeHealth]:
        """How asking each server goes, by the endpoints' names."""
        return {str(key): rounds.health for key, rounds in self._rounds.items()}

    def _new_rounds(self, target: _Target) -> Rounds:
        return Rounds(target.name, self._clock, lambda _cause, _at: None)

    async def _run(self, wanted: tuple[_Target, Rounds]) -> None:
        target, rounds = wanted
        await asyncio.sleep(
            hash_fraction(target.authority) * min(_FIRST_WITHIN_SECONDS, self._settings.interval_seconds)
        )
        failures, heard = 0, -math.inf
        while True:
            began = self._clock()
            last = await self._converse(target, rounds)
            failures = failures + 1 if last is None else 1
            heard = heard if last is None else last
            await asyncio.sleep(max(0.0, began + _RETRIES.delay(failures - 1, self._rng) - self._clock()))
            if self._clock() - heard > self._good_seconds:
                # Said once: what holds no more must not wait for something else to come in.
                self._record(target.key, HealthSample())
                heard = math.inf

    async def _converse(self, target: _Target, rounds: Rounds) -> float | None:
        """Rounds over one connection, until one fails; gives when the last good one began, None: there was none."""
        last: float | None = None

        def said(sample: HealthSample) -> None:
            self._record(target.key, sample)

        async def observe(started: float) -> int:
            nonlocal last
            await talk.round()
            last = started
            return 0

        settings = self._settings
        asked = Asked(target.authority, settings.service, target.names, self._good_seconds, settings.tls)
        async with HealthConversation(asked, said) as talk:
            while True:
                if await rounds.run(observe, settings.timeout_seconds) is not Outcome.DONE:
                    return last
                await asyncio.sleep(settings.interval_seconds)

    def _record(self, key: EndpointKey, sample: HealthSample) -> None:
        self._sink.record_beside(HEALTH, key, sample, self._clock())
