"""The copies that are under way, and how their answers compare with those that clients got."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from infscale.config.shadow_settings import ShadowSettings
from infscale.endpoint import ObjectKey
from infscale.telemetry.histogram import Histogram
from picker.request import Outcome

SECONDS_BOUNDS: Final[tuple[float, ...]] = (
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
RATIO_BOUNDS: Final[tuple[float, ...]] = (0.25, 0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 8.0)

Drawn = Literal["copied", "side_effects", "too_large", "no_room", "busy", "no_endpoint"]
"""What became of a request that was drawn.

`side_effects`: something in it marks them. `too_large`: its body is. `no_room`: as many copies are under way, or as
many bytes held, as may be. `busy`: every endpoint of the candidate is saturated or has requests waiting, or it is not
known. `no_endpoint`: none is ready, or they speak HTTP/2 alone.
"""
Failure = Literal["unreachable", "timeout", "broken", "cut", "stopped"]
"""Why a copy has no answer.

`cut`: the answer was longer than is read. `stopped`: the picker ended meanwhile.
"""


class Way(NamedTuple):
    """From the pool whose requests are copied to the candidate, the `place`-th of its list."""

    pool: ObjectKey
    place: int
    settings: ShadowSettings

    @property
    def to(self) -> ObjectKey:
        """The candidate's pool."""
        return self.settings.pool or self.pool


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of an answer: a status class such as ``2xx``, or why there is none.

    Seconds count from when the destination was decided on; to the first byte is to the headers. None: not known.
    """

    result: str
    first_byte_seconds: float | None
    duration_seconds: float
    tokens: int | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it is an answer worth comparing."""
        return self.result == "2xx"


def status_class(status: int) -> str:
    """``2xx`` of 200, and so on."""
    return f"{status // 100}xx" if 100 <= status <= 599 else "other"


def seen(outcome: Outcome, since_decision: float) -> Seen:
    """What was seen of a request that ended so, so long after its destination was decided on."""
    if outcome.kind != "completed" or outcome.status is None:
        result = "unknown" if outcome.kind == "completed" else outcome.kind
        return Seen(result, None, since_decision)
    first, waited = outcome.first_byte_seconds, max(0.0, outcome.duration_seconds - since_decision)
    first = None if first is None else max(0.0, first - waited)
    return Seen(status_class(outcome.status), first, since_decision, outcome.completion_tokens)


class Pair:
    """A request and its copy, until both have ended."""

    __slots__ = ("copy", "decided_at", "primary", "way")

    def __init__(self, way: Way, decided_at: float) -> None:
        self.way = way
        self.decided_at = decided_at
        self.primary: Seen | None = None
        self.copy: Seen | None = None


@dataclass(slots=True)
class Sides:
    """Of pairs that both succeeded, the seconds of each side and the copy's divided by the request's."""

    primary: Histogram = field(default_factory=lambda: Histogram(SECONDS_BOUNDS))
    copy: Histogram = field(default_factory=lambda: Histogram(SECONDS_BOUNDS))
    ratio: Histogram = field(default_factory=lambda: Histogram(RATIO_BOUNDS))

    def observe(self, primary: float, copy: float) -> None:
        """Count one pair."""
        self.primary.observe(primary)
        self.copy.observe(copy)
        if primary > 0:
            self.ratio.observe(copy / primary)


@dataclass(slots=True)
class WayCounts:
    """What is known of one way: what is there now, and what was counted since the start.

    `tokens` are those of both answers, where both are known.
    """

    open_requests: int = 0
    held_bytes: int = 0
    drawn: dict[Drawn, int] = field(default_factory=dict[Drawn, int])
    answers: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    first_byte: Sides = field(default_factory=Sides)
    duration: Sides = field(default_factory=Sides)
    tokens: tuple[int, int] = (0, 0)


class ShadowBooks:
    """Owner of what is known of copies; for one thread."""

    def __init__(self, ways: Iterator[Way]) -> None:
        self.ways: Final = {way: WayCounts() for way in ways}
        """Every way that is configured."""

    def has_room(self, way: Way, size_bytes: int, most_requests: float) -> bool:
        """Whether one more copy of so many bytes may be under way, where the candidate takes so many requests.

        A share of a small candidate is one copy at least.
        """
        settings, counts = way.settings, self.ways[way]
        most = min(float(settings.max_requests), max(1.0, settings.max_share * most_requests))
        return counts.open_requests + 1 <= most and counts.held_bytes + size_bytes <= settings.max_bytes

    def drew(self, way: Way, what: Drawn) -> None:
        """A request was drawn, and this became of it."""
        drawn = self.ways[way].drawn
        drawn[what] = drawn.get(what, 0) + 1

    def began(self, way: Way, size_bytes: int) -> None:
        """A copy is under way, or about to be looked at."""
        counts = self.ways[way]
        counts.open_requests += 1
        counts.held_bytes += size_bytes

    def ended(self, way: Way, size_bytes: int) -> None:
        """It is no more."""
        counts = self.ways[way]
        counts.open_requests -= 1
        counts.held_bytes -= size_bytes

    def compare(self, pair: Pair) -> None:
        """Count a pair, if both have ended; to be told at the end of each."""
        primary, copy = pair.primary, pair.copy
        if primary is None or copy is None:
            return
        counts = self.ways[pair.way]
        key = primary.result, copy.result
        counts.answers[key] = counts.answers.get(key, 0) + 1
        if not primary.succeeded or not copy.succeeded:
            return
        counts.duration.observe(primary.duration_seconds, copy.duration_seconds)
        if primary.first_byte_seconds is not None and copy.first_byte_seconds is not None:
            counts.first_byte.observe(primary.first_byte_seconds, copy.first_byte_seconds)
        if primary.tokens is not None and copy.tokens is not None:
            ours, theirs = counts.tokens
            counts.tokens = ours + primary.tokens, theirs + copy.tokens
