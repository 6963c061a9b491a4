"""The scrape pool: one task per target, following the targets that are wanted."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infscale.backoff import Backoff
from infscale.endpoint import EndpointKey
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.interpreter import Interpreter
from infscale.periodic import Clock, Pace, ScrapeHealth, TaskSet, hash_fraction, repeat
from infscale.scrape.answer import Room
from infscale.scrape.fetch import PAGE_LIMIT_BYTES
from infscale.scrape.loop import ScrapeSink, TargetLoop
from infscale.scrape.target import Target

if TYPE_CHECKING:
    import random

# A timeout is at most this share of the interval.
_LONGEST_TIMEOUT_RATIO = 0.8


@dataclass(frozen=True, slots=True)
class ScrapeSettings:
    """Limits of scraping."""

    page_limit_bytes: int = PAGE_LIMIT_BYTES
    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=0.1, factor=2.0, cap_seconds=2.0))


class ScrapePool:
    """Scrapes the targets of the last `sync` while its context is open."""

    def __init__(
        self,
        sink: ScrapeSink,
        clock: Clock,
        rng: "random.Random",
        settings: ScrapeSettings | None = None,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._rng = rng
        self._settings = settings or ScrapeSettings()
        self._interpreters: dict[str, Interpreter] = {}
        self._room = Room()
        self._loops: dict[EndpointKey, TargetLoop] = {}
        self._tasks: TaskSet[EndpointKey, Target] = TaskSet(self._run)

    async def __aenter__(self) -> "ScrapePool":
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._tasks.__aexit__(*error)
        for loop in self._loops.values():
            loop.close()

    def sync(self, targets: Iterable[Target]) -> None:
        """Scrape exactly `targets`, one per endpoint: start new ones, stop those gone, restart those changed."""
        wanted = {target.key: target for target in targets}
        for key in self._loops.keys() - wanted.keys():
            self._loops.pop(key).close()
        for key, target in wanted.items():
            loop = self._loops.get(key)
            if loop is None or loop.target != target:
                if loop is not None:
                    loop.close()
                limit = self._settings.page_limit_bytes
                self._loops[key] = TargetLoop(target, self._sink, self._interpreter, self._clock, limit, self._room)
        self._tasks.sync(wanted)

    def health(self) -> dict[EndpointKey, ScrapeHealth]:
        """How scraping each target goes, now."""
        return {key: loop.health for key, loop in self._loops.items()}

    def health_of(self, key: EndpointKey) -> ScrapeHealth | None:
        """How scraping one target goes; None for one that is not wanted."""
        loop = self._loops.get(key)
        return None if loop is None else loop.health

    async def _run(self, target: Target) -> None:
        loop = self._loops[target.key]
        fraction = hash_fraction(f"{target.key} {target.url}")
        pace = Pace(target.interval_seconds, fraction, self._settings.backoff, self._clock, self._rng)
        timeout = min(target.timeout_seconds, _LONGEST_TIMEOUT_RATIO * target.interval_seconds)
        await repeat(lambda: loop.step(timeout), pace)

    def _interpreter(self, dialect: Dialect) -> Interpreter:
        known = self._interpreters.get(dialect.name)
        if known is None or known.dialect != dialect:
            known = self._interpreters[dialect.name] = Interpreter(dialect)
        return known
