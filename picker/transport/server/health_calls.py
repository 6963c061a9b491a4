"""The health service's two methods, on the picker's own HTTP/2 server."""

import asyncio
from collections.abc import Callable

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from infscale.framing.length_prefixed import Messages, framed
from picker.transport.budget import Budget, Ending, Holding
from picker.transport.h2.grpc import ANSWER, DONE, BadMessage, refuse, trailers
from picker.transport.health import MOST_WATCHERS, NO_SUCH_SERVICE, Health
from picker.transport.server.calls import Calls

_MAX_MESSAGE_BYTES = 4096


class _Question:
    """The one message of a call, which names a service: `answer` is told, or the call ends with what is wrong."""

    def __init__(self, calls: Calls, stream: int, budget: Budget, answer: Callable[[str], None]) -> None:
        self.holding = Holding(budget, self, arriving=True)
        self._calls = calls
        self._stream = stream
        self._answer = answer
        self._messages = Messages(_MAX_MESSAGE_BYTES, refuse)
        self._over = False

    def received(self, data: bytes, *, ended: bool) -> None:
        """See `Call`."""
        if self._over:
            return
        self.holding.came_bytes += len(data)
        try:
            messages = self._messages.feed(data)
            if messages:
                self._close()
                self._answer(health_pb2.HealthCheckRequest.FromString(messages[0]).service)
            elif ended:
                raise BadMessage("INVALID_ARGUMENT", "the call ended without its request")
        except BadMessage as error:
            self.finish(trailers(error.status, str(error)))
        except DecodeError:
            self.finish(trailers("INVALID_ARGUMENT", "not a HealthCheckRequest"))

    def go_on(self) -> None:
        """See `picker.transport.budget.Holder`."""
        self._calls.open_window(self._stream)

    def end(self, why: Ending) -> None:
        """See `picker.transport.budget.Holder`."""
        self.finish(trailers("DEADLINE_EXCEEDED", f"the call has no request ({why})"))

    def finish(self, end: bytes, data: bytes = b"") -> None:
        """Answer the call and end it."""
        self._close()
        self._calls.answer(self._stream, ANSWER)
        self._calls.send(self._stream, data, end)

    def _close(self) -> None:
        self._over = True
        self.holding.close()


class HealthCheck:
    """One health check; see `picker.transport.server.calls.Call`."""

    def __init__(self, calls: Calls, stream: int, budget: Budget, health: Health) -> None:
        self._health = health
        self._question = _Question(calls, stream, budget, self._asked)
        self.holding = self._question.holding

    def received(self, data: bytes, *, ended: bool) -> None:
        """See `Call`."""
        self._question.received(data, ended=ended)

    def gone(self) -> None:
        """See `Call`."""
        self.holding.close()

    def _asked(self, service: str) -> None:
        found = self._health.check(service)
        if found is None:
            self._question.finish(trailers("NOT_FOUND", NO_SUCH_SERVICE))
        else:
            self._question.finish(DONE, framed(found.SerializeToString()))


class HealthWatch:
    """A health watch: a task of `watches` until the client leaves."""

    def __init__(self, calls: Calls, stream: int, budget: Budget, health: Health, watches: asyncio.TaskGroup) -> None:
        self._calls = calls
        self._stream = stream
        self._health = health
        self._watches = watches
        self._question = _Question(calls, stream, budget, self._asked)
        self.holding = self._question.holding
        self._watching: asyncio.Task[None] | None = None

    def received(self, data: bytes, *, ended: bool) -> None:
        """See `Call`."""
        self._question.received(data, ended=ended)

    def gone(self) -> None:
        """See `Call`."""
        self.holding.close()
        if self._watching is not None:
            self._watching.cancel()

    def _asked(self, service: str) -> None:
        if self._health.watchers >= MOST_WATCHERS:
            self._question.finish(trailers("RESOURCE_EXHAUSTED", "too many watches are open"))
            return
        self._watching = self._watches.create_task(self._watch(service))

    async def _watch(self, service: str) -> None:
        self._calls.answer(self._stream, ANSWER)
        async for status in self._health.watch(service):
            self._calls.send(self._stream, framed(status.SerializeToString()))
            self._calls.woken()
        self._calls.send(self._stream, b"", DONE)
        self._calls.woken()
