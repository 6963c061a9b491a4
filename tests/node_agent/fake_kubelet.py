"""A kubelet's pod-resources API: a real gRPC server on a unix socket, with the messages that Kubernetes sends."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

from infscale.node_agent.proto import pod_resources_pb2 as pb

Answer = Callable[["grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


def pod(
    namespace: str, name: str, *device_ids: str, resource: str = "nvidia.com/gpu", container: str = "vllm"
) -> bytes:
    """A pod with one container that holds these devices, beside a CPU."""
    devices = pb.ContainerDevices(resource_name=resource, device_ids=device_ids)
    made = pb.PodResources(name=name, namespace=namespace)
    made.containers.append(pb.ContainerResources(name=container, devices=[devices]))
    return made.SerializeToString()


def dynamic_pod(namespace: str, name: str, driver: str, device: str) -> bytes:
    """A pod whose container holds a dynamically allocated device."""
    claimed = pb.DynamicResource(claim_resources=[pb.ClaimResource(driver_name=driver, device_name=device)])
    made = pb.PodResources(name=name, namespace=namespace)
    made.containers.append(pb.ContainerResources(name="vllm", dynamic_resources=[claimed]))
    return made.SerializeToString()


def listed(pods: Sequence[bytes]) -> bytes:
    return pb.ListPodResourcesResponse(pod_resources=map(pb.PodResources.FromString, pods)).SerializeToString()


class FakeKubelet:
    """Answers with `pods`, or as `answer` does."""

    def __init__(self) -> None:
        self.pods: list[bytes] = []
        self.answer: Answer = self._list

    async def _list(self, _: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return listed(self.pods)

    async def hang(self, _: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    async def huge(self, _: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return listed([pod("llm", "x" * 200, "GPU-0")] * 40_000)

    async def many(self, _: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return listed([pod("llm", "a", *map(str, range(5_000)))])


@asynccontextmanager
async def kubelet(socket: Path, *, method: str = "List") -> AsyncGenerator[FakeKubelet]:
    """A kubelet that listens at `socket`."""
    fake = FakeKubelet()

    async def handle(_: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return await fake.answer(context)

    handlers = {method: grpc.unary_unary_rpc_method_handler(handle, None, None)}
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers)])
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(0)
