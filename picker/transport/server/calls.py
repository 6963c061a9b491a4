"""The calls on one connection of a gateway: what comes in goes to them, what they say is to go out.

A call lives on one stream. There is no socket here: `h2` takes what has come, `work` goes on with it for as much work
as asked (see `picker.transport.server.turns`), and its `h2` has what is to be written.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from h2.errors import ErrorCodes

from picker.transport.budget import Budget, Holding
from picker.transport.h2.connection import ServerConnection
from picker.transport.h2.events import Event, Limits, Opened, Received
from picker.transport.h2.grpc import ANSWER, method_of, trailers
from picker.transport.server.turns import Turns

_OPENED_UNITS: Final = 10
# Frames are read in small lots, so that what calls make of them is counted before more are.
_READ_UNITS: Final = 100
# What a slice of work may answer: there must be time to see that the gateway does not read it.
_MOST_SENT_BYTES: Final = 1 << 20


class Call(Protocol):
    """One call on a stream."""

    @property
    def holding(self) -> Holding:
        """What it keeps of what its client sent, and whether that is still arriving."""
        ...

    def received(self, data: bytes, *, ended: bool) -> None:
        """A piece of what the client sends; `ended`: the last one."""
        ...

    def gone(self) -> None:
        """The stream is over before its time."""
        ...


class Owner(Protocol):
    """The connection on which the calls are."""

    def open_call(self, calls: "Calls", path: str | None, stream: int) -> Call | None:
        """Make the call of a method's path on a stream.

        The path is None for a request that is no gRPC, the answer None where there is no such method.
        """
        ...

    def wants_steps(self) -> None:
        """There are steps to do: see `Calls.step`."""
        ...

    def flush(self) -> None:
        """A call has said something outside a read: write it."""
        ...


Step = Callable[[], bool]
"""Does the next step of something long; whether there are more."""


class Calls:
    """The calls of one connection, its `owner`. For one thread."""

    def __init__(self, limits: Limits, owner: Owner) -> None:
        self.h2 = ServerConnection(limits)
        # None once the connection is gone: the owner holds this too, and without it nothing holds the other.
        self._owner: Owner | None = owner
        self._open: dict[int, Call] = {}
        # What is still to be done for streams, the first before the others.
        self._steps: dict[int, Step] = {}
        self._events: list[Event] = []
        self._next = 0
        self._sent_bytes = 0
        self.units = 0
        """Units of work that calls have done; they add to it."""
        self.last_read = 0
        """Which read of all connections its last one was."""

    @property
    def open(self) -> Iterable[Call]:
        """The calls that are open."""
        return self._open.values()

    @property
    def failed(self) -> bool:
        """Whether the gateway has lost the connection by a fault of its own: send what is left and close."""
        return self.h2.failed and not self._events

    @property
    def pending(self) -> bool:
        """Whether there is more to do with what has come."""
        return self.h2.pending or bool(self._events)

    @property
    def unfinished(self) -> int | None:
        """See `ServerConnection`: which frame or header block has begun and not ended."""
        return None if self._events else self.h2.unfinished

    def work(self, units: int, *, hold_back: bool = False) -> int:
        """Go on with what came for about `units` of work; how much it was.

        With `hold_back` no window of a stream is opened as its data come: `open_windows` does that.
        """
        h2, before = self.h2, self.units
        h2.hold_back = hold_back
        self._sent_bytes = 0
        while self.units - before < units and self._sent_bytes < _MOST_SENT_BYTES:
            if self._next >= len(self._events):
                self._next = 0
                self._events = []
                if not h2.pending:
                    break
                self._events = h2.read(min(units - self.units + before, _READ_UNITS))
                self.units += h2.work
                continue
            event = self._events[self._next]
            self._next += 1
            self._tell(event)
        if self._next >= len(self._events):
            self._events, self._next = [], 0
        return self.units - before

    def read_through(self, data: bytes, turns: Turns[Any], worker: object, budget: Budget) -> bytes | None:
        """Take in what came and go through all of it, as most reads allow. What is to be written now.

        `worker` is whose turn it is. None: something is to be waited for, accounted for or ended, or a gateway has yet
        to show what it speaks; `work` is to be asked, and `h2` for what is to be written.
        """
        h2 = self.h2
        turns.reads += 1
        self.last_read = turns.reads
        plain = turns.free and h2.greeted and not (h2.pending or self._events or h2.queued_bytes or budget.strained)
        h2.feed(data)
        if not plain:
            return None
        turns.did(worker, self.work(turns.stretch))
        if h2.pending or self._events or h2.failed or h2.queued_bytes or budget.strained:
            return None
        out = h2.take()
        return out[0] if len(out) == 1 else b"".join(out)

    def later(self, stream: int, step: Step) -> None:
        """There is more to do for a stream than should be done at a stretch."""
        self._steps[stream] = step
        if self._owner is not None:
            self._owner.wants_steps()

    def step(self) -> bool:
        """Do a step of what came first; whether there are more of it. What came later follows: see `stepping`."""
        for stream, step in self._steps.items():
            if step():
                return True
            self._steps.pop(stream, None)
            break
        return False

    @property
    def stepping(self) -> bool:
        """Whether there are steps to do."""
        return bool(self._steps)

    def open_windows(self, may_grow: Callable[[Holding], bool]) -> None:
        """Open the windows that were held back, of those calls that may grow now."""
        for stream in self.h2.shut():
            call = self._open.get(stream)
            if call is None or may_grow(call.holding):
                self.h2.open_window(stream)

    def drop_unread(self) -> bool:
        """End the call of whose answer most waits for the gateway's windows; whether there was one."""
        stream = self.h2.largest_unread()
        if stream is not None:
            self._cut(stream)
        return stream is not None

    def drop_stuck(self, now: float, limit_seconds: float) -> int:
        """End the calls whose answers the gateway has not taken for so long; how many."""
        stuck = self.h2.stuck(now, limit_seconds)
        for stream in stuck:
            self._cut(stream)
        return len(stuck)

    def fail(self, why: str) -> None:
        """The gateway loses the connection; its calls are told by `work`."""
        self.h2.fail(ErrorCodes.ENHANCE_YOUR_CALM, why)
        self._events = self._events[self._next :] + self.h2.read()
        self._next = 0

    def lost(self) -> None:
        """The connection is gone, and every call with it."""
        self._owner = None
        self._steps = {}
        calls, self._open = self._open, {}
        for call in calls.values():
            call.gone()

    def woken(self) -> None:
        """A call has said something outside a read."""
        if self._owner is not None:
            self._owner.flush()

    def send(self, stream: int, data: bytes, end: bytes | None = None) -> None:
        """Send a piece of an answer, and with `end` the trailers that end the call."""
        if end is not None:
            self._open.pop(stream, None)
        self._sent_bytes += len(data)
        if not self.h2.send(stream, data, end):
            self._gone(stream)

    def _tell(self, event: Event) -> None:
        if isinstance(event, Received):
            call = self._open.get(event.stream)
            if call is not None:
                self.units += 1
                call.received(event.data, ended=event.ended)
        elif isinstance(event, Opened):
            self.units += _OPENED_UNITS
            self._opened(event)
        else:
            self._gone(event.stream)

    def _cut(self, stream: int) -> None:
        self.h2.reset(stream, ErrorCodes.ENHANCE_YOUR_CALM)
        self._gone(stream)

    def _gone(self, stream: int) -> None:
        call = self._open.pop(stream, None)
        if call is not None:
            call.gone()

    def _opened(self, event: Opened) -> None:
        if self._owner is None:
            return
        call = self._owner.open_call(self, method_of(event.fields), event.stream)
        if call is None:
            self.h2.respond(event.stream, ANSWER)
            self.send(event.stream, b"", trailers("UNIMPLEMENTED", "there is no such method here"))
            return
        self._open[event.stream] = call
        if event.ended:
            call.received(b"", ended=True)
