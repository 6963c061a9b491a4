"""What everything that scrapes shares: a grid to run on, one task per target, failures in plain words, health as data.

FetchError          a page could not be had; its text is the cause in plain words
├── Unreachable     nothing answers at the address: waiting longer before the next try is right
└── Rejected        the server understood and said no (HTTP 4xx): asking differently may help
    ├── Withheld    it may have what was asked for
    └── Absent      it has nothing there: asking elsewhere may help
"""

import asyncio
import enum
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import xxhash

from infscale.backoff import Backoff
from infscale.errors import ExpositionError, InfscaleError
from infscale.frozen_values import value

if TYPE_CHECKING:
    import random

# A target that fails in turns with different causes, or every other time, is worth a line this often.
_QUIET_SECONDS = 10.0
# Rounds that are due within this time start together: one that a process wakes up for alone costs it twice as much.
_TOGETHER_SECONDS = 0.01

KeyT = TypeVar("KeyT", bound=Hashable)
WantedT = TypeVar("WantedT")
Clock = Callable[[], float]

_log = logging.getLogger(__name__)


class FetchError(InfscaleError):
    """A page could not be had."""


class Unreachable(FetchError):
    """Nothing answers at the address: refused, no route, unknown host."""


class Rejected(FetchError):
    """The server refused the request as it was asked (HTTP 4xx)."""


class Withheld(Rejected):
    """The server may have what was asked for, and did not give it (HTTP 401, 403, 408, 429)."""


class Absent(Rejected):
    """There is nothing at the path that was asked for (HTTP 404, 410)."""


class Failing(FetchError):
    """The server failed to answer (HTTP 5xx)."""


class Outcome(enum.Enum):
    """How one round ended; after REFUSED the next one waits longer."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


@value
class ScrapeHealth:
    """How scraping one target goes; `cause` is why the last scrape gave nothing, None while all is well."""

    mode: str = ""
    duration_seconds: float | None = None
    page_bytes: int | None = None
    scrapes: int = 0
    failures: int = 0
    cause: str | None = None


class Rounds:
    """The scrapes of one target: keeps each within its time, puts failures into words and keeps the health.

    `record_failure` is called with the cause and the second at which the scrape failed. A change of cause is logged
    once, and changes that follow quickly are logged only when one of them lasts.
    """

    def __init__(self, name: str, clock: Clock, record_failure: Callable[[str, float], None]) -> None:
        self.name = name
        self._clock = clock
        self._mode = ""
        self._duration_seconds: float | None = None
        self._page_bytes: int | None = None
        self._scrapes = self._failures = 0
        self._cause: str | None = None
        self._record_failure = record_failure
        self._said: str | None = None
        self._said_at = -math.inf

    @property
    def health(self) -> ScrapeHealth:
        """How it goes."""
        return ScrapeHealth(
            self._mode,
            self._duration_seconds,
            self._page_bytes,
            self._scrapes,
            self._failures,
            self._cause,
        )

    async def run(self, observe: Callable[[float], Awaitable[int]], timeout_seconds: float) -> Outcome:
        """One scrape. `observe` is given the second it starts at and returns the size of the page in bytes."""
        started = self._clock()
        self._scrapes += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                size = await observe(started)
        except TimeoutError:
            return self._failed(started, f"timed out after {timeout_seconds:.3g} s", Outcome.FAILED)
        except Unreachable as error:
            return self._failed(started, str(error), Outcome.REFUSED)
        except (FetchError, ExpositionError) as error:
            return self._failed(started, str(error), Outcome.FAILED)
        except Exception as error:
            # The top of the loop: whatever one page provokes must not stop the scraping of the others.
            return self._failed(started, f"internal error ({type(error).__name__})", Outcome.FAILED, error)
        now = self._clock()
        self._say(None, now)
        self._duration_seconds, self._page_bytes, self._cause = now - started, size, None
        return Outcome.DONE

    def in_mode(self, mode: str) -> None:
        """Note how the target is asked."""
        self._mode = mode

    def _say(self, cause: str | None, now: float, bug: Exception | None = None) -> None:
        if cause == self._said or now - self._said_at < _QUIET_SECONDS:
            return
        self._said, self._said_at = cause, now
        if cause is None:
            _log.info("scrape of %s works again", self.name)
        else:
            _log.warning("scrape of %s failed: %s", self.name, cause, exc_info=bug)

    def _failed(self, started: float, cause: str, outcome: Outcome, bug: Exception | None = None) -> Outcome:
        now = self._clock()
        self._say(cause, now, bug)
        self._duration_seconds = now - started
        self._failures += 1
        self._cause = cause
        self._record_failure(cause, now)
        return outcome


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that is the same for the same text in every process, evenly spread over texts."""
    # 53 bits are what a float holds; more would round up to 1.
    return (xxhash.xxh3_64_intdigest(text.encode()) >> 11) / (1 << 53)


def next_tick(now: float, interval: float, fraction: float) -> float:
    """The first second after `now` on the grid ``(n + fraction) × interval``."""
    tick = (math.floor(now / interval - fraction) + 1 + fraction) * interval
    return tick if tick > now else tick + interval


@dataclass(frozen=True, slots=True)
class Pace:
    """When rounds happen: on a grid shifted by about `fraction` of the interval, later after refusals."""

    interval: float
    fraction: float
    backoff: Backoff
    clock: Clock
    rng: "random.Random"

    def due(self, now: float, refusals: int) -> float:
        """When the next round starts, `refusals` refused ones in a row being the last. Missed ticks are skipped."""
        not_before = now + self.backoff.delay(refusals - 1, self.rng) if refusals else now
        interval = self.interval
        shift = math.floor(self.fraction * interval / _TOGETHER_SECONDS) * _TOGETHER_SECONDS
        return next_tick(not_before, interval, shift / interval)


async def repeat(step: Callable[[], Awaitable[Outcome]], pace: Pace) -> None:
    """Run `step` at `pace` until cancelled; never two at a time."""
    refusals = 0
    while True:
        now = pace.clock()
        await asyncio.sleep(pace.due(now, refusals) - now)
        refusals = refusals + 1 if await step() is Outcome.REFUSED else 0


class TaskSet(Generic[KeyT, WantedT]):
    """One running task per wanted key; an async context manager that owns them.

    `run` makes the coroutine for a wanted value; it runs until cancelled.
    """

    def __init__(self, run: Callable[[WantedT], Coroutine[Any, Any, None]]) -> None:
        self._run = run
        self._group = asyncio.TaskGroup()
        self._running: dict[KeyT, tuple[WantedT, asyncio.Task[None]]] = {}

    async def __aenter__(self) -> "TaskSet[KeyT, WantedT]":
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.sync({})
        # The block's own error comes out as it is, not in an ExceptionGroup.
        await self._group.__aexit__(None, None, None)

    def sync(self, wanted: Mapping[KeyT, WantedT]) -> None:
        """Stop what is no longer wanted or wanted differently, start what is new, leave the rest alone."""
        for key, (running, task) in list(self._running.items()):
            if wanted.get(key) != running:
                task.cancel()
                del self._running[key]
        for key, new in wanted.items():
            if key not in self._running:
                self._running[key] = (new, self._group.create_task(self._run(new), name=str(key)))
