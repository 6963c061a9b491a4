"""The health service's two methods, on the picker's own HTTP/2 server."""

import asyncio
from abc import abstractmethod

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from infscale.framing.length_prefixed import Messages, framed
from picker.transport.budget import Budget, Ending
from picker.transport.h2.grpc import ANSWER, DONE, BadMessage, refuse, trailers
from picker.transport.health import MOST_WATCHERS, NO_SUCH_SERVICE, Health
from picker.transport.server.calls import Calls
from picker.transport.server.short_calls import ShortCall

_MAX_MESSAGE_BYTES = 4096


class _HealthCall(ShortCall):
    """A call of one message, which names a service: `_asked` is told, or the call ends with what is wrong."""

    def __init__(self, calls: Calls, stream: int, budget: Budget, health: Health) -> None:
        super().__init__(calls, stream, budget)
        self._health = health
        self._messages = Messages(_MAX_MESSAGE_BYTES, refuse)
        self._over = False

    @abstractmethod
    def _asked(self, service: str) -> None: ...

    def received(self, data: bytes, *, ended: bool) -> None:
        """See `Call`."""
        if self._over:
            return
        self.holding.came_bytes += len(data)
        try:
            messages = self._messages.feed(data)
            if messages:
                self._over = True
                self.holding.close()
                self._asked(health_pb2.HealthCheckRequest.FromString(messages[0]).service)
            elif ended:
                raise BadMessage("INVALID_ARGUMENT", "the call ended without its request")
        except BadMessage as error:
            self._end(trailers(error.status, str(error)))
        except DecodeError:
            self._end(trailers("INVALID_ARGUMENT", "not a HealthCheckRequest"))

    def end(self, why: Ending) -> None:
        """See `Holder`."""
        self._end(trailers("DEADLINE_EXCEEDED", f"the call has no request ({why})"))

    def _end(self, end: bytes, data: bytes = b"") -> None:
        self._over = True
        self._finish(ANSWER, data, end)


class HealthCheck(_HealthCall):
    """One health check."""

    def _asked(self, service: str) -> None:
        found = self._health.check(service)
        if found is None:
            self._end(trailers("NOT_FOUND", NO_SUCH_SERVICE))
        else:
            self._end(DONE, framed(found.SerializeToString()))


class HealthWatch(_HealthCall):
    """A health watch: a task of `watches` until the client leaves."""

    def __init__(self, calls: Calls, stream: int, budget: Budget, health: Health, watches: asyncio.TaskGroup) -> None:
        super().__init__(calls, stream, budget, health)
        self._watches = watches
        self._watching: asyncio.Task[None] | None = None

    def gone(self) -> None:
        """See `Call`."""
        super().gone()
        if self._watching is not None:
            self._watching.cancel()

    def _asked(self, service: str) -> None:
        if self._health.watchers >= MOST_WATCHERS:
            self._end(trailers("RESOURCE_EXHAUSTED", "too many watches are open"))
            return
        self._watching = self._watches.create_task(self._watch(service))

    async def _watch(self, service: str) -> None:
        self._calls.h2.respond(self._stream, ANSWER)
        async for status in self._health.watch(service):
            self._calls.send(self._stream, framed(status.SerializeToString()))
            self._calls.woken()
        self._calls.send(self._stream, b"", DONE)
        self._calls.woken()
