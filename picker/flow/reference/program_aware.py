"""The reference's fairness among programs: each flow is one, such as a tenant or the session of an agent.

What it remembers of programs is theirs in all bands whose policy is the same plugin. Its known weakness is kept:
service is charged when an answer ends and not when its request leaves, so that a newcomer gets most of its first
minute.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nlargest
from typing import Final, Literal, Protocol

from picker.flow.waiting import Waiting

Strategy = Literal["las", "turn-priority"]
STRATEGIES: Final[tuple[Strategy, ...]] = ("las", "turn-priority")

MOST_PROGRAMS: Final = 10_000
"""How many programs are remembered. The reference has no bound; names of programs may be a client's choice."""

_OUTPUT_WEIGHT: Final = 2.0
"""What a token of an answer counts, one of a prompt counting 1."""


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """Parameters of ``program-aware-fairness``; the defaults are the reference's.

    A program of which nothing ended for `forgotten_after_seconds` is forgotten (0: never), looked for every
    `sweep_seconds`. Least attained service weighs service and the wait of the head, and forgets half of the service
    in `half_life_seconds` (0: nothing). Turn priority adds `wait_weight` a second of waiting to the number of turns,
    and takes a program for a new one after `inactive_seconds` (0: never).
    """

    strategy: Strategy = "las"
    forgotten_after_seconds: float = 3600.0
    sweep_seconds: float = 300.0
    service_weight: float = 0.8
    head_wait_weight: float = 0.2
    half_life_seconds: float = 60.0
    wait_weight: float = 0.05
    inactive_seconds: float = 120.0


@dataclass(slots=True, eq=False)
class Program:
    """What is known of one program.

    `served_tokens` are weighted, as of `served_at`. `last_end` is when a request of it last ended, at first when the
    program was first seen.
    """

    last_end: float
    served_at: float
    served_tokens: float = 0.0
    dispatched: int = 0
    in_flight: int = 0
    waited_seconds: float = 0.0

    @property
    def mean_wait_seconds(self) -> float:
        """Mean wait of the requests that left."""
        return self.waited_seconds / self.dispatched if self.dispatched else 0.0

    def served(self, now: float, half_life_seconds: float) -> float:
        """Weighted tokens so far, less what has been forgotten by `now`."""
        elapsed = now - self.served_at
        if elapsed > 0.0:
            self.served_at = now
            if half_life_seconds:
                self.served_tokens *= 0.5 ** (elapsed / half_life_seconds)
        return self.served_tokens


class ProgramScores(Protocol):
    """A strategy: which of several programs goes next."""

    def scores(
        self, waiting: Mapping[str, Waiting], programs: Mapping[str, Program], now: float
    ) -> Mapping[str, float]:
        """A score for each of the programs in `waiting`; the highest goes."""
        ...


@dataclass(frozen=True, slots=True)
class LeastAttained:
    """The program that was served least, and of those the one whose head waits longest (``las``).

    Both are taken over the range among those that wait; where all have the same it is a half for each.
    """

    service_weight: float
    head_wait_weight: float
    half_life_seconds: float

    def scores(
        self, waiting: Mapping[str, Waiting], programs: Mapping[str, Program], now: float
    ) -> Mapping[str, float]:
        """See `ProgramScores`."""
        served = _over_range({flow: programs[flow].served(now, self.half_life_seconds) for flow in waiting})
        # Whole milliseconds, as the reference compares them.
        waits = _over_range({flow: float(int((now - head.arrived_at) * 1e3)) for flow, head in waiting.items()})
        return {
            flow: self.service_weight * (1.0 - served[flow]) + self.head_wait_weight * waits[flow] for flow in waiting
        }


@dataclass(frozen=True, slots=True)
class TurnPriority:
    """The program that has taken the most turns, whose prompts are cached most likely (``turn-priority``).

    Waiting makes up for turns. A program that had nothing under way for longer than `inactive_seconds` when its request
    came counts as new for that.
    """

    wait_weight: float
    inactive_seconds: float

    def scores(
        self, waiting: Mapping[str, Waiting], programs: Mapping[str, Program], now: float
    ) -> Mapping[str, float]:
        """See `ProgramScores`."""
        return {
            flow: self._turn(programs[flow], head) + self.wait_weight * max(0.0, now - head.arrived_at)
            for flow, head in waiting.items()
        }

    def _turn(self, program: Program, head: Waiting) -> int:
        inactive = self.inactive_seconds
        if inactive and not program.in_flight and head.arrived_at - program.last_end > inactive:
            return 1
        return program.dispatched + 1


def _over_range(values: Mapping[str, float]) -> Mapping[str, float]:
    """Each value's place between the lowest and the highest, 0 to 1."""
    low, high = min(values.values()), max(values.values())
    if low == high:
        return dict.fromkeys(values, 0.5)
    return {flow: (value - low) / (high - low) for flow, value in values.items()}


class ProgramAware:
    """The fairness of one plugin: its books of programs, shared by the bands that name it."""

    def __init__(self, settings: ProgramSettings) -> None:
        self._settings = settings
        self._strategy = _strategy(settings)
        self._programs: dict[str, Program] = {}
        self._swept_at: float | None = None

    @property
    def programs(self) -> Mapping[str, Program]:
        """Every program that is remembered, by its flow."""
        return self._programs

    def latest(self, count: int) -> Mapping[str, Program]:
        """So many programs, those of which something ended last."""
        programs = self._programs
        return {flow: programs[flow] for flow in nlargest(count, programs, key=lambda each: programs[each].last_end)}

    def waits(self, flow: str, now: float) -> None:
        """Changes nothing."""

    def waits_no_more(self, flow: str, now: float) -> None:
        """Changes nothing."""

    def choose(self, heads: Mapping[str, Waiting], now: float) -> str | None:
        """The flow of the program that the strategy says; of equals the one whose head came first."""
        self._sweep(now)
        if not heads:
            return None
        for flow in heads:
            self._program(flow, now)
        scores = self._strategy.scores(heads, self._programs, now)
        return min(heads, key=lambda flow: (-scores[flow], heads[flow].number))

    def dispatched(self, waiting: Waiting, now: float) -> None:
        """A turn of the program is under way."""
        program = self._program(waiting.flow, now)
        program.dispatched += 1
        program.in_flight += 1
        program.waited_seconds += max(0.0, now - waiting.arrived_at)

    def ended(self, waiting: Waiting, cost_seconds: float, now: float) -> None:
        """A turn is over; what it took is told in tokens, by `served`."""
        program = self._program(waiting.flow, now)
        program.in_flight = max(0, program.in_flight - 1)
        program.last_end = now

    def served(self, flow: str, prompt_tokens: float, output_tokens: float, now: float) -> None:
        """An answer to the program has ended, which reports so many tokens."""
        program = self._program(flow, now)
        program.served(now, self._settings.half_life_seconds)
        program.served_tokens += prompt_tokens + _OUTPUT_WEIGHT * output_tokens

    def forget(self, flow: str) -> None:
        """Changes nothing: programs are remembered beyond their queues, until nothing of them ended for long."""

    def fairness_index(self) -> float:
        """Jain's index over the mean waits of programs: 1 where all are equal, 1/n where one of n waits alone."""
        return jains_index(each.mean_wait_seconds for each in self._programs.values() if each.dispatched)

    def _program(self, flow: str, now: float) -> Program:
        program = self._programs.get(flow)
        if program is None:
            if len(self._programs) >= MOST_PROGRAMS:
                self._make_room()
            program = self._programs[flow] = Program(now, now)
        return program

    def _make_room(self) -> None:
        """Forget the program of which nothing ended for longest, one without a request under way if there is any."""
        programs = self._programs
        del programs[min(programs, key=lambda flow: (programs[flow].in_flight > 0, programs[flow].last_end))]

    def _sweep(self, now: float) -> None:
        settings = self._settings
        if self._swept_at is None:
            self._swept_at = now
        if not settings.forgotten_after_seconds or now - self._swept_at < settings.sweep_seconds:
            return
        self._swept_at = now
        limit = now - settings.forgotten_after_seconds
        for flow in [flow for flow, each in self._programs.items() if not each.in_flight and each.last_end < limit]:
            del self._programs[flow]


def _strategy(settings: ProgramSettings) -> ProgramScores:
    if settings.strategy == "las":
        return LeastAttained(settings.service_weight, settings.head_wait_weight, settings.half_life_seconds)
    return TurnPriority(settings.wait_weight, settings.inactive_seconds)


def jains_index(values: Iterable[float]) -> float:
    """(Σx)² ÷ (n · Σx²); 1 for fewer than two values, and where all are 0."""
    found = list(values)
    squares = sum(value * value for value in found)
    if len(found) < 2 or not squares:
        return 1.0
    total = sum(found)
    return total * total / (len(found) * squares)
