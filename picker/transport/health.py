"""The gRPC health service: one for liveness, and the same readiness under every name gateways ask for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from picker.transport.interface import EXT_PROC_SERVICE, Ready

_SERVICE = "grpc.health.v1.Health"
_LIVENESS = "liveness"
# The last is what conformance suites ask the reference picker for.
_READINESS = frozenset({"", "readiness", EXT_PROC_SERVICE, "inference-extension"})
_WATCH_INTERVAL_SECONDS = 1.0

_Status = health_pb2.HealthCheckResponse


class HealthService:
    """Answers Check and Watch. Draining is unready but alive: a restart would cut off what is still served."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Be unready from now on; watchers are told at once."""
        self._draining.set()

    def handler(self) -> "grpc.GenericRpcHandler[Any, Any]":
        """What a server needs to serve it."""
        methods = {
            "Check": grpc.unary_unary_rpc_method_handler(
                self._check, health_pb2.HealthCheckRequest.FromString, _Status.SerializeToString
            ),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self._watch, health_pb2.HealthCheckRequest.FromString, _Status.SerializeToString
            ),
        }
        return grpc.method_handlers_generic_handler(_SERVICE, methods)

    async def _check(
        self, request: health_pb2.HealthCheckRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> health_pb2.HealthCheckResponse:
        status = self._status(request.service)
        if status == _Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
        return _Status(status=status)

    async def _watch(
        self, request: health_pb2.HealthCheckRequest, _context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        sent = None
        while True:
            status = self._status(request.service)
            if status != sent:
                yield _Status(status=status)
                sent = status
            await self._pause()

    async def _pause(self) -> None:
        if self._draining.is_set():
            await asyncio.sleep(_WATCH_INTERVAL_SECONDS)
            return
        try:
            await asyncio.wait_for(self._draining.wait(), _WATCH_INTERVAL_SECONDS)
        except TimeoutError:
            return

    def _status(self, service: str) -> int:
        if service == _LIVENESS:
            return int(_Status.SERVING)
        if service not in _READINESS:
            return int(_Status.SERVICE_UNKNOWN)
        serving = self._ready() and not self._draining.is_set()
        return int(_Status.SERVING if serving else _Status.NOT_SERVING)
