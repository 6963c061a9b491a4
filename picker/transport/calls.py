"""The calls on one connection of a gateway: what comes in goes to them, what they say is to go out.

A call lives on one stream. There is no socket here: `take` gives what is to be written.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from picker.transport.h2.connection import ServerConnection
from picker.transport.h2.events import Limits, Opened, Received
from picker.transport.h2.grpc import ANSWER, method_of, trailers


class Call(Protocol):
    """One call on a stream."""

    def received(self, data: bytes, *, ended: bool) -> None:
        """A piece of what the client sends; `ended`: the last one."""
        ...

    def gone(self) -> None:
        """The stream is over before its time."""
        ...


OpenCall = Callable[["Calls", str | None, int], Call | None]
"""Makes the call of a method's path on a stream: the path is None for a request that is no gRPC, the answer None where
there is no such method."""


class Calls:
    """The calls of one connection, made by `open_call`. For one thread."""

    def __init__(self, limits: Limits, open_call: OpenCall) -> None:
        self._h2 = ServerConnection(limits)
        self._open_call = open_call
        self._open: dict[int, Call] = {}

    @property
    def open(self) -> Iterable[Call]:
        """The calls that are open."""
        return self._open.values()

    @property
    def failed(self) -> bool:
        """Whether the gateway has lost the connection by a fault of its own: send what is left and close."""
        return self._h2.failed

    def receive(self, data: bytes) -> None:
        """Take in what came."""
        calls = self._open
        for event in self._h2.receive(data):
            if isinstance(event, Received):
                call = calls.get(event.stream)
                if call is not None:
                    call.received(event.data, ended=event.ended)
            elif isinstance(event, Opened):
                self._opened(event)
            else:
                call = calls.pop(event.stream, None)
                if call is not None:
                    call.gone()

    def take(self) -> list[bytes]:
        """The bytes to send now."""
        return self._h2.take()

    def leave(self) -> None:
        """Take no new calls."""
        self._h2.leave()

    def lost(self) -> None:
        """The connection is gone, and every call with it."""
        # Who made this made the function too: without it nothing holds the other.
        self._open_call = _no_call
        calls, self._open = self._open, {}
        for call in calls.values():
            call.gone()

    def answer(self, stream: int, block: bytes) -> None:
        """Begin the answer of a call with a header block."""
        self._h2.respond(stream, block)

    def send(self, stream: int, data: bytes, end: bytes | None = None) -> None:
        """Send a piece of an answer, and with `end` the trailers that end the call."""
        if end is not None:
            self._open.pop(stream, None)
        self._h2.send(stream, data, end)

    def _opened(self, event: Opened) -> None:
        call = self._open_call(self, method_of(event.fields), event.stream)
        if call is None:
            self.answer(event.stream, ANSWER)
            self.send(event.stream, b"", trailers("UNIMPLEMENTED", "there is no such method here"))
            return
        self._open[event.stream] = call
        if event.ended:
            call.received(b"", ended=True)


def _no_call(_calls: Calls, _path: str | None, _stream: int) -> None:
    return None
