"""A real grpc.aio server with the real health servicer, and ones that behave badly in one way each."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICE = "grpc.health.v1.Health"
Status = health_pb2.HealthCheckResponse
SERVING, NOT_SERVING = Status.SERVING, Status.NOT_SERVING
Context = "grpc.aio.ServicerContext[Any, Any]"
Check = Callable[[str], Awaitable[bytes]]
Watch = Callable[[str], AsyncIterator[bytes]]


class Answers:
    """What a server answers, and what it was asked."""

    def __init__(self, **statuses: int) -> None:
        self.statuses: dict[str, int] = dict(statuses)
        self.checks: list[str] = []
        self.watches: list[str] = []

    async def check(self, name: str) -> bytes:
        self.checks.append(name)
        return answer(self.statuses.get(name))


def answer(status: int | None) -> bytes:
    if status is None:
        raise KeyError
    return Status(status=status).SerializeToString()  # type: ignore[arg-type] # a number that may be none of theirs


@asynccontextmanager
async def listening(
    add: Callable[[grpc.aio.Server], None],
    port: int = 0,
    credentials: grpc.ServerCredentials | None = None,
    host: str = "127.0.0.1",
) -> AsyncGenerator[int]:
    server = grpc.aio.server()
    add(server)
    place = f"{host}:{port}"
    taken = server.add_insecure_port(place) if credentials is None else server.add_secure_port(place, credentials)
    await server.start()
    try:
        yield taken
    finally:
        await server.stop(0)


@asynccontextmanager
async def real_health(
    statuses: Mapping[str, int],
    port: int = 0,
    credentials: grpc.ServerCredentials | None = None,
    host: str = "127.0.0.1",
) -> AsyncGenerator[tuple[int, Any]]:
    """The servicer of grpcio-health-checking, with Watch; gives its port."""
    servicer: Any = import_module("grpc_health.v1._async").HealthServicer()
    for name, status in statuses.items():
        await servicer.set(name, status)
    add: Any = health_pb2_grpc.add_HealthServicer_to_server
    async with listening(lambda server: add(servicer, server), port, credentials, host) as taken:
        yield taken, servicer


@asynccontextmanager
async def server_of(check: Check, watch: Watch | None = None, port: int = 0) -> AsyncGenerator[int]:
    """A server with these methods; a KeyError of one is NOT_FOUND."""

    async def checked(request: health_pb2.HealthCheckRequest, context: Any) -> bytes:
        try:
            return await check(request.service)
        except KeyError:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
            raise

    async def watched(request: health_pb2.HealthCheckRequest, _: Any) -> AsyncIterator[bytes]:
        assert watch is not None
        async for each in watch(request.service):
            yield each

    read = health_pb2.HealthCheckRequest.FromString
    methods: dict[str, Any] = {"Check": grpc.unary_unary_rpc_method_handler(checked, read, None)}
    if watch is not None:
        methods["Watch"] = grpc.unary_stream_rpc_method_handler(watched, read, None)
    handler = grpc.method_handlers_generic_handler(SERVICE, methods)
    async with listening(lambda server: server.add_generic_rpc_handlers([handler]), port) as taken:
        yield taken


async def hang(_: str) -> bytes:
    await asyncio.Event().wait()
    raise AssertionError
