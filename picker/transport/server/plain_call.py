"""A request that is no gRPC call: it is told so once it has come, whatever it holds."""

from picker.transport.budget import Budget, Ending, Holding
from picker.transport.h2.events import END_DATA
from picker.transport.h2.grpc import plain_answer
from picker.transport.server.calls import Calls

_NO_GRPC = "this port serves gRPC: POST with content-type application/grpc\n"


class PlainCall:
    """One such request; see `picker.transport.server.calls.Call`."""

    def __init__(self, calls: Calls, stream: int, budget: Budget) -> None:
        self._calls = calls
        self._stream = stream
        self.holding = Holding(budget, self, arriving=True)

    def received(self, data: bytes, *, ended: bool) -> None:
        """See `Call`."""
        self.holding.came_bytes += len(data)
        if ended:
            self._answer(415, _NO_GRPC)

    def gone(self) -> None:
        """See `Call`."""
        self.holding.close()

    def go_on(self) -> None:
        """See `picker.transport.budget.Holder`."""
        self._calls.open_window(self._stream)

    def end(self, why: Ending) -> None:
        """See `picker.transport.budget.Holder`."""
        self._answer(408, f"the request did not come to its end ({why})\n")

    def _answer(self, status: int, text: str) -> None:
        self.holding.close()
        block, body = plain_answer(status, text)
        self._calls.answer(self._stream, block)
        self._calls.send(self._stream, body, END_DATA)
