"""Memory for what exchanges hold, counted over all of them: bodies on their way in, answers that no gateway takes.

It is accounting alone: no clock, no input or output. A transport says what each holder holds, asks which of them may be
sent more, and ends those that are named here.

While less than `open_bytes` is held, every body may grow. Beyond that only the eldest may: what lies between that and
the limit is room for one body of the greatest length, so that there is always one that can come to its end. A peer may
send what its windows already allow, so the limit can be passed all the same: then the holder whose last progress is
longest ago has to go, again and again; where all hold little, the one that came last.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, Literal, Protocol

Ending = Literal["stalled", "held back", "over budget"]
"""Why a holder has to end: its gateway sent or took nothing, it was not let go on for too long, memory was short."""

PROGRESS_BYTES: Final = 4_096
"""Less than this is no progress: a byte now and then keeps nothing open."""

# Smaller holders are counted, but kept in no list: most bodies come to their end within the read that brings them.
_LISTED_BYTES: Final = 4_096
_HURRIED: Final = 0.1


class Holder(Protocol):
    """What holds bytes."""

    def go_on(self) -> None:
        """Let the peer send more of it."""
        ...

    def end(self, why: Ending) -> None:
        """Answer for it and hold nothing from now on."""
        ...


class Holding:
    """What one holder holds of a budget. `arriving`: it grows until it is whole, and has some time for that."""

    __slots__ = (
        "_budget",
        "_marked_at",
        "_marked_bytes",
        "arriving",
        "came_bytes",
        "held_bytes",
        "holder",
        "moved",
        "waits",
    )

    def __init__(self, budget: "Budget", holder: Holder, *, arriving: bool) -> None:
        self._budget = budget
        self._marked_at = -1.0
        self._marked_bytes = 0
        self.holder: Holder | None = holder
        """None once it is closed: holder and holding hold each other only as long as there is something to hold."""
        self.arriving = arriving
        self.held_bytes = 0
        self.came_bytes = 0
        """All that ever came; for answers, all that ever went."""
        self.moved = 0
        """When it changed last, counted in changes of the budget."""
        self.waits = False
        """Whether it may not grow at the moment."""

    def set(self, size_bytes: int) -> None:
        """It holds this much now."""
        if size_bytes != self.held_bytes:
            self._budget.change(self, size_bytes)

    def arrived(self) -> None:
        """It is whole, or has been given up: nothing more is expected of it. Harmless when repeated."""
        if self.arriving:
            self.arriving = False
            self._budget.settle(self)

    def close(self) -> None:
        """It holds nothing more, and has no holder. Harmless when repeated."""
        self.arrived()
        self.set(0)
        self.holder = None

    def go_on(self) -> None:
        """Let its peer send more."""
        if self.holder is not None:
            self.holder.go_on()

    def end(self, why: Ending) -> None:
        """Have its holder end it."""
        if self.holder is not None:
            self.holder.end(why)

    def idle_seconds(self, now: float) -> float:
        """How long ago it was seen to make progress; to be asked again and again."""
        if self._marked_at < 0.0 or self.came_bytes - self._marked_bytes >= PROGRESS_BYTES:
            self._marked_bytes = self.came_bytes
            self._marked_at = now
        return now - self._marked_at

    def restart(self) -> None:
        """Count its time from now on."""
        self._marked_at = -1.0


class Budget:
    """What all holders hold together. One owner, for one thread.

    `limit_bytes` is what they may hold, `longest_bytes` the greatest length of one body.
    """

    def __init__(self, limit_bytes: int, longest_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.open_bytes = max(limit_bytes - longest_bytes, limit_bytes // 2)
        self.held_bytes = 0
        self.most_bytes = 0
        """The most that was held since this was last set."""
        self._changes = 0
        self._last: Holding | None = None
        # In the order in which they came to be of a size to be listed.
        self._arriving: dict[Holding, None] = {}
        self._whole: dict[Holding, None] = {}
        self._waiting: dict[Holding, None] = {}

    @property
    def tight(self) -> bool:
        """Whether only the eldest body may grow."""
        return self.held_bytes >= self.open_bytes

    @property
    def strained(self) -> bool:
        """Whether something may not grow, or has to go."""
        return self.held_bytes >= self.open_bytes or bool(self._waiting)

    @property
    def over(self) -> bool:
        """Whether more is held than may be."""
        return self.held_bytes > self.limit_bytes

    @property
    def waited_for(self) -> bool:
        """Whether something may not grow that would."""
        return bool(self._waiting)

    def change(self, holding: Holding, size_bytes: int) -> None:
        """See `Holding.set`."""
        before = holding.held_bytes
        holding.held_bytes = size_bytes
        self.held_bytes += size_bytes - before
        self._changes += 1
        holding.moved = self._changes
        if size_bytes > before:
            self._last = holding
            self.most_bytes = max(self.most_bytes, self.held_bytes)
        if size_bytes >= _LISTED_BYTES:
            if before < _LISTED_BYTES:
                (self._arriving if holding.arriving else self._whole)[holding] = None
        elif before >= _LISTED_BYTES:
            self._arriving.pop(holding, None)
            self._whole.pop(holding, None)

    def settle(self, holding: Holding) -> None:
        """See `Holding.arrived`."""
        self._waiting.pop(holding, None)
        holding.waits = False
        if holding.held_bytes >= _LISTED_BYTES:
            self._arriving.pop(holding, None)
            self._whole[holding] = None

    def may_grow(self, holding: Holding) -> bool:
        """Whether more of it may come. Where not, it waits, and `relieved` names it once it may."""
        if not self.tight or next(iter(self._arriving), holding) is holding:
            self._waiting.pop(holding, None)
            holding.waits = False
            return True
        self._waiting[holding] = None
        holding.waits = True
        return False

    def relieved(self) -> Holding | None:
        """One of those that waited and may grow now; it waits no longer. None: there is none."""
        if not self._waiting:
            return None
        if self.tight:
            found = next(iter(self._arriving), None)
            if found is None or found not in self._waiting:
                return None
        else:
            found = next(iter(self._waiting))
        del self._waiting[found]
        found.waits = False
        return found

    def victim(self) -> Holding | None:
        """The one that has to go, for more is held than may be; None: it is not so."""
        if not self.over:
            return None
        last = self._last if self._last is not None and self._last.held_bytes else None
        return min(chain(self._arriving, self._whole), key=lambda each: each.moved, default=last)

    def late(self, holdings: Iterable[Holding], now: float, limit_seconds: float) -> Iterator[tuple[Holding, Ending]]:
        """Those of `holdings` that have made no progress for so long that they have to end.

        Where others wait for memory, one that may grow and does not has a tenth of the time.
        """
        hurried = _HURRIED * limit_seconds if self._waiting else limit_seconds
        for holding in holdings:
            idle = holding.idle_seconds(now)
            if holding.waits:
                if idle >= limit_seconds:
                    yield holding, "held back"
            elif idle >= (hurried if holding.held_bytes >= _LISTED_BYTES else limit_seconds):
                yield holding, "stalled"
