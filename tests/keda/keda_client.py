"""KEDA in miniature: asks an external scaler over real gRPC, with messages of its own.

The messages are written here after KEDA's protocol (package externalscaler), and share nothing with the scaler's.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "externalscaler.ExternalScaler"
_Type = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _Type.TYPE_STRING,
    "int64": _Type.TYPE_INT64,
    "double": _Type.TYPE_DOUBLE,
    "bool": _Type.TYPE_BOOL,
}
_MESSAGES = {
    "ScaledObjectRef": ("name 1 string", "namespace 2 string", "scalerMetadata 3 map"),
    "IsActiveResponse": ("result 1 bool",),
    "GetMetricSpecResponse": ("metricSpecs 1 repeated MetricSpec",),
    "MetricSpec": ("metricName 1 string", "targetSize 2 int64", "targetSizeFloat 3 double"),
    "GetMetricsRequest": ("scaledObjectRef 1 ScaledObjectRef", "metricName 2 string"),
    "GetMetricsResponse": ("metricValues 1 repeated MetricValue",),
    "MetricValue": ("metricName 1 string", "metricValue 2 int64", "metricValueFloat 3 double"),
}


def _described() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="keda.proto", package="externalscaler", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for each in fields:
            field_name, number, *kind = each.split()
            field = message.field.add(name=field_name, number=int(number), label=_Type.LABEL_OPTIONAL)
            if kind[0] == "repeated":
                field.label = _Type.LABEL_REPEATED
            if kind[-1] in _TYPES:
                field.type = _TYPES[kind[-1]]
                continue
            field.type, field.type_name = _Type.TYPE_MESSAGE, f".externalscaler.{kind[-1]}"
            if kind[0] == "map":
                field.label = _Type.LABEL_REPEATED
                field.type_name = f".externalscaler.{name}.ScalerMetadataEntry"
                entry = message.nested_type.add(name="ScalerMetadataEntry")
                entry.options.map_entry = True
                for entry_field, at in (("key", 1), ("value", 2)):
                    entry.field.add(name=entry_field, number=at, label=_Type.LABEL_OPTIONAL, type=_Type.TYPE_STRING)
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_described())
MESSAGES: Mapping[str, Any] = {
    name: message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"externalscaler.{name}")) for name in _MESSAGES
}


@dataclass
class Keda:
    """One trigger of a ScaledObject, asked for over one channel; every method as KEDA calls it."""

    channel: grpc.aio.Channel
    metadata: Mapping[str, str]
    name: str = "chat"
    namespace: str = "llm"

    @property
    def ref(self) -> Any:
        # KEDA hands over its own keys, too.
        metadata = {"scalerAddress": "infscale-keda.infscale-system:9005", **self.metadata}
        return MESSAGES["ScaledObjectRef"](name=self.name, namespace=self.namespace, scalerMetadata=metadata)

    def _unary(self, method: str, reply: str) -> Any:
        read = MESSAGES[reply].FromString
        return self.channel.unary_unary(f"/{SERVICE}/{method}", lambda each: each.SerializeToString(), read)

    def _stream(self, method: str, reply: str) -> Any:
        read = MESSAGES[reply].FromString
        call: Any = self.channel.unary_stream(f"/{SERVICE}/{method}", lambda each: each.SerializeToString(), read)
        return call(self.ref)

    async def is_active(self) -> bool:
        return bool((await self._unary("IsActive", "IsActiveResponse")(self.ref)).result)

    async def specs(self) -> dict[str, tuple[int, float]]:
        return specs_in(await self._unary("GetMetricSpec", "GetMetricSpecResponse")(self.ref))

    async def metrics(self, name: str) -> dict[str, tuple[int, float]]:
        request = MESSAGES["GetMetricsRequest"](scaledObjectRef=self.ref, metricName=name)
        reply = await self._unary("GetMetrics", "GetMetricsResponse")(request)
        return {each.metricName: (each.metricValue, each.metricValueFloat) for each in reply.metricValues}

    async def value(self) -> float:
        """What KEDA makes of a poll: the specification, then the value of its metric."""
        [name] = await self.specs()
        values = await self.metrics(name)
        assert list(values) == [name]
        return values[name][1]

    def stream_active(self) -> Any:
        return self._stream("StreamIsActive", "IsActiveResponse")

    def stream_specs(self) -> Any:
        return self._stream("StreamMetricSpec", "GetMetricSpecResponse")


def specs_in(reply: Any) -> dict[str, tuple[int, float]]:
    return {each.metricName: (each.targetSize, each.targetSizeFloat) for each in reply.metricSpecs}


async def refused(call: Any) -> tuple[str, str]:
    """The status code and message that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    raise AssertionError("the call was answered")


async def ended(stream: Any) -> tuple[str, list[Any]]:
    """The status code that a stream ends with, and what came on it."""
    messages: list[Any] = []
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        async for message in stream:
            messages.append(message)  # noqa: PERF401 # what came before it broke counts
    return (await stream.code()).name, messages


@asynccontextmanager
async def channel(port: int, credentials: grpc.ChannelCredentials | None = None) -> AsyncGenerator[grpc.aio.Channel]:
    """A connection of its own to a scaler on this machine."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    place = f"127.0.0.1:{port}"
    if credentials is None:
        async with grpc.aio.insecure_channel(place, options=options) as opened:
            yield opened
        return
    async with grpc.aio.secure_channel(place, credentials, options=[*options, NAME]) as opened:
        yield opened


NAME = ("grpc.ssl_target_name_override", "infscale-keda")
