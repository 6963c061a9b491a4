"""What waits in the picker for one pool, counted as it comes and goes."""

from collections.abc import Callable
from typing import Final

from infscale.frozen_values import entity
from infscale.metrics.queued import (
    NO_COUNTS,
    OTHER_MODELS,
    Queued,
    QueueView,
    WaitStep,
    arrival_class,
    wait_class,
)

_STEPS: Final = 32
"""Into as many steps a window is divided."""
MOST_MODELS: Final = 256
"""Models that are told apart. Clients choose the names."""


class _Tally:
    """What waits of one model. Counts that a view has are copied before they change again."""

    __slots__ = (
        "_arrivals",
        "_closed",
        "_first",
        "_last",
        "_passed",
        "_refused",
        "_taken",
        "_waits",
        "requests",
        "tokens",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0.0
        self._arrivals: dict[int, int] = {}
        self._closed: tuple[WaitStep, ...] = ()
        self._waits: dict[int, int] = {}
        self._passed = self._refused = 0
        self._first = self._last = 0.0
        self._taken = False

    def came(self, arrival: int, tokens: float) -> None:
        self._begin()
        self.requests += 1
        self.tokens += tokens
        self._arrivals[arrival] = self._arrivals.get(arrival, 0) + 1

    def left(self, arrival: int, tokens: float) -> None:
        self._begin()
        self.requests -= 1
        self.tokens = self.tokens - tokens if self.requests else 0.0
        count = self._arrivals[arrival] - 1
        if count:
            self._arrivals[arrival] = count
        else:
            del self._arrivals[arrival]

    def passed(self, now: float, window: float) -> None:
        self._step(now, window)
        self._passed += 1

    def waited(self, seconds: float, now: float, window: float) -> None:
        self._step(now, window)
        self._begin()
        wait = wait_class(seconds)
        self._waits[wait] = self._waits.get(wait, 0) + 1

    def refused(self, now: float, window: float) -> None:
        self._step(now, window)
        self._refused += 1

    def is_over(self, begin: float) -> bool:
        """Whether nothing waits, and nothing has happened since `begin`."""
        return not self.requests and self._last < begin

    def view(self) -> Queued:
        self._taken = True
        step = WaitStep(self._last, self._passed, self._waits or NO_COUNTS, self._refused)
        return Queued(self.requests, self.tokens, self._arrivals or NO_COUNTS, (*self._closed, step))

    def _begin(self) -> None:
        if self._taken:
            self._taken = False
            self._arrivals, self._waits = dict(self._arrivals), dict(self._waits)

    def _step(self, now: float, window: float) -> None:
        """Have a step that `now` belongs to, and none that ended before the window."""
        if now - self._first >= window / _STEPS:
            kept = [step for step in self._closed if step.last >= now - window]
            if self._passed or self._waits or self._refused:
                kept.append(WaitStep(self._last, self._passed, self._waits, self._refused))
            self._closed = tuple(kept)
            self._waits = {}
            self._passed = self._refused = 0
            self._first = now
        self._last = now


@entity
class QueuePlace:
    """A request that waits, as its queue has counted it: the model it is counted by, prompt tokens, and its arrival."""

    model: str
    tokens: float
    at: float


class QueueBook:
    """Owner of what is counted of one pool's queue since `since`; tells `changed` of every change.

    `window` (seconds) is how far views look back. Call it from one thread only.
    """

    __slots__ = ("_changed", "_models", "_new", "_since", "_view", "window")

    def __init__(self, since: float, window: float, changed: Callable[[], None]) -> None:
        self.window = window
        self._since = since
        self._changed = changed
        self._models: dict[str, _Tally] = {}
        self._new: set[str] = set()
        self._view = QueueView(since, {})

    def passed(self, model: str, now: float) -> None:
        """A request was let go without having waited."""
        self._tally(self._named(model, now)).passed(now, self.window)
        self._changed()

    def place(self, model: str, tokens: float, now: float) -> QueuePlace:
        """The place of a request for `model` that comes now, with so many prompt tokens; nothing is counted yet."""
        return QueuePlace(self._named(model, now), tokens, now)

    def came(self, place: QueuePlace) -> None:
        """A request waits from now on."""
        self._tally(place.model).came(arrival_class(place.at), place.tokens)
        self._changed()

    def left(self, place: QueuePlace, now: float, *, refused: bool = False) -> None:
        """A request that has waited does not wait any more: it goes to an endpoint, its client has left, or else it is
        `refused`.
        """
        tally = self._tally(place.model)
        tally.left(arrival_class(place.at), place.tokens)
        tally.waited(max(0.0, now - place.at), now, self.window)
        if refused:
            tally.refused(now, self.window)
        self._changed()

    def turned_off(self, place: QueuePlace) -> None:
        """A request was refused as it came, because it may not wait."""
        self._tally(place.model).refused(place.at, self.window)
        self._changed()

    def view(self) -> QueueView:
        """The queue as it is now."""
        if self._new:
            # All at once: there may be hundreds of models, and one has changed.
            models = dict(self._view.models)
            for name in self._new:
                tally = self._models.get(name)
                if tally is None:
                    models.pop(name, None)
                else:
                    models[name] = tally.view()
            self._new.clear()
            self._view = QueueView(self._since, models)
        return self._view

    def _tally(self, name: str) -> _Tally:
        tally = self._models.get(name)
        if tally is None:
            tally = self._models[name] = _Tally()
        self._new.add(name)
        return tally

    def _named(self, model: str, now: float) -> str:
        """The name by which a request for `model` is counted."""
        if model in self._models or len(self._models) < MOST_MODELS:
            return model
        begin = now - self.window
        for over in [name for name, tally in self._models.items() if tally.is_over(begin)]:
            del self._models[over]
            self._new.add(over)
        return model if len(self._models) < MOST_MODELS else OTHER_MODELS
