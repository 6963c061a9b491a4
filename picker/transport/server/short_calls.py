"""Calls that are answered at once where they have come, and the answer to a request that is no gRPC call."""

from abc import ABC, abstractmethod

from picker.transport.budget import Budget, Ending, Holding
from picker.transport.h2.events import END_DATA
from picker.transport.h2.grpc import plain_answer
from picker.transport.server.calls import Calls

_NO_GRPC = "this port serves gRPC: POST with content-type application/grpc\n"


class ShortCall(ABC):
    """One such call; see `picker.transport.server.calls.Call` and `picker.transport.budget.Holder`."""

    def __init__(self, calls: Calls, stream: int, budget: Budget) -> None:
        self._calls = calls
        self._stream = stream
        self.holding = Holding(budget, self, arriving=True)

    @abstractmethod
    def received(self, data: bytes, *, ended: bool) -> None:
        """See `Call`."""

    @abstractmethod
    def end(self, why: Ending) -> None:
        """See `Holder`."""

    def gone(self) -> None:
        """See `Call`."""
        self.holding.close()

    def go_on(self) -> None:
        """See `Holder`."""
        self._calls.h2.open_window(self._stream)

    def _finish(self, head: bytes, data: bytes, end: bytes) -> None:
        """Answer with a header block and data, and end the call."""
        self.holding.close()
        self._calls.h2.respond(self._stream, head)
        self._calls.send(self._stream, data, end)


class PlainCall(ShortCall):
    """A request that is no gRPC call: it is told so once it has come, whatever it holds."""

    def received(self, data: bytes, *, ended: bool) -> None:
        """See `Call`."""
        self.holding.came_bytes += len(data)
        if ended:
            self._finish(*plain_answer(415, _NO_GRPC), END_DATA)

    def end(self, why: Ending) -> None:
        """See `Holder`."""
        self._finish(*plain_answer(408, f"the request did not come to its end ({why})\n"), END_DATA)
