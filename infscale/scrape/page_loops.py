"""Pages that are fetched beside the metrics of endpoints: one loop per target, each with health of its own.

No request waits for these: what was read grows old and then is unknown, so that failures are health and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from yarl import URL

from infscale.backoff import Backoff
from infscale.periodic import Clock, KeyT, Outcome, Pace, Rounds, ScrapeHealth, TaskSet, hash_fraction, repeat
from infscale.scrape.fetch import PageClient

if TYPE_CHECKING:
    import random

Observe = Callable[[str, float], Awaitable[int]]
"""One round: fetches the page at a path, takes in what was found from the second given on, and says how many bytes."""


class PageTarget(Protocol):
    """What is fetched again and again. Two that are equal are one."""

    @property
    def name(self) -> str:
        """What the log calls it, without secrets."""
        ...

    @property
    def url(self) -> str:
        """The page."""
        ...

    @property
    def interval_seconds(self) -> float:
        """How often it is fetched."""
        ...

    @property
    def timeout_seconds(self) -> float:
        """When a round is given up."""
        ...


TargetT = TypeVar("TargetT", bound=PageTarget)
ReadT = TypeVar("ReadT", bound=PageTarget, contravariant=True)


class PageVisitor(Protocol[ReadT]):
    """How the pages of targets are fetched and read."""

    def client(self, target: ReadT, url: URL) -> PageClient:
        """The connection to a target."""
        ...

    def observer(self, target: ReadT, pages: PageClient) -> Observe:
        """What a round at the target does."""
        ...


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When rounds happen: on the grid of each target, later after refusals.

    The first one comes within `first_within_seconds`, at another moment for each target; None: on the grid, too.
    """

    backoff: Backoff
    clock: Clock
    rng: "random.Random"
    first_within_seconds: float | None = None


class PageLoops(Generic[KeyT, TargetT]):
    """Fetches the pages of the targets of the last `sync` while its context is open."""

    def __init__(self, visitor: PageVisitor[TargetT], rhythm: Rhythm) -> None:
        self._visitor = visitor
        self._rhythm = rhythm
        self._targets: Mapping[KeyT, TargetT] = {}
        self._rounds: dict[KeyT, Rounds] = {}
        self._tasks: TaskSet[KeyT, tuple[TargetT, Rounds]] = TaskSet(self._run)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._tasks.__aexit__(*error)

    def sync(self, wanted: Mapping[KeyT, TargetT]) -> None:
        """Fetch exactly the pages of `wanted`; one that is another than before begins anew."""
        self._rounds = {
            key: self._rounds[key] if self._targets.get(key) == target else self._new_rounds(target)
            for key, target in wanted.items()
        }
        self._targets = dict(wanted)
        self._tasks.sync({key: (target, self._rounds[key]) for key, target in wanted.items()})

    def health(self) -> dict[KeyT, ScrapeHealth]:
        """How fetching each page goes."""
        return {key: rounds.health for key, rounds in self._rounds.items()}

    def _new_rounds(self, target: TargetT) -> Rounds:
        return Rounds(target.name, self._rhythm.clock, lambda _cause, _at: None)

    async def _run(self, wanted: tuple[TargetT, Rounds]) -> None:
        (target, rounds), rhythm = wanted, self._rhythm
        url = URL(target.url)
        pages = self._visitor.client(target, url)
        observe = self._visitor.observer(target, pages)

        async def step() -> Outcome:
            return await rounds.run(lambda started: observe(url.raw_path_qs, started), target.timeout_seconds)

        fraction, within = hash_fraction(target.url), rhythm.first_within_seconds
        pace = Pace(target.interval_seconds, fraction, rhythm.backoff, rhythm.clock, rhythm.rng)
        try:
            if within is not None:
                await asyncio.sleep(fraction * min(within, target.interval_seconds))
                await step()
            await repeat(step, pace)
        finally:
            pages.close()
