"""The gRPC health service on a grpcio server."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from picker.transport.health import HEALTH_SERVICE, NO_SUCH_SERVICE, Health


def health_handler(health: Health) -> "grpc.GenericRpcHandler[Any, Any]":
    """What a grpcio server needs to serve it."""

    async def check(
        request: health_pb2.HealthCheckRequest, context: "grpc.aio.ServicerContext[object, object]"
    ) -> health_pb2.HealthCheckResponse:
        found = health.check(request.service)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, NO_SUCH_SERVICE)
        return found or health_pb2.HealthCheckResponse()

    async def watch(
        request: health_pb2.HealthCheckRequest, _context: "grpc.aio.ServicerContext[object, object]"
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        async for status in health.watch(request.service):
            yield status

    read, write = health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
    methods = {
        "Check": grpc.unary_unary_rpc_method_handler(check, read, write),
        "Watch": grpc.unary_stream_rpc_method_handler(watch, read, write),
    }
    return grpc.method_handlers_generic_handler(HEALTH_SERVICE, methods)
