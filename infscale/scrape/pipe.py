"""What passes between this process and one that scrapes for it: pickles with their length in front.

Both ends are this program, started by the other: nothing else can write into the pipe.
"""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from infscale.endpoint import EndpointKey
from infscale.metrics.dialects import DIALECTS
from infscale.metrics.sample import EngineSample
from infscale.periodic import ScrapeHealth
from infscale.scrape.target import Target

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a scraping process: its limits and how it logs."""

    page_limit_bytes: int
    log_level: str
    log_format: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A target on its way: the dialect by its name."""

    key: EndpointKey
    url: str
    dialect: str | None
    interval_seconds: float
    timeout_seconds: float

    @classmethod
    def of(cls, target: Target) -> "Wanted":
        """`target` as it is sent."""
        dialect = None if target.dialect is None else target.dialect.name
        return cls(target.key, target.url, dialect, target.interval_seconds, target.timeout_seconds)

    def target(self) -> Target:
        """The target that was sent."""
        dialect = None if self.dialect is None else DIALECTS[self.dialect]
        return Target(self.key, self.url, dialect, self.interval_seconds, self.timeout_seconds)


@dataclass(frozen=True, slots=True)
class Found:
    """What one scrape gave, a sample or the cause of its failure, and how scraping that target goes now."""

    key: EndpointKey
    result: EngineSample | str
    at: float
    health: ScrapeHealth


def framed(message: object) -> bytes:
    """`message` as bytes for the pipe."""
    body = pickle.dumps(message, protocol=5)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


class Frames:
    """Cuts what comes out of the pipe into messages; `take` gets each as soon as it is whole."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take
        self._received = bytearray()

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        received = self._received
        received += data
        start = 0
        while len(received) - start >= _LENGTH_BYTES:
            stop = start + _LENGTH_BYTES + int.from_bytes(received[start : start + _LENGTH_BYTES], "little")
            if len(received) < stop:
                break
            message = pickle.loads(memoryview(received)[start + _LENGTH_BYTES : stop])  # noqa: S301 # our own child
            start = stop
            self._take(message)
        del received[:start]


def shares(targets: Sequence[Target], count: int, fraction: Callable[[str], float]) -> list[list[Target]]:
    """`targets` dealt out to `count` processes by `fraction` of their keys, the same way every time."""
    dealt: list[list[Target]] = [[] for _ in range(count)]
    for target in targets:
        dealt[int(fraction(str(target.key)) * count)].append(target)
    return dealt
