"""Queries of ours at work: each is evaluated again and again, and its values go into the store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from infscale.backoff import Backoff
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.metrics.queried import Queried
from infscale.metrics.sample import Reading
from infscale.periodic import Clock, FetchError, Outcome, Pace, Rounds, ScrapeHealth, TaskSet, hash_fraction, repeat
from infscale.prometheus.api_answer import Row
from infscale.prometheus.query_rows import Target, Told, covers, of_pools, told
from infscale.prometheus.query_settings import QueryInstance, QuerySettings, instances, timestamps_of

if TYPE_CHECKING:
    import random

_LONGEST_SECONDS: Final = 3_600.0
"""For all instances of a query; each has the limits of its server."""

Models = Callable[[ObjectKey], Sequence[str]]
"""The models that the endpoints of a pool serve, as they say themselves."""


class Asked(Protocol):
    """A Prometheus server; `FetchError` where it does not answer."""

    async def instant(self, query: str) -> Sequence[Row]:
        """The rows of an instant query."""
        ...


class QuerySink(Protocol):
    """Takes what queries say. Must not block."""

    def record_queried(self, query: str, said: Mapping[ObjectKey, Queried]) -> None:
        """Take what the query of this name says of each pool."""
        ...


@dataclass(frozen=True, slots=True)
class RunMeans:
    """What running queries takes: servers by name, where values go, the models of pools, a clock, chance."""

    servers: Mapping[str, Asked]
    sink: QuerySink
    models: Models
    clock: Clock
    rng: "random.Random"


class _Run:
    """One query: guards the readings of its last round."""

    def __init__(
        self, settings: QuerySettings, means: RunMeans, pods: Callable[[], Mapping[ObjectKey, Sequence[ObjectKey]]]
    ) -> None:
        self.settings = settings
        self.rounds = Rounds(f"the query {settings.name}", means.clock, self._failed)
        self._means = means
        self._pods = pods
        self._readings: dict[Target, Reading] = {}

    async def step(self) -> Outcome:
        """One round."""
        return await self.rounds.run(self._observe, _LONGEST_SECONDS)

    async def _observe(self, started: float) -> int:
        del started
        pools = self._pods()
        models = {pool: self._means.models(pool) for pool in pools}
        readings: dict[Target, Reading] = {}
        problem: str | None = None
        failed = 0
        wanted = instances(self.settings, models)
        for instance in wanted.asked:
            try:
                found = await self._told(instance)
            except FetchError as error:
                failed += 1
                problem = problem or str(error)
                pods = pools.get(instance.pool, ()) if instance.pool is not None else ()
                readings |= {
                    target: each
                    for target, each in self._readings.items()
                    if covers(self.settings, instance, target, pods)
                }
                continue
            problem = problem or found.problem
            readings |= found.readings
        if wanted.asked and failed == len(wanted.asked):
            raise FetchError(problem or "no answer")
        problem = "; ".join(filter(None, (problem, wanted.problem))) or None
        self._readings = readings
        self._means.sink.record_queried(self.settings.name, of_pools(self.settings, readings, self._pods(), problem))
        return len(readings)

    async def _told(self, instance: QueryInstance) -> Told:
        server = self._means.servers[self.settings.server]
        at = self._means.clock()
        rows = await server.instant(instance.query)
        timestamps = timestamps_of(instance) if rows else None
        ages = () if timestamps is None else await server.instant(timestamps)
        return told(self.settings, instance, rows, ages, at)

    def _failed(self, cause: str, at: float) -> None:
        """What was known stays, and grows old."""
        del at
        self._means.sink.record_queried(
            self.settings.name, of_pools(self.settings, self._readings, self._pods(), cause)
        )


class QueryRuns:
    """Evaluates queries while its context is open, for the pools of the last `sync`."""

    def __init__(self, queries: Sequence[QuerySettings], means: RunMeans) -> None:
        self._means = means
        self._pods: Mapping[ObjectKey, Sequence[ObjectKey]] = {}
        self._runs = {each.name: _Run(each, means, lambda: self._pods) for each in queries}
        self._tasks = TaskSet[str, _Run](self._follow)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)

    def sync(self, state: DiscoveryState) -> None:
        """Ask for the pools of `state`."""
        self._pods = {
            pool.key: tuple(dict.fromkeys(each.key.pod for each in state.members(pool))) for pool in state.pools
        }
        self._tasks.sync(self._runs)

    def health(self) -> Mapping[str, ScrapeHealth]:
        """How each query goes."""
        return {name: run.rounds.health for name, run in self._runs.items()}

    async def _follow(self, run: _Run) -> None:
        await run.step()
        interval = run.settings.interval_seconds
        backoff = Backoff(base_seconds=1.0, factor=2.0, cap_seconds=30.0)
        fraction = hash_fraction(run.settings.name)
        await repeat(run.step, Pace(interval, fraction, backoff, self._means.clock, self._means.rng))
