"""A script language for exchanges: the test is the conversation.

    assert Playbook(exchange) >> RequestHeaders(headers) << [] >> RequestBody(b"…", end_of_stream=True) << [reply, …]

``>>`` feeds a message (an event, or a whole `Incoming`), ``<<`` states everything sent since. Each step is one second
after the one before. A difference fails with the conversation so far.
"""

from collections.abc import Sequence
from typing import Self

from picker.ext_proc.exchange import Exchange
from picker.ext_proc.messages import Event, Incoming, Send


class Playbook:
    """Plays a conversation with one exchange."""

    def __init__(self, exchange: Exchange, now: float = 0.0) -> None:
        self.exchange = exchange
        self.now = now
        self.sent: list[Send] = []
        self._unread: list[Send] = []
        self._script: list[str] = []

    def __rshift__(self, message: Event | Incoming) -> Self:
        self._settle()
        incoming = message if isinstance(message, Incoming) else Incoming(message)
        self._script.append(f">> {incoming.event}")
        self._unread = self.exchange.receive(incoming, self.now)
        while self.exchange.pending:
            self._unread += self.exchange.go_on(self.now)
        self.sent += self._unread
        self.now += 1.0
        return self

    def __lshift__(self, expected: Send | Sequence[Send]) -> Self:
        wanted = [*expected] if isinstance(expected, Sequence) else [expected]
        got, self._unread = self._unread, []
        self._script += [f"<< {send}" for send in got]
        assert got == wanted, "\n".join([*self._script, "expected", *(f"<< {send}" for send in wanted)])
        return self

    def close(self) -> None:
        """The gateway ends the stream."""
        self._settle()
        self.exchange.closed(self.now)

    def _settle(self) -> None:
        """What was sent and not read belongs to the script all the same."""
        self._script += [f"<< {send}" for send in self._unread]
        self._unread = []
