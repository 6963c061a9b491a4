"""What was asked lately of the rules, what came of it, and what is due; pure code.

An answer to an HPA is made of what is on the board. What nothing has asked for in a while is taken off.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from infscale.labels import Selector
from infscale.metrics.sample import Reading
from infscale.prometheus.rules.object_kinds import ObjectKind

MAX_ASKED: Final = 2_000
"""Different questions that are kept; more are told to ask again."""
MAX_VALUES: Final = 10_000
"""Of one question."""

LabelSet = tuple[tuple[str, str], ...]
NO_READINGS: Final[Mapping[str, Reading]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: a metric of objects of a `kind` (one by name, or those that `labels` select), or external (None).

    `namespace` is "" for root-scoped objects; `metric_labels` selects among the metric's series.
    """

    metric: str
    kind: ObjectKind | None
    namespace: str
    name: str | None = None
    labels: Selector = field(default_factory=Selector)
    metric_labels: Selector = field(default_factory=Selector)

    def __str__(self) -> str:
        of = "externally" if self.kind is None else f"of {self.kind} {self.name or str(self.labels) or '*'}"
        within = f" in {self.namespace}" if self.namespace else ""
        selected = f" where {self.metric_labels}" if self.metric_labels.requirements else ""
        return f"{self.metric} {of}{within}{selected}"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came of a question at monotonic second `at`: readings of objects by name, or of label sets.

    `unknown` says of those without a value why. `cause` is why the last try gave nothing; the readings are older then.
    """

    at: float
    objects: Mapping[str, Reading] = field(default_factory=lambda: NO_READINGS)
    label_sets: Mapping[LabelSet, Reading] = field(default_factory=lambda: MappingProxyType({}))
    unknown: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    cause: str | None = None
    number: int = 0


@dataclass(slots=True)
class _Entry:
    last_asked: float
    due: float
    evaluated: Evaluated | None = None
    is_under_way: bool = False


@dataclass(frozen=True, slots=True)
class BoardPace:
    """How often what is asked is evaluated, and how long after the last question it is kept up."""

    interval_seconds: float = 10.0
    kept_seconds: float = 300.0


class AskedBoard:
    """Guards the questions. Times are monotonic seconds."""

    def __init__(self, pace: BoardPace) -> None:
        self._pace = pace
        self._entries: dict[Asked, _Entry] = {}
        self._number = 0
        self.refused = 0
        """Questions for which there was no room."""

    def ask(self, asked: Asked, now: float) -> tuple[Evaluated | None, bool]:
        """What is known of a question, which is kept up from now on; and whether that is news."""
        entry = self._entries.get(asked)
        if entry is not None:
            entry.last_asked = now
            return entry.evaluated, False
        if len(self._entries) >= MAX_ASKED:
            self.forget(now)
        if len(self._entries) >= MAX_ASKED:
            self.refused += 1
            return Evaluated(
                now, cause=f"{MAX_ASKED} other questions are evaluated, which is all there is room for"
            ), False
        self._entries[asked] = _Entry(now, -math.inf)
        return None, True

    def forget(self, now: float) -> None:
        """Take off what was not asked lately."""
        old = [each for each, entry in self._entries.items() if now - entry.last_asked > self._pace.kept_seconds]
        for each in old:
            if not self._entries[each].is_under_way:
                del self._entries[each]

    def take(self, now: float) -> Asked | None:
        """The question that is most overdue, now under way; None: none is due."""
        self.forget(now)
        waiting = [(entry.due, place) for place, entry in enumerate(self._entries.values()) if not entry.is_under_way]
        due, place = min(waiting, default=(math.inf, 0))
        if due > now:
            return None
        asked = list(self._entries)[place]
        self._entries[asked].is_under_way = True
        return asked

    def next_due(self) -> float:
        """When the next question is due; never, where there is none."""
        return min((each.due for each in self._entries.values() if not each.is_under_way), default=math.inf)

    def record(self, asked: Asked, evaluated: Evaluated) -> None:
        """Take in what came of a question; where that is a failure, the readings before it stay and grow old."""
        entry = self._entries.get(asked)
        if entry is None:
            return
        self._number += 1
        before = entry.evaluated
        if evaluated.cause is not None and before is not None:
            entry.evaluated = replace(before, at=evaluated.at, cause=evaluated.cause)
        else:
            entry.evaluated = replace(evaluated, number=self._number)
        entry.is_under_way = False
        entry.due = evaluated.at + self._pace.interval_seconds

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> Mapping[Asked, Evaluated | None]:
        """All questions with what is known of them."""
        return {asked: entry.evaluated for asked, entry in self._entries.items()}
