"""The last answers about triggers, for people who ask why there are as many replicas as there are."""

from collections import OrderedDict
from dataclasses import dataclass
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


class LastAnswers:
    """Guards the last answer about each trigger."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Trigger, Answered] = OrderedDict()

    def keep(self, answered: Answered) -> None:
        """Remember `answered` instead of what was answered before."""
        self._kept[answered.trigger] = answered
        self._kept.move_to_end(answered.trigger)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def document(self, now: float, wall: datetime) -> dict[str, object]:
        """The newest first; `now` is monotonic and the same moment as `wall`."""
        newest = reversed(self._kept.values())
        return {"triggers": [_shown(each, wall - timedelta(seconds=now - each.at)) for each in newest]}


def _shown(answered: Answered, at: datetime) -> dict[str, object]:
    scope = answered.trigger.scope
    return {
        "time": at.isoformat(timespec="milliseconds"),
        "scaled_object": str(scope.scaled_object),
        "pool": None if scope.key is None else str(scope.key),
        "model": scope.model,
        "metric": answered.trigger.name,
        "value": answered.value,
        "why": answered.why,
    }
