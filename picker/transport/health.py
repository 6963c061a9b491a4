"""The gRPC health service: one for liveness, and the same readiness under every name gateways ask for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from grpc_health.v1 import health_pb2

from picker.transport.interface import EXT_PROC_SERVICE, Ready

HEALTH_SERVICE = "grpc.health.v1.Health"
NO_SUCH_SERVICE = "there is no such service here"
_LIVENESS = "liveness"
# The last is what conformance suites ask the reference picker for.
_READINESS = frozenset({"", "readiness", EXT_PROC_SERVICE, "inference-extension"})
_WATCH_INTERVAL_SECONDS = 1.0
MOST_WATCHERS = 1_000
"""Watches that may be open at once; each is a task."""

_Status = health_pb2.HealthCheckResponse


class Health:
    """Says how services are. Draining is unready but alive: a restart would cut off what is still served.

    With `any_service` an unknown name means readiness, too.
    """

    def __init__(self, ready: Ready, any_service: bool = False) -> None:
        self._ready = ready
        self._any_service = any_service
        self._draining = False
        self._stopped = False
        self._news = asyncio.Event()
        self.watchers = 0
        """Watches that are open."""

    def drain(self) -> None:
        """Be unready from now on; watchers are told at once."""
        self._draining = True
        self._tell()

    def stop(self) -> None:
        """End the watches: a server that waits for its open calls would wait for them."""
        self._stopped = True
        self._tell()

    def check(self, service: str) -> health_pb2.HealthCheckResponse | None:
        """How `service` is now; None for one that is not known."""
        status = self._status(service)
        return None if status == _Status.SERVICE_UNKNOWN else _Status(status=status)

    async def watch(self, service: str) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """How `service` is, now and whenever that changes, until stopped."""
        sent = None
        self.watchers += 1
        try:
            while not self._stopped:
                news = self._news
                status = self._status(service)
                if status != sent:
                    yield _Status(status=status)
                    sent = status
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), _WATCH_INTERVAL_SECONDS)
        finally:
            self.watchers -= 1

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _status(self, service: str) -> int:
        if service == _LIVENESS:
            return int(_Status.SERVING)
        if service not in _READINESS and not self._any_service:
            return int(_Status.SERVICE_UNKNOWN)
        serving = self._ready() and not self._draining
        return int(_Status.SERVING if serving else _Status.NOT_SERVING)
