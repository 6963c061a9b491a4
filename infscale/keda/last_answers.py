"""The last answers about triggers, for people who ask why there are as many replicas as there are."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from infscale.keda.trigger_metadata import Trigger

MOST_KEPT: Final = 256
"""Triggers; the one that was not asked about for longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer at `at` (monotonic seconds): a value, None where it was refused, and why in words."""

    trigger: Trigger
    at: float
    value: float | None
    why: str


@dataclass(slots=True)
class _Last:
    """What was told last of one trigger: a value, and whether it is active; of each the second, None before that."""

    value: float | None = None
    why: str = ""
    valued_at: float | None = None
    active: bool | None = None
    why_not_known: str = ""
    active_at: float | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known of triggers without being asked: open streams of those that have some, and targets."""

    streams: Mapping[Trigger, int] = field(default_factory=dict[Trigger, int])
    target: Callable[[Trigger], float | None] = field(default=lambda trigger: None)


class LastAnswers:
    """Guards the last answers about each trigger."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Trigger, _Last] = OrderedDict()

    def keep(self, answered: Answered) -> None:
        """Remember a value, or its refusal, instead of what was answered before."""
        last = self._last(answered.trigger)
        last.value, last.why, last.valued_at = answered.value, answered.why, answered.at

    def keep_activity(self, trigger: Trigger, at: float, active: bool | None, why: str = "") -> None:
        """Remember whether `trigger` was told to be active; None: it was refused, for `why`."""
        last = self._last(trigger)
        last.active, last.why_not_known, last.active_at = active, why, at

    def _last(self, trigger: Trigger) -> _Last:
        last = self._kept.setdefault(trigger, _Last())
        self._kept.move_to_end(trigger)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return last

    def document(self, now: float, wall: datetime, beside: Beside) -> dict[str, object]:
        """The one asked about last first; `now` is monotonic and the same moment as `wall`."""
        return {
            "triggers": [_shown(trigger, last, now, wall, beside) for trigger, last in reversed(self._kept.items())]
        }


def _shown(trigger: Trigger, last: _Last, now: float, wall: datetime, beside: Beside) -> dict[str, object]:
    scope, at = trigger.scope, last.valued_at
    return {
        "time": None if at is None else (wall - timedelta(seconds=now - at)).isoformat(timespec="milliseconds"),
        "age_seconds": None if at is None else now - at,
        "scaled_object": str(scope.scaled_object),
        "pool": None if scope.key is None else str(scope.key),
        "model": scope.model,
        "metric": trigger.name,
        "target": beside.target(trigger),
        "value": last.value,
        "why": last.why,
        "active": last.active,
        "active_age_seconds": None if last.active_at is None else now - last.active_at,
        "why_not_known": last.why_not_known,
        "streams": beside.streams.get(trigger, 0),
    }
