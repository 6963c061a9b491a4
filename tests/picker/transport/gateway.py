"""A gateway in miniature: speaks ext_proc and health checks to a transport over real gRPC."""

from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2

from picker.proto import ext_proc_pb2 as pb
from picker.transport.interface import EXT_PROC_SERVICE

Stream = Any


def raw(message: bytes) -> bytes:
    return message


def open_stream(channel: grpc.aio.Channel) -> Stream:
    """One ext_proc stream; bytes in, bytes out."""
    call: Any = channel.stream_stream(f"/{EXT_PROC_SERVICE}/Process", raw, raw)
    return call()


def headers(*items: tuple[str, str], end_of_stream: bool = False) -> bytes:
    values = [pb.HeaderValue(key=name, raw_value=value.encode()) for name, value in items]
    message = pb.HttpHeaders(headers=pb.HeaderMap(headers=values), end_of_stream=end_of_stream)
    return pb.ProcessingRequest(request_headers=message).SerializeToString()


def body(content: bytes, *, end_of_stream: bool = True) -> bytes:
    message = pb.HttpBody(body=content, end_of_stream=end_of_stream)
    return pb.ProcessingRequest(request_body=message).SerializeToString()


def response_headers(*items: tuple[str, str], end_of_stream: bool = False) -> bytes:
    values = [pb.HeaderValue(key=name, raw_value=value.encode()) for name, value in items]
    message = pb.HttpHeaders(headers=pb.HeaderMap(headers=values), end_of_stream=end_of_stream)
    return pb.ProcessingRequest(response_headers=message).SerializeToString()


async def answer(stream: Stream) -> pb.ProcessingResponse:
    return pb.ProcessingResponse.FromString(await stream.read())


async def check(port: int, service: str = "", host: str = "127.0.0.1") -> str:
    """What a health check says."""
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        call: Any = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        reply = await call(health_pb2.HealthCheckRequest(service=service))
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def watch(channel: grpc.aio.Channel, service: str = "") -> Stream:
    """A health watch."""
    call: Any = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    return call(health_pb2.HealthCheckRequest(service=service))
